"""``openbook``: the floor it starts from, what its book holds, and what its parts add."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from tests.models.test_laws import SHAPE, B, H, T, make_batch
from torch.autograd import gradcheck

from openbook.errors import UsageError
from openbook.models.base import ModelShape, places_of, unread
from openbook.models.openbook import JointLook, OpenBook, OpenBookConfig, OpenBookNet
from openbook.models.registry import build_model
from openbook.nn.long_book import Days, LongBook
from openbook.nn.segments import SegmentEncoder
from openbook.nn.skip import LinearSkip, skip_input, skip_shape

DECIDED = OpenBookConfig(hidden_size=8, window=8, segment=2, mixing=True, book=1, cycle=True)


@pytest.mark.parametrize("days", [1, 2, 3])
def test_a_long_book_of_few_days_can_be_asked_far_ahead(days: int) -> None:
    shape = replace(SHAPE, season=2, h=9, input_size=8)
    batch = make_batch()
    ahead = {name: getattr(batch, name) for name in ("decoder_BHK", "decoder_observed_BHK")}
    ahead |= {name: getattr(batch, name) for name in ("target_BHM", "target_observed_BHM")}
    longer = {name: part[:, :1].expand(-1, 9, *part.shape[2:]).contiguous() for name, part in ahead.items()}
    net = OpenBookNet(replace(DECIDED, book=days, cycle=False), shape).eval()
    found = net(batch._replace(**longer))
    assert found.quantile_BHMQ.isfinite().all()
    weight_BHTF = found.attention.weight_BHTF
    near, far = weight_BHTF[:, :2, :, 0].sum((1, 2)), weight_BHTF[:, -1, :, 0].sum(1)
    assert near.isfinite().all()
    assert (far <= 1 + 1e-6).all()


def test_before_training_the_median_is_the_skip_path() -> None:
    batch, net = make_batch(), OpenBookNet(DECIDED, SHAPE).eval()
    weight = torch.randn(net.skip_shape.width, H, generator=torch.Generator().manual_seed(1))
    net.skip.set_base(weight, torch.arange(float(H)))
    wanted = skip_input(batch, net.skip_shape) @ weight + torch.arange(float(H))
    found = net(batch)
    torch.testing.assert_close(found.quantile_BHMQ[:, :, 0, SHAPE.median], wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.skip_BHM[..., 0], wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(net.floor(batch), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("with_days", [False, True], ids=["segments", "segments and days"])
def test_a_look_up_does_not_depend_on_how_many_ask_beside_it(with_days: bool) -> None:
    """Few queries are mapped themselves, many ask mapped cells: the same scores and the same context, by the equations."""
    g = torch.Generator().manual_seed(3)
    look = JointLook(size=5, n_variables=2, n_segments=3, with_days=with_days).double()
    for part in look.parameters():
        part.data = torch.randn(part.shape, generator=g, dtype=torch.float64)
    query_BHD, book_BSFD = (torch.randn(4, *s, 5, generator=g, dtype=torch.float64) for s in ((9,), (3, 2)))
    open_BSF = torch.rand(4, 3, 2, generator=g) < 0.7
    cells, known = open_BSF.sum((1, 2)).clamp(min=1).double()[:, None, None], None
    parts = [(query_BHD @ look.key_nowhere_D)[..., None] / 5**0.5 + cells.log()]
    if with_days:
        score_BHJ, value_BHJ = torch.randn(2, 4, 9, 7, generator=g, dtype=torch.float64)
        score_BHJ = score_BHJ.masked_fill(torch.rand(4, 9, 7, generator=g) < 0.4, -torch.inf)
        score_BHJ[0] = -torch.inf  # no day of this book can be read
        known = Days(score_BHJ, value_BHJ, torch.randn(4, generator=g, dtype=torch.float64))
        open_BH1 = score_BHJ.isfinite().sum(-1, keepdim=True).clamp(min=1).double()
        asked_BH1 = (query_BHD @ look.key_days_D)[..., None] / 5**0.5
        parts.append(score_BHJ + cells.log() - open_BH1.log() + asked_BH1)
    few_days = None if known is None else Days(known.score_BHJ[:, :4], known.value_BHJ[:, :4], known.level_B)
    many, few = look(query_BHD, book_BSFD, open_BSF, known), look(query_BHD[:, :4], book_BSFD, open_BSF, few_days)
    for name in ("cell_BHSF", "context_BHD", "day_BHJ", "analogue_BH"):
        torch.testing.assert_close(getattr(few, name), getattr(many, name)[:, :4], rtol=0, atol=1e-12)
    key_BSFD = look.key(book_BSFD) + look.key_name_FD
    score_BHSF = torch.einsum("bhd,bsfd->bhsf", query_BHD, key_BSFD) / 5**0.5 + look.lag_bias(1, 3)
    score_BHSF = score_BHSF.masked_fill(~open_BSF[:, None], -torch.inf)
    weight_BHC = torch.cat([score_BHSF.flatten(2), *parts], -1).softmax(-1)
    cell_BHSF = weight_BHC[..., :6].view_as(score_BHSF)
    torch.testing.assert_close(many.cell_BHSF, cell_BHSF, rtol=0, atol=1e-12)
    torch.testing.assert_close(many.day_BHJ, weight_BHC[..., 7:], rtol=0, atol=1e-12)
    wanted = torch.einsum("bhsf,bsfd->bhd", cell_BHSF, look.value(book_BSFD))
    torch.testing.assert_close(many.context_BHD, wanted, rtol=0, atol=1e-12)
    if known is not None:
        share_BHJ = torch.nan_to_num(known.score_BHJ.softmax(-1))
        found_BH = (share_BHJ * known.value_BHJ).sum(-1) + known.level_B[:, None]
        any_BH = known.score_BHJ.isfinite().any(-1)
        torch.testing.assert_close(many.analogue_BH, torch.where(any_BH, found_BH, 0.0), rtol=0, atol=1e-12)


def test_a_step_that_wholly_trusts_a_lag_repeats_it_and_keeps_its_floor_where_it_was_not_observed() -> None:
    batch = make_batch()
    net = OpenBookNet(replace(DECIDED, book=0, cycle=False), replace(SHAPE, season=2)).eval()
    net.skip.set_base(torch.zeros(net.skip_shape.width, H), torch.full((H,), 5.0))
    with torch.no_grad():
        net.trust.bias[1] = 1.0  # after the floor itself the season before comes first
    observed = torch.ones_like(batch.observed_BTF)
    observed[:, T - 1, 0] = False
    median_BH = net(batch._replace(observed_BTF=observed)).quantile_BHMQ[:, :, 0, SHAPE.median]
    torch.testing.assert_close(median_BH[:, ::2], batch.encoder_BTX[:, [T - 2], 0].expand(-1, H // 2))
    torch.testing.assert_close(median_BH[:, 1::2], torch.full((B, H // 2), 5.0))


def test_the_skip_path_may_read_farther_back_than_the_recurrence() -> None:
    batch, config = make_batch(), replace(DECIDED, window=4, skip_window=8, book=0, cycle=False)
    net = OpenBookNet(config, SHAPE).eval()
    assert net.skip is not None
    net.skip.set_base(torch.ones(net.skip_shape.width, H), torch.zeros(H))
    older = batch.encoder_BTX.clone()
    older[:, -6, 0] += 1.0  # a row that the map reads and the recurrence does not
    before, after = net(batch), net(batch._replace(encoder_BTX=older))
    median = SHAPE.median  # the spread may follow the level that the map forecasts
    torch.testing.assert_close(after.quantile_BHMQ[..., median], before.quantile_BHMQ[..., median] + 1.0)
    assert torch.equal(after.attention.weight_BHTF, before.attention.weight_BHTF)
    assert not after.attention.weight_BHTF[:, :, :-4].any()


def test_the_floor_stays_what_it_was_whatever_is_trained() -> None:
    batch, net = make_batch(), OpenBookNet(DECIDED, SHAPE).eval()
    assert net.skip is not None
    net.skip.set_base(torch.randn(net.skip_shape.width, H, generator=torch.Generator().manual_seed(1)), torch.zeros(H))
    before = net(batch)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)
    after = net(batch)
    assert not torch.equal(after.quantile_BHMQ, before.quantile_BHMQ)
    assert torch.equal(after.skip_BHM, before.skip_BHM)


def test_skip_input_reads_lags_then_inputs_then_what_is_known_ahead() -> None:
    batch = make_batch()
    shape = skip_shape(6, H, n_variables=3, n_known=1, n_fixed=2)
    x = skip_input(batch, shape)
    assert x.shape == (B, shape.width) == (B, 6 + 6 * 2 + H + 2)
    whole = batch.observed_BTF[..., 0].all(1)
    torch.testing.assert_close(x[whole, :6], batch.encoder_BTX[whole, -6:, 0])
    torch.testing.assert_close(x[:, 6:18], batch.encoder_BTX[:, -6:, 1:3].flatten(1))
    torch.testing.assert_close(x[:, 18:22], batch.decoder_BHK[..., 0])
    torch.testing.assert_close(x[:, 22:], batch.decoder_BHK[:, 0, 1:3])


def test_a_day_without_values_hardly_moves_a_linear_forecast() -> None:
    """A map learned from whole windows repeats yesterday: of a day that is missing it repeats the one before."""
    shape = skip_shape(8, 2, n_variables=1, n_known=0, n_fixed=0, season=2)
    layer = LinearSkip(shape)
    weight = torch.zeros(8, 2)
    weight[6, 0] = weight[7, 1] = 1.0
    layer.set_base(weight, torch.zeros(2))
    batch = make_batch()
    y = torch.tensor([3.0, -3.0]).repeat(4)[None].expand(B, -1)
    seen = torch.ones(B, 8, 1, dtype=torch.bool)
    seen[:, -2:] = False
    gone = batch._replace(encoder_BTX=y[..., None].masked_fill(~seen, 0.0), observed_BTF=seen)
    assert layer(skip_input(gone, shape)).tolist() == [[3.0, -3.0]] * B


def test_what_is_before_a_series_is_recalled_in_forecasts_and_not_in_training() -> None:
    batch, net = make_batch(), OpenBookNet(replace(DECIDED, book=0), replace(SHAPE, season=2))
    seen = batch.observed_BTF.clone()
    seen[:, :4, 0], seen[:, 4:, 0] = False, True
    late = batch._replace(
        observed_BTF=seen,
        encoder_BTX=torch.cat([batch.encoder_BTX[..., :1] * seen[..., :1], batch.encoder_BTX[..., 1:]], -1),
    )
    told: list[torch.Tensor] = []
    assert net.skip is not None
    net.skip.register_forward_pre_hook(lambda _, given: told.append(given[0]))
    for mode in (True, False):
        net.train(mode)(late)
        torch.testing.assert_close(told[-1], skip_input(late, net.skip_shape, learning=mode))
    assert not torch.equal(told[0], told[1])


def test_the_long_book_recalls_as_the_path_does() -> None:
    for recall, season in ((0, SHAPE.season), (1, 1)):
        net = OpenBookNet(DECIDED, replace(SHAPE, recall=recall))
        assert net.long_book is not None
        assert (net.long_book.recall, net.skip_shape.season) == (season, season)


def test_known_inputs_ahead_are_averaged_in_blocks() -> None:
    batch = make_batch()
    shape = skip_shape(6, H, n_variables=3, n_known=1, n_fixed=0)._replace(block=3)
    x = skip_input(batch, shape)[:, -2:]
    wanted = torch.stack([batch.decoder_BHK[:, :3, 0].mean(1), batch.decoder_BHK[:, 3, 0]], dim=1)
    torch.testing.assert_close(x, wanted)


def test_attention_off_leaves_everything_to_memory() -> None:
    net = OpenBookNet(replace(DECIDED, attention=False, book=0), SHAPE).eval()
    found = net(make_batch()).attention
    assert (found.weight_BHTF == 0).all()
    assert (found.memory() == 1).all()


def test_the_targets_segments_hear_every_input_whether_it_may_be_looked_up_or_not() -> None:
    batch = make_batch()
    # Of eight rectified units of a segment all may be shut at both values: one draw in a hundred heard nothing.
    config = replace(DECIDED, hidden_size=32, skip=False, book=0)
    for mixing in (False, True):
        net = OpenBookNet(replace(config, mixing=mixing), SHAPE).eval()
        with torch.no_grad():  # before training nothing is read out
            net.head.output.weight.normal_(generator=torch.Generator().manual_seed(0))
        before = net(batch).quantile_BHMQ
        for column in range(SHAPE.n_variables):
            told_BTX = batch.encoder_BTX.clone()
            told_BTX[:, -3, column] += 1.0
            after = net(batch._replace(encoder_BTX=told_BTX)).quantile_BHMQ
            assert (after != before).flatten(1).any(1).all(), (mixing, column)


def test_a_segments_weight_lies_on_its_observed_rows() -> None:
    net = OpenBookNet(replace(DECIDED, book=0, mixing=False), SHAPE).eval()
    weight_BHTF = net(make_batch()).attention.weight_BHTF
    # Window 2 misses rows 4 and 5 of nine; the window of eight begins at row 1, so segments are (1, 2), (3, 4), (5, 6), (7, 8).
    assert (weight_BHTF[2, :, 4:6, 0] == 0).all()
    assert (weight_BHTF[2, :, [3, 6], 0] > 0).all()
    torch.testing.assert_close(weight_BHTF[0, :, 1], weight_BHTF[0, :, 2])
    assert (weight_BHTF[..., 1:] == 0).all()


def test_the_long_book_names_the_same_hour_of_past_days_and_what_happened_then() -> None:
    days, season, h = 3, 2, 3
    book = LongBook(days=days, season=season, n_known=0, n_calendar=0, size=4)
    y = torch.tensor([[1.0, 3.0, 2.0, 8.0, 6.0, 4.0]])  # levels 2, 5, 5
    seen = torch.ones(1, 6, 1, dtype=torch.bool)
    batch = make_batch()._replace(
        encoder_BTX=y[..., None], observed_BTF=seen, inside_BT=seen[..., 0], decoder_BHK=torch.zeros(1, h, 1)
    )
    found = book(batch, 1, y)
    assert found.level_B.tolist() == [5.0]
    # One day ahead, day 1 stands on the level of day 0, day 2 on that of day 1.
    assert found.value_BHJ[0, 0].tolist() == [2.0 - 2.0, 6.0 - 5.0]
    assert found.value_BHJ[0, 1].tolist() == [8.0 - 2.0, 4.0 - 5.0]
    # Step 3 is a day further: day 2 stands on the level of day 0, and day 1 has none.
    assert found.score_BHJ[0, 2].isinf().tolist() == [True, False]
    assert found.value_BHJ[0, 2, 1].item() == 6.0 - 2.0


@pytest.mark.parametrize("missing", [0, 1, 2, 3, 4, 6])
def test_a_day_that_was_not_observed_as_a_whole_keeps_its_level(missing: int) -> None:
    """The newest hours are missing: their days' levels are those of whole days, and so is what is looked up."""
    days, season = 5, 4
    book = LongBook(days=days, season=season, n_known=0, n_calendar=0, size=4)
    day = torch.tensor([1.0, 2.0, 6.0, 3.0])  # its level is 3, half of it has 1.5
    y, seen = day.repeat(days)[None], torch.ones(1, days * season, 1, dtype=torch.bool)
    seen[0, days * season - missing :] = False
    batch = make_batch()._replace(
        encoder_BTX=(y * seen[..., 0])[..., None],
        observed_BTF=seen,
        inside_BT=seen[..., 0] | True,
        decoder_BHK=torch.zeros(1, 4, 1),
    )
    found = book(batch, 1, y * seen[..., 0])
    assert found.level_B.tolist() == [3.0]
    open_BHJ = found.score_BHJ.isfinite()
    torch.testing.assert_close(found.value_BHJ[open_BHJ], (day - 3.0)[None, :, None].expand(1, 4, days - 1)[open_BHJ])


