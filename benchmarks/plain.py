"""What the speed benchmarks measure against: the loops people write, and a bare encoder-decoder without any attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openbook.nn.recurrent import FusedLSTM


class BareLSTM(nn.Module):
    """An LSTM encoder-decoder without attention: the physical yardstick. ``readout`` takes states to the forecast."""

    def __init__(self, n_inputs: int, n_known: int, size: int, readout: nn.Module) -> None:
        super().__init__()
        self.encoder = self.layer(n_inputs, size)
        self.decoder = self.layer(n_known, size)
        self.readout = readout

    @staticmethod
    def layer(n_inputs: int, size: int) -> nn.Module:
        """Torch's."""
        return nn.LSTM(n_inputs, size, batch_first=True)

    def forward(self, past_BTX: Tensor, known_BHK: Tensor) -> Tensor:
        """What the readout makes of all steps."""
        _, state = self.encoder(past_BTX)
        return self.readout(self.decoder(known_BHK, state)[0])


class OwnBareLSTM(BareLSTM):
    """The same with the layer our models use: what they take longer are look-up and readout, not how they read."""

    @staticmethod
    def layer(n_inputs: int, size: int) -> nn.Module:
        """Ours."""
        return FusedLSTM(input_size=n_inputs, size=size)


class PlainBahdanau(nn.Module):
    """The usual loop: keys projected again at every decoder step, tanh of a [B, T, A] tensor, an LSTM cell."""

    def __init__(self, n_inputs: int, n_known: int, size: int, readout: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.LSTM(n_inputs, size, batch_first=True)
        self.key, self.query, self.score = nn.Linear(size, size), nn.Linear(size, size), nn.Linear(size, 1)
        self.cell = nn.LSTMCell(size + n_known, size)
        self.readout = readout

    def forward(self, past_BTX: Tensor, known_BHK: Tensor) -> Tensor:
        """What the readout makes of all steps."""
        book_BTD, (hidden, cell) = self.encoder(past_BTX)
        hidden_BD, cell_BD, outputs = hidden[0], cell[0], []
        for known_BK in known_BHK.unbind(1):
            score_BT1 = self.score(torch.tanh(self.key(book_BTD) + self.query(hidden_BD)[:, None]))
            context_BD = (score_BT1.softmax(1) * book_BTD).sum(1)
            hidden_BD, cell_BD = self.cell(torch.cat([context_BD, known_BK], -1), (hidden_BD, cell_BD))
            outputs.append(hidden_BD)
        return self.readout(torch.stack(outputs, 1))


class PlainDarnn(nn.Module):
    """Dual-stage attention as its equations stand (Qin et al. 2017, equations 8 to 15), a loop for each stage."""

    def __init__(self, n_features: int, input_size: int, size: int, quantiles: int = 3) -> None:
        super().__init__()
        self.size = size
        self.series, self.state = nn.Linear(input_size, size), nn.Linear(2 * size, size)
        self.alpha = nn.Linear(size, 1)
        self.encoder = nn.LSTMCell(n_features, size)
        self.key, self.query, self.beta = nn.Linear(size, size), nn.Linear(2 * size, size), nn.Linear(size, 1)
        self.entry, self.decoder = nn.Linear(size + 1, 1), nn.LSTMCell(1, size)
        self.output = nn.Linear(2 * size, quantiles)

    def forward(self, past_BTF: Tensor, target_BT1: Tensor) -> Tensor:
        """Quantiles [B, Q]."""
        zero_BD = past_BTF.new_zeros(len(past_BTF), self.size)
        hidden_BD, cell_BD, outputs = zero_BD, zero_BD, []
        for now_BF in past_BTF.unbind(1):
            series_BFA = self.series(past_BTF.transpose(1, 2))
            asked_B1A = self.state(torch.cat([hidden_BD, cell_BD], -1))[:, None]
            alpha_BF = self.alpha(torch.tanh(series_BFA + asked_B1A)).squeeze(-1).softmax(1)
            hidden_BD, cell_BD = self.encoder(alpha_BF * now_BF, (hidden_BD, cell_BD))
            outputs.append(hidden_BD)
        book_BTD = torch.stack(outputs, 1)
        hidden_BD, cell_BD, context_BD = zero_BD, zero_BD, zero_BD
        for told_B1 in target_BT1.unbind(1):
            entry_B1 = self.entry(torch.cat([told_B1, context_BD], -1))
            hidden_BD, cell_BD = self.decoder(entry_B1, (hidden_BD, cell_BD))
            asked_B1A = self.query(torch.cat([hidden_BD, cell_BD], -1))[:, None]
            beta_BT1 = self.beta(torch.tanh(self.key(book_BTD) + asked_B1A)).softmax(1)
            context_BD = (beta_BT1 * book_BTD).sum(1)
        return self.output(torch.cat([hidden_BD, context_BD], -1))
