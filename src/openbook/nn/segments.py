"""Segments: a long window as a few pieces per variable, each read by one LSTM with shared weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openbook.nn.recurrent import PaddedLSTM


class SegmentEncoder(nn.Module):
    """Cuts every variable of a window into S segments, embeds them and reads them with one LSTM shared by all variables.

    A segment is its values and which of them were observed; every variable adds a name of its own. The first variable, the
    target, also hears of ``n_beside`` columns of the same steps (the other inputs, the calendar): what it was told together
    with them belongs together. A window of 720 steps
    in segments of 24 is 30 recurrent steps (segment-wise recurrence: Lin et al. 2023, SegRNN).

    >>> encoder = SegmentEncoder(segment=4, n_variables=3, size=8, n_beside=2)
    >>> book = encoder(torch.ones(2, 12, 3), torch.ones(2, 12, 3, dtype=torch.bool), torch.ones(2, 12, 2))
    >>> book.shape
    torch.Size([2, 3, 3, 8])
    """

    def __init__(self, *, segment: int, n_variables: int, size: int, n_beside: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.segment = segment
        self.embed = nn.Linear(2 * segment, size)
        self.beside = nn.Linear(segment * n_beside, size, bias=False) if n_beside else None
        self.name_FD = nn.Parameter(torch.randn(n_variables, size) / size**0.5)
        self.lstm = PaddedLSTM(input_size=size, size=size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, value_BTF: Tensor, observed_BTF: Tensor, beside_BTE: Tensor) -> Tensor:
        """Values and what was observed [B, T, F], what stands beside the target [B, T, E] (0 where unknown).

        The book [B, S, F, D], exactly zero before anything was observed.
        """
        B, T, F = value_BTF.shape
        short = -T % self.segment
        both_BT2F = torch.stack([value_BTF.masked_fill(~observed_BTF, 0.0), observed_BTF.to(value_BTF.dtype)], dim=2)
        pieces = nn.functional.pad(both_BT2F, (0, 0, 0, 0, short, 0)).reshape(B, -1, self.segment, 2, F)
        segment_BFSP = pieces.permute(0, 4, 1, 3, 2).flatten(3)
        inside_BFS = self.open(observed_BTF).transpose(1, 2).cummax(2).values
        heard_BFSD = self.embed(segment_BFSP) + self.name_FD[:, None]
        if self.beside is not None:
            piece_BSX = nn.functional.pad(beside_BTE, (0, 0, short, 0)).reshape(B, heard_BFSD.shape[2], -1)
            heard_BFSD = torch.cat([heard_BFSD[:, :1] + self.beside(piece_BSX)[:, None], heard_BFSD[:, 1:]], dim=1)
        input_BFSD = torch.relu(heard_BFSD)
        S = input_BFSD.shape[2]
        output = self.lstm(self.dropout(input_BFSD).flatten(0, 1), inside_BFS.reshape(B * F, S)).output_BTD
        return output.reshape(B, F, S, -1).transpose(1, 2)

    def open(self, observed_BTF: Tensor) -> Tensor:
        """Segments in which something was observed, [B, S, F]."""
        short = -observed_BTF.shape[1] % self.segment
        padded = nn.functional.pad(observed_BTF, (0, 0, short, 0))
        return padded.reshape(len(padded), -1, self.segment, padded.shape[2]).any(2)
