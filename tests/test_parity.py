"""Every part of the reference implementation reproduced from its own weights, to 2e-5 in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from openbook.models.darnn import DarnnReadout, TemporalDecoder
from openbook.models.seq2seq import BahdanauReadout, LuongReadout
from openbook.nn.attention import AdditiveAttention, DotAttention, FeatureAttention, GeneralAttention
from openbook.nn.dual_stage import InputAttention, InputEncoder
from openbook.nn.heads import QuantileHead
from openbook.nn.recurrent import PaddedLSTM, State, StepLSTM

TOLERANCE = 2e-5


class Numbers:
    """One fixture file: inputs, weights and outputs as tensors."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as arrays:
            self.arrays = {name: torch.from_numpy(np.array(arrays[name], np.float32)) for name in arrays}

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    def dense(self, layer: nn.Linear, name: str) -> None:
        """Put the reference's dense layer ``name`` into ``layer``."""
        layer.weight.data = self[f"w.{name}.kernel"].T.contiguous()
        if layer.bias is not None:  # a score has none: the softmax over it cancels what is the same everywhere
            layer.bias.data = self[f"w.{name}.bias"].clone()

    def norm(self, layer: nn.BatchNorm1d, name: str) -> None:
        layer.weight.data = self[f"w.{name}.gamma"].clone()
        layer.bias.data = self[f"w.{name}.beta"].clone()
        layer.running_mean = self[f"w.{name}.moving_mean"].clone()
        layer.running_var = self[f"w.{name}.moving_variance"].clone()


@pytest.fixture
def numbers(request: pytest.FixtureRequest, parity_dir: Path) -> Numbers:
    path = parity_dir / f"{request.param}.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return Numbers(path)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted.reshape(found.shape), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("numbers", ["luong_dot"], indirect=True)
def test_dot(numbers: Numbers) -> None:
    found = DotAttention(scaled=False)(numbers["in.query"][:, None], numbers["in.values"])
    close(found.context_BHD[:, 0], numbers["out.context"])
    close(found.weight[:, 0], numbers["out.weights"])


@pytest.mark.parametrize("numbers", ["luong_general"], indirect=True)
def test_general(numbers: Numbers) -> None:
    layer = GeneralAttention(numbers["in.values"].shape[-1])
    numbers.dense(layer.key, "key")
    found = layer(numbers["in.query"][:, None], numbers["in.values"])
    close(found.context_BHD[:, 0], numbers["out.context"])
    close(found.weight[:, 0], numbers["out.weights"])


@pytest.mark.parametrize("numbers", ["bahdanau_time"], indirect=True)
def test_additive_over_time(numbers: Numbers) -> None:
    query, values = numbers["in.query"], numbers["in.values"]
    size = numbers["w.key.kernel"].shape[1]
    layer = AdditiveAttention(query_size=query.shape[-1], value_size=values.shape[-1], size=size)
    for name in ("key", "query", "score"):
        numbers.dense(getattr(layer, name), name)
    found = layer(query[:, None], layer.project(values), values)
    close(found.context_BHD[:, 0], numbers["out.context"])
    close(found.weight[:, 0], numbers["out.weights"])


@pytest.mark.parametrize("numbers", ["bahdanau_feature"], indirect=True)
def test_additive_over_features(numbers: Numbers) -> None:
    query, values = numbers["in.query"], numbers["in.values"]
    size = numbers["w.key.kernel"].shape[1]
    layer = FeatureAttention(query_size=query.shape[-1], n_features=values.shape[-1], size=size)
    for name in ("key", "query", "score"):
        numbers.dense(getattr(layer, name), name)
    found = layer(query[:, None], layer.project(values), values)
    close(found.context_BHD[:, 0], numbers["out.context"])
    close(found.weight[:, 0], numbers["out.weights"])


def lstm_weights(numbers: Numbers, lstm: nn.LSTM, name: str = "lstm") -> None:
    """Put the reference's LSTM into the columns torch's reads; a padding column beyond them keeps its own weights."""
    kernel = numbers[f"w.{name}.kernel"].T
    lstm.weight_ih_l0.data[:, : kernel.shape[1]] = kernel
    lstm.weight_hh_l0.data = numbers[f"w.{name}.recurrent_kernel"].T.contiguous()
    lstm.bias_ih_l0.data = numbers[f"w.{name}.bias"].clone()
    lstm.bias_hh_l0.data.zero_()


@pytest.mark.parametrize("numbers", ["encoder"], indirect=True)
def test_encoder(numbers: Numbers) -> None:
    x = numbers["in.x"]
    encoder = PaddedLSTM(input_size=x.shape[-1], size=numbers["out.hidden"].shape[-1])
    lstm_weights(numbers, encoder.lstm)
    with torch.no_grad():
        book = encoder(x, torch.ones(x.shape[:2], dtype=torch.bool))
    close(book.output_BTD, numbers["out.outputs"])
    close(book.state.hidden_BD, numbers["out.hidden"])
    close(book.state.cell_BD, numbers["out.cell"])


@pytest.mark.parametrize("numbers", ["luong_decoder_step"], indirect=True)
def test_luong_decoder_step(numbers: Numbers) -> None:
    x, book = numbers["in.x"], numbers["in.enc_outputs"]
    size = numbers["in.enc_hidden"].shape[-1]
    lstm = nn.LSTM(x.shape[-1], size, batch_first=True)
    lstm_weights(numbers, lstm)
    head = QuantileHead(size=size, n_targets=1, quantiles=(0.5,))
    readout = LuongReadout(context_size=size, size=size, head=head, dropout=0.0)
    numbers.dense(readout.combine, "combine")
    numbers.dense(readout.hidden, "hidden")
    numbers.dense(head.output, "output")
    with torch.no_grad():
        state, _ = lstm(x, (numbers["in.enc_hidden"][None], numbers["in.enc_cell"][None]))
        found = DotAttention(scaled=False)(state, book)
        close(readout(found.context_BHD, state)[..., 0], numbers["out.y"])
    close(found.weight[:, 0], numbers["out.weights"])