def test_a_series_that_begins_within_a_day_has_the_level_of_what_is_there() -> None:
    book = LongBook(days=2, season=4, n_known=0, n_calendar=0, size=4)
    y = torch.tensor([[0.0, 0.0, 6.0, 3.0, 1.0, 2.0, 6.0, 3.0]])
    seen = torch.tensor([[False, False, *[True] * 6]])[..., None]
    batch = make_batch()._replace(
        encoder_BTX=y[..., None], observed_BTF=seen, inside_BT=seen[..., 0], decoder_BHK=torch.zeros(1, 1, 1)
    )
    assert book(batch, 1, y).value_BHJ.item() == 1.0 - 4.5


def test_days_with_the_same_facts_score_higher() -> None:
    torch.manual_seed(0)
    book = LongBook(days=4, season=1, n_known=1, n_calendar=0, size=4)
    known = torch.tensor([[9.0, 0.0, 5.0, 1.0]])
    seen = torch.ones(1, 4, 2, dtype=torch.bool)
    batch = make_batch()._replace(
        encoder_BTX=torch.stack([torch.zeros(1, 4), known], -1),
        observed_BTF=seen,
        inside_BT=seen[..., 0],
        decoder_BHK=torch.tensor([[[5.0, 1.0]]]),
        decoder_observed_BHK=torch.ones(1, 1, 2, dtype=torch.bool),
    )
    score_J = book(batch, 2, torch.zeros(1, 4)).score_BHJ[0, 0]
    assert score_J.argmax() == 1  # of the days that have one before them: 0, 5, 1
    assert score_J[1].item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("h", [2, 3, 5])
