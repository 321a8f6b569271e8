"""The linear skip path: what a closed-form ridge map sees of a window, and that map as a layer that training may move."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from openbook.nn.precision import in_full
from openbook.nn.recall import recalled
from openbook.windows.batch import Batch

_MOST_EXOG = 480  # more input columns cost minutes and teach a linear map little
_GAIN = 0.1  # trained changes are stored divided by it: the map moves ten times slower than the layers around it


class SkipShape(NamedTuple):
    """What the map reads: ``window`` own lags, ``past`` rows of P past and K known inputs, K known ones ahead in blocks of
    ``block`` steps, and ``fixed`` columns of the first step ahead that are read once (static inputs, calendar). Own lags that
    were not observed are recalled from earlier days of ``season`` steps."""

    window: int
    h: int
    n_variables: int
    n_known: int
    past: int
    block: int
    fixed: int
    season: int = 1

    @property
    def blocks(self) -> int:
        """Blocks of the horizon over which known inputs are averaged."""
        return -(-self.h // self.block)

    @property
    def width(self) -> int:
        """Columns of the map's input."""
        return self.window + self.past * (self.n_variables - 1) + self.blocks * self.n_known + self.fixed


def skip_shape(window: int, h: int, *, n_variables: int, n_known: int, n_fixed: int, season: int = 1) -> SkipShape:
    """The widths for ``n_variables`` moving variables, the target first and the ``n_known`` known ahead last.

    >>> skip_shape(168, 24, n_variables=3, n_known=2, n_fixed=12).width
    324
    """
    others = n_variables - 1
    block = max(1, -(-n_known * h // _MOST_EXOG))
    past = min(window, 2 * h, max(1, _MOST_EXOG // max(1, others))) if others else 0
    return SkipShape(window, h, n_variables, n_known, past, block, n_fixed, season)


def skip_input(batch: Batch, shape: SkipShape, *, learning: bool = False) -> Tensor:
    """The columns [B, D] the map reads of scaled windows: own lags first, the newest last. Unknown inputs are 0.

    Rows before a series' first value are as its first season was; for ``learning`` they stay 0, or a map of windows that begin
    with their series would learn that all is repeated.
    """
    T = batch.encoder_BTX.shape[1]
    own_BT = recalled(batch.encoder_BTX[..., 0], batch.observed_BTF[..., 0], shape.season, begun=not learning)
    short = shape.window - T
    parts = [nn.functional.pad(own_BT, (short, 0)) if short > 0 else own_BT[:, -shape.window :]]
    if shape.past:
        past_BTF = batch.encoder_BTX[:, -shape.past :, 1 : shape.n_variables]
        parts.append(nn.functional.pad(past_BTF, (0, 0, shape.past - past_BTF.shape[1], 0)).flatten(1))
    if shape.n_known:
        ahead_BKH = batch.decoder_BHK[..., : shape.n_known].transpose(1, 2)
        filled_BKH = nn.functional.pad(ahead_BKH, (0, shape.blocks * shape.block - shape.h))
        whole = filled_BKH.reshape(*filled_BKH.shape[:2], shape.blocks, shape.block)
        count = whole.new_full((shape.blocks,), shape.block)
        count[-1] = shape.h - (shape.blocks - 1) * shape.block
        parts.append((whole.sum(-1) / count).flatten(1))
    if shape.fixed:
        parts.append(batch.decoder_BHK[:, 0, shape.n_known : shape.n_known + shape.fixed])
    return torch.cat(parts, dim=1)


class LinearSkip(nn.Module):
    """``y = base(x) + change(x)``: the closed-form map, never trained, and a trained change that starts at zero.

    Before training the layer *is* the ridge floor of its window (``set_base``). Without a base it forecasts zero, in scaled
    units: the window's location. ``n_own`` series have a map of their own, kept as its distance from the base (``set_own``).

    >>> layer = LinearSkip(skip_shape(4, 2, n_variables=1, n_known=0, n_fixed=0))
    >>> layer(torch.ones(1, 4)).tolist()
    [[0.0, 0.0]]
    """

    base_HD: Tensor
    base_H: Tensor
    own_NHD: Tensor | None
    own_NH: Tensor | None

    def __init__(self, shape: SkipShape, n_own: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("own_NHD", torch.zeros(n_own, shape.h, shape.width) if n_own else None)
        self.register_buffer("own_NH", torch.zeros(n_own, shape.h) if n_own else None)
        self.register_buffer("base_HD", torch.zeros(shape.h, shape.width))
        self.register_buffer("base_H", torch.zeros(shape.h))
        self.change_HD = nn.Parameter(torch.zeros(shape.h, shape.width))
        self.change_H = nn.Parameter(torch.zeros(shape.h))

    def set_base(self, weight_DH: Tensor, bias_H: Tensor) -> None:
        """Put the closed-form solution in place."""
        self.base_HD.copy_(weight_DH.T)
        self.base_H.copy_(bias_H)

    def set_own(self, place: int, weight_DH: Tensor, bias_H: Tensor) -> None:
        """Put what the map of a series adds to the base in its place."""
        assert self.own_NHD is not None
        assert self.own_NH is not None
        self.own_NHD[place].copy_(weight_DH.T)
        self.own_NH[place].copy_(bias_H)

    def floor(self, input_BD: Tensor, own_B: Tensor | None = None) -> Tensor:
        """The closed-form maps alone, whatever training changed: columns [B, D] to steps [B, H]; ``own_B`` as in a batch."""
        with in_full(input_BD) as whole_BD:
            return self._with_own(torch.addmm(self.base_H, whole_BD, self.base_HD.T), whole_BD, own_B)

    def forward(self, input_BD: Tensor, own_B: Tensor | None = None) -> Tensor:
        """Columns [B, D] to steps [B, H]; ``own_B`` [B]: whose map is added, -1 for nobody's."""
        with in_full(input_BD) as whole_BD:
            weight_HD = torch.add(self.base_HD, self.change_HD, alpha=_GAIN)
            told_BH = torch.addmm(torch.add(self.base_H, self.change_H, alpha=_GAIN), whole_BD, weight_HD.T)
            return self._with_own(told_BH, whole_BD, own_B)

    def _with_own(self, told_BH: Tensor, input_BD: Tensor, own_B: Tensor | None) -> Tensor:
        if self.own_NHD is None or self.own_NH is None or own_B is None:
            return told_BH
        for place in torch.unique(own_B[own_B >= 0]).tolist():
            rows = torch.nonzero(own_B == place)[:, 0]
            more_BH = torch.addmm(self.own_NH[place], input_BD[rows], self.own_NHD[place].T)
            told_BH = told_BH.index_add(0, rows, more_BH)
        return told_BH