@pytest.mark.parametrize("numbers", ["bahdanau_decoder_step"], indirect=True)
def test_bahdanau_decoder_step(numbers: Numbers) -> None:
    x, book, hidden = numbers["in.x"], numbers["in.enc_outputs"], numbers["in.enc_hidden"]
    size, context_size = hidden.shape[-1], book.shape[-1]
    attention = AdditiveAttention(
        query_size=size, value_size=context_size, size=numbers["w.attention.key.kernel"].shape[1]
    )
    for name in ("key", "query", "score"):
        numbers.dense(getattr(attention, name), f"attention.{name}")
    cell = StepLSTM(context_size=context_size, known_size=x.shape[-1], size=size)
    cell.context.weight.data = numbers["w.lstm.kernel"][:context_size].T.contiguous()
    cell.known.weight.data = numbers["w.lstm.kernel"][context_size:].T.contiguous()
    cell.known.bias.data = numbers["w.lstm.bias"].clone()
    cell.recurrent.weight.data = numbers["w.lstm.recurrent_kernel"].T.contiguous()
    widths = (numbers["w.dense1.bias"].shape[0], numbers["w.dense2.bias"].shape[0])
    head = QuantileHead(size=widths[1], n_targets=1, quantiles=(0.5,))
    readout = BahdanauReadout(size=size, widths=widths, norm="batch", head=head, dropout=0.0).eval()
    for name in ("dense1", "dense2"):
        numbers.dense(getattr(readout, name), name)
    for name in ("norm1", "norm2"):
        numbers.norm(getattr(readout, name).norm, name)
    numbers.dense(head.output, "output")
    with torch.no_grad():
        found = attention(hidden[:, None], attention.project(book), book)
        zero = torch.zeros_like(hidden)
        state = cell(cell.hoist(x)[:, 0], found.context_BHD[:, 0], State(zero, zero))
        close(readout(state.hidden_BD[:, None])[..., 0], numbers["out.y"])
    close(state.hidden_BD, numbers["out.hidden"])
    close(state.cell_BD, numbers["out.cell"])
    close(found.weight[:, 0], numbers["out.weights"])


@pytest.mark.parametrize("numbers", ["darnn_two_pass"], indirect=True)
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "window by window"])
@pytest.mark.parametrize("kernels", ["reference", "numba"])
def test_darnn_two_pass(numbers: Numbers, together: bool, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_KERNELS", kernels)
    x, history = numbers["in.x"], numbers["in.y_history"]
    size = numbers["w.encoder_lstm.recurrent_kernel"].shape[0]
    attention_size, n_out = numbers["w.input_attention.series.kernel"].shape[1], numbers["out.y"].shape[1]
    weigh = InputAttention(state_size=2 * size, input_size=x.shape[1], size=attention_size, n_features=x.shape[2])
    encoder = InputEncoder(weigh, n_features=x.shape[2], n_side=0, size=size)
    assert isinstance(encoder.raw, PaddedLSTM)
    assert isinstance(encoder.weighed, PaddedLSTM)
    lstm_weights(numbers, encoder.raw.lstm, "encoder_lstm")
    lstm_weights(numbers, encoder.weighed.lstm, "context_lstm")
    for name in ("series", "state", "score"):
        numbers.dense(getattr(encoder.attention, name), f"input_attention.{name}")
    decoder = TemporalDecoder(
        n_targets=history.shape[2],
        known_size=1,
        size=size,
        entry_size=numbers["w.decoder_input.bias"].shape[0],
        attention_size=numbers["w.temporal_attention.key.bias"].shape[0],
    )
    numbers.dense(decoder.entry, "decoder_input")
    for name, theirs in (("key", "key"), ("query", "state"), ("score", "score")):
        numbers.dense(getattr(decoder.attention, name), f"temporal_attention.{theirs}")
    decoder.cell.context.weight.data = numbers["w.decoder_lstm.kernel"].T.contiguous()
    decoder.cell.known.bias.data = numbers["w.decoder_lstm.bias"].clone()
    decoder.cell.recurrent.weight.data = numbers["w.decoder_lstm.recurrent_kernel"].T.contiguous()
    head = QuantileHead(size=numbers["w.dense1.bias"].shape[0], n_targets=n_out, quantiles=(0.5,))
    readout = DarnnReadout(size=size, head=head, dropout=0.0)
    numbers.dense(readout.dense, "dense1")
    numbers.dense(head.output, "dense2")
    for rows in [slice(None)] if together else [slice(row, row + 1) for row in range(len(x))]:
        with torch.no_grad():
            inside = torch.ones(x[rows].shape[:2], dtype=torch.bool)
            book = encoder(x[rows], x[rows, :, :0], inside, torch.ones_like(x[rows], dtype=torch.bool))
            told = history[rows]
            found = decoder(torch.zeros(*told.shape[:2], 1), told, decoder.open(book.output_BTD))
            answer = readout(found.hidden_BLD[:, -1:], found.context_BLD[:, -1:])[..., 0]
            close(answer, numbers["out.y"][rows])
        close(book.alpha_BTF[:, -1], numbers["out.alpha_last"][rows])
        close(found.weight_BLT[:, -1], numbers["out.beta_last"][rows])