def test_days_are_told_apart_by_each_step_and_by_the_mean_of_the_day(h: int) -> None:
    """``−|W (now − then)|²`` as written: facts of the step, and the mean of the known inputs over its day, by √2; of a day that
    is not ahead to its end, over the same steps of both, and over those alone of which the input is known."""
    torch.manual_seed(0)
    season, days = 3, 4
    book = LongBook(days=days, season=season, n_known=1, n_calendar=1, size=4).double()
    facts_TK, ahead_HK = torch.randn(days * season, 2).double(), torch.randn(h, 2).double()
    seen = torch.ones(1, days * season, 2, dtype=torch.bool)
    known = torch.ones(1, h, 3, dtype=torch.bool)
    seen[0, 4, 1], known[0, 0, 0], facts_TK[4, 0], ahead_HK[0, 0] = False, False, 0.0, 0.0
    encoder = torch.cat(
        [torch.zeros(days * season, 1), facts_TK[:, :1], torch.ones(days * season, 1), facts_TK[:, 1:]], 1
    )
    batch = make_batch()._replace(
        encoder_BTX=encoder[None],
        observed_BTF=seen,
        inside_BT=seen[..., 0],
        decoder_BHK=torch.cat([ahead_HK, torch.ones(h, 1)], 1)[None],
        decoder_observed_BHK=known,
    )
    assert book.facts is not None
    score_HJ = book(batch, 2, encoder[None, :, 0]).score_BHJ[0]
    for step, day in itertools.product(range(h), range(1, days)):
        if score_HJ[step, day - 1].isinf():  # of a far step no day lies so long before it
            assert (step // season, day) == (1, 1)
            continue
        begin, end = step // season * season, min((step // season + 1) * season, h)
        rows, there = (part[day * season :][: end - begin] for part in (facts_TK, seen[0, :, 1]))
        now = torch.cat([ahead_HK[step], ahead_HK[begin:end, 0][known[0, begin:end, 0]].mean()[None]])
        then = torch.cat([rows[step - begin], rows[there, 0].mean()[None]])
        apart = (book.facts.weight @ (now - then) / 2**0.5).square().sum()
        torch.testing.assert_close(score_HJ[step, day - 1], -apart)


def test_missing_days_are_not_read() -> None:
    batch, net = make_batch(), OpenBookNet(DECIDED, SHAPE).eval()
    assert net.long_book is not None
    found = net.long_book(batch, 3, batch.encoder_BTX[..., 0])
    # The newest of two days of four rows is rows 5 to 8; window 2 misses row 5.
    assert found.score_BHJ[2, :, 0].isinf().tolist() == [True, False, False, False]


def test_the_cycle_is_taken_off_and_added_back() -> None:
    batch, net = make_batch(), OpenBookNet(replace(DECIDED, mixing=False, book=0), SHAPE).eval()
    assert net.skip is not None
    assert net.cycle is not None
    net.skip.set_base(torch.eye(net.skip_shape.width)[:, 7:8].expand(-1, H), torch.zeros(H))  # repeats the last value
    with torch.no_grad():
        net.cycle[2].weight.fill_(0.3)
    past = net.cycle(batch.encoder_BTX[:, -1:, -2:])[..., 0]
    ahead = net.cycle(batch.decoder_BHK[..., 1:3])[..., 0]
    wanted = batch.encoder_BTX[:, -1:, 0] - past + ahead
    middle = net(batch).quantile_BHMQ[:, :, 0, SHAPE.median]
    torch.testing.assert_close(middle, wanted, rtol=0, atol=1e-6)


def test_members_are_averaged() -> None:
    batch, model = make_batch(), OpenBook(replace(DECIDED, n_models=2), SHAPE).eval()
    one, two = (member(batch) for member in model.members)
    found = model(batch)
    assert not torch.equal(one.quantile_BHMQ, two.quantile_BHMQ)
    torch.testing.assert_close(found.quantile_BHMQ, (one.quantile_BHMQ + two.quantile_BHMQ) / 2)
    mean = (one.attention.weight_BHTF + two.attention.weight_BHTF) / 2
    torch.testing.assert_close(found.attention.weight_BHTF, mean)


def test_look_ups_nobody_reads_stay_compact_and_change_no_forecast() -> None:
    batch, model = make_batch(), OpenBook(replace(DECIDED, n_models=2), SHAPE).eval()
    whole = model(batch)
    with unread():
        compact = model(batch)
    assert torch.equal(compact.quantile_BHMQ, whole.quantile_BHMQ)
    assert compact.attention.weight_BHTF.shape == (B, H, 4, 3)  # four segments of two steps
    assert places_of(model) == 4 + 1 + 2  # segments, nowhere, days
    assert torch.equal(model(batch).attention.weight_BHTF, whole.attention.weight_BHTF)
    assert places_of(torch.nn.Linear(1, 1)) is None


def test_one_thread_may_explain_while_another_forecasts() -> None:
    batch, model = make_batch(), OpenBook(DECIDED, SHAPE).eval()
    with unread(), ThreadPoolExecutor(1) as other:
        compact, whole = model(batch), other.submit(model, batch).result()
    assert compact.attention.weight_BHTF.shape == (B, H, 4, 3)
    assert whole.attention.weight_BHTF.shape == (B, H, T, 3)


def test_initial_weights_leave_every_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    touched: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", touched.append)  # what torch.manual_seed does to all GPUs
    torch.manual_seed(3)
    wanted = (torch.rand(1), torch.rand(1))
    torch.manual_seed(3)
    assert torch.rand(1) == wanted[0]
    del touched[:]
    one, two = (build_model(DECIDED, SHAPE, seed) for seed in (1, 1))
    assert touched == []
    assert torch.rand(1) == wanted[1]
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name])


