"""Seasonal lags: which rows they read, and what they leave out."""

from __future__ import annotations

import pytest
import torch
from tests.models.test_laws import make_batch

from openbook.nn.seasonal_lags import periods_of, seasonal_lags


def test_each_step_asks_its_own_place_of_the_last_periods() -> None:
    batch = make_batch()
    B, T, H = len(batch.encoder_BTX), batch.encoder_BTX.shape[1], batch.decoder_BHK.shape[1]
    target_BT = torch.arange(float(T)).expand(B, T)
    whole = batch._replace(observed_BTF=torch.ones_like(batch.observed_BTF))
    lags = seasonal_lags(whole, target_BT, (2, 5), n_variables=3, n_known=0)
    # Two steps back are asked again by the steps beyond them: nothing after the origin is read.
    assert lags.value_BHL[0, :, 0].tolist() == [T - 2 + step % 2 for step in range(H)]
    assert lags.value_BHL[0, :, 1].tolist() == [T - 5 + step % 5 for step in range(H)]
    assert lags.seen_BHL.all()
    assert lags.apart_BHX.shape == (B, H, 0)


def test_what_was_not_observed_or_lies_before_the_context_says_nothing() -> None:
    batch = make_batch()
    T, H = batch.encoder_BTX.shape[1], batch.decoder_BHK.shape[1]
    observed = torch.ones_like(batch.observed_BTF)
    observed[:, T - 2, 0] = False
    lags = seasonal_lags(
        batch._replace(observed_BTF=observed), torch.full((len(observed), T), 7.0), (2, T + 1), n_variables=3, n_known=1
    )
    assert lags.seen_BHL[0, :, 0].tolist() == [step % 2 == 1 for step in range(H)]
    assert lags.value_BHL[0, :, 0].tolist() == [7.0 * (step % 2) for step in range(H)]
    # T + 1 steps back the first step finds no row; the next ones find the oldest.
    assert lags.seen_BHL[0, :, 1].tolist() == [step > 0 for step in range(H)]
    assert not lags.apart_BHX[:, 0, 1].any()


def test_known_inputs_tell_how_far_the_step_is_from_its_lag() -> None:
    batch = make_batch()
    T, H = batch.encoder_BTX.shape[1], batch.decoder_BHK.shape[1]
    observed, ahead = torch.ones_like(batch.observed_BTF), torch.ones_like(batch.decoder_observed_BHK)
    ahead[0, 0, 0] = observed[1, T - 1, 2] = False
    whole = batch._replace(observed_BTF=observed, decoder_observed_BHK=ahead)
    apart_BH = seasonal_lags(whole, batch.encoder_BTX[..., 0], (2,), n_variables=3, n_known=1).apart_BHX[..., 0]
    for window, step in ((0, 1), (2, 0), (2, H - 1)):
        then = batch.encoder_BTX[window, T - 2 + step % 2, 2]
        torch.testing.assert_close(apart_BH[window, step], batch.decoder_BHK[window, step, 0] - then)
    assert apart_BH[0, 0] == apart_BH[1, 1] == 0.0


@pytest.mark.parametrize(
    ("season", "reach", "wanted"), [(48, 336, (48, 336)), (48, 335, (48,)), (7, 6, ()), (1, 500, (1,))]
)
def test_lags_are_those_that_the_context_holds(season: int, reach: int, wanted: tuple[int, ...]) -> None:
    assert periods_of(season, reach) == wanted