def test_an_error_in_between_leaves_look_ups_readable() -> None:
    model = OpenBook(DECIDED, SHAPE).eval()
    with pytest.raises(ZeroDivisionError), unread():
        1 / 0  # noqa: B018
    assert model(make_batch()).attention.weight_BHTF.shape == (B, H, T, 3)


def test_static_inputs_are_read_once_and_not_looked_up() -> None:
    shape = replace(SHAPE, n_static=1)
    net = OpenBookNet(DECIDED, shape).eval()
    assert net.sizes.n_variables == 2
    assert net.sizes.n_known == 0
    weight_BHTF = net(make_batch()).attention.weight_BHTF
    assert weight_BHTF.shape == (B, H, T, 3)
    assert (weight_BHTF[..., 2] == 0).all()


def test_segments_are_zero_before_anything_was_observed_and_gradients_agree_in_float64() -> None:
    encoder = SegmentEncoder(segment=2, n_variables=2, size=3, n_beside=1).double()
    seen = torch.ones(2, 5, 2, dtype=torch.bool)
    seen[0, :3, 1] = False
    value = torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True)
    beside = torch.randn(2, 5, 1, dtype=torch.float64)
    book = encoder(value, seen, beside)
    assert book.shape == (2, 3, 2, 3)
    assert (book[0, :2, 1] == 0).all()
    assert gradcheck(lambda x: encoder(x, seen, beside), value)
    other = encoder(value, seen, beside + 1)
    assert not torch.equal(other[:, :, 0], book[:, :, 0])
    assert torch.equal(other[:, :, 1], book[:, :, 1])


@pytest.mark.parametrize("changes", [{"book": 0}, {"mixing": False}, {"cycle": False}, {"segment": 1}, {"skip": False}])
def test_gradients_are_finite_at_large_inputs(changes: dict[str, object]) -> None:
    net = OpenBookNet(replace(DECIDED, **changes), SHAPE)  # type: ignore[arg-type]
    net(make_batch(1e4)).quantile_BHMQ.sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


def test_shapes_without_calendar_have_no_cycle_and_compare_days_by_liking_alone() -> None:
    shape = ModelShape(n_variables=1, n_encoder=2, n_decoder=1, input_size=T, h=H, quantiles=(0.5,), season=4)
    net = OpenBookNet(replace(DECIDED, mixing=False), shape)
    assert net.cycle is None
    assert net.long_book is not None
    assert net.long_book.facts is None


@pytest.mark.parametrize("wrong", [-1.0, float("inf"), float("nan"), True, False, "", "60"])
def test_days_of_noise_that_can_not_be_are_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="year_jitter"):
        OpenBookConfig(year_jitter=wrong)
