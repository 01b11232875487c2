"""The format planner: what it trusts, what it picks, and which defenses may draw many at once."""

import pytest
import torch
from torch import nn

from bench.catalogue.selection import Selection
from bench.datasets.load import load
from bench.harness import format_choice, matrix
from bench.harness.format_choice import choose_formats, draws_per_row
from bench.harness.formats import PLAIN, Format, SearchFormats
from bench.threats import ThreatModel
from bench.types import Defense


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.norm, self.head = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.norm(self.convolution(x)).relu().mean((2, 3)))


class Watched(Net):
    def forward(self, x):
        seen = self.convolution(x)
        return self.head((self.norm(seen).relu() + 5 * seen).mean((2, 3)))


class Typed(Net):
    """Refuses anything but float32, channel by channel."""

    def forward(self, x):
        if torch.is_autocast_enabled("cpu"):
            raise TypeError("no")
        return super().forward(x)


def trained(kind=Net):
    torch.manual_seed(0)
    net = kind()
    for _ in range(5):
        net(torch.rand(16, 1, 8, 8) + 1)
    return net.eval()


@pytest.fixture
def x():
    return torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_every_float32_format_of_a_plain_network_is_trusted(x):
    trusted = format_choice._trusted(trained(), x)

    assert {layout for layout in trusted if not layout.half} == {
        PLAIN,
        Format(channels_last=True),
        Format(fused=True),
        Format(channels_last=True, fused=True),
    }


def test_a_format_with_other_answers_is_not_trusted(x):
    trusted = format_choice._trusted(trained(Watched), x)

    assert not any(layout.fused for layout in trusted)
    assert Format(channels_last=True) in trusted


def test_a_format_with_other_gradients_is_not_trusted(x, monkeypatch):
    """Equal logits say nothing about the way back."""

    class Deaf(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x).detach() + 0 * x.flip(2).mean((1, 2, 3))[:, None] + 1e-9 * x.mean((1, 2, 3))[:, None]

    monkeypatch.setattr(format_choice, "converted", lambda model, layout, x: Deaf(model))

    assert set(format_choice._trusted(trained(), x)) == {PLAIN}


class Off(nn.Module):
    """Answers that are off, by shares of the typical distance between the two largest logits, image by image."""

    def __init__(self, model, shares):
        super().__init__()
        self.model, self.shares = model, shares

    def forward(self, x):
        logits = self.model(x)
        top = logits.topk(2, dim=1).values
        return logits + (top[:, 0] - top[:, 1]).median().detach() * self.shares[: len(x), None]


@pytest.mark.parametrize(
    ("shares", "half", "full"),
    [
        ([0.05] * 8, True, False),
        ([0.2] * 8, False, False),
        ([0.05] * 7 + [1.0], True, False),
        ([0.05] * 7 + [torch.nan], False, False),
        ([0.0] * 7 + [1.0], True, False),
        ([1e-6] * 8, True, True),
    ],
)
def test_bfloat16_is_held_to_its_typical_answer_and_float32_to_every_one(x, monkeypatch, shares, half, full):
    """Of bfloat16 the largest error of a few images says little: it is several times the typical one."""
    monkeypatch.setattr(format_choice, "converted", lambda model, layout, x: Off(model, torch.tensor(shares)))
    monkeypatch.setattr(format_choice, "_emulated", lambda *_: False)

    trusted = set(format_choice._trusted(trained(), x)) - {PLAIN}

    assert any(layout.half for layout in trusted) is half
    assert any(not layout.half for layout in trusted) is full


@pytest.mark.parametrize(
    ("times", "expected"), [([9, 1, 9, 1], True), ([9, 1, 1, 1, 1, 1], False), ([1, 1, 9, 1, 9, 1], True)]
)
def test_one_slow_call_does_not_make_a_format_an_imitation(x, monkeypatch, times, expected):
    """Of one image, then of several; the other format's time comes first."""
    clock = iter(times)
    monkeypatch.setattr(format_choice, "_seconds", lambda *_: next(clock))

    assert format_choice._emulated(None, None, x) is expected
    assert next(clock, None) is None


def test_a_network_that_refuses_a_format_is_run_as_it_is(x):
    trusted = format_choice._trusted(trained(Typed), x)

    assert PLAIN in trusted
    assert not any(layout.half for layout in trusted)


def test_a_network_that_cannot_be_copied_is_run_as_it_is(x):
    net = trained()
    net.lock = (part for part in ())  # a generator cannot be copied

    planned = choose_formats(Defense(net), x, seconds=0)

    assert planned.search == planned.float32 == PLAIN
    assert set(planned.gain) == {"float32"}


def test_the_fastest_format_is_taken_where_it_is_worth_it():
    """Too small a gain is noise, and rounds otherwise all the same."""
    half, folded = Format(half=True, channels_last=True), Format(fused=True)

    assert format_choice._fastest({PLAIN: 1.0, folded: 1.3, half: 2.4}) == half
    assert format_choice._fastest({PLAIN: 1.0, folded: 1.3, half: 1.6}) == folded
    assert format_choice._fastest({PLAIN: 1.0, folded: 1.05, half: 1.3}) == PLAIN
    assert format_choice._fastest({PLAIN: 1.0, folded: 1.3}) == folded
    assert format_choice._fastest({PLAIN: 1.0, folded: 1.05}) == PLAIN


def test_a_gain_is_what_three_rounds_of_four_say(monkeypatch, x):
    """Neither a machine that is slower for a while nor a single lucky round decides."""
    folded, last, gone = Format(fused=True), Format(channels_last=True), Format(channels_last=True, fused=True)
    times = {
        PLAIN: [3, 12, 48, 12, 12],
        folded: [4, 8, 32, 8, 8],
        last: [3, 12, 12, 12, 12],  # once four times as fast
        gone: [6, 30],
    }
    clock = [0.0]
    for name in ("perf_counter", "process_time"):
        monkeypatch.setattr(format_choice.time, name, lambda: clock[0])

    def answer(network, _x):
        clock[0] += times[network].pop(0)

    monkeypatch.setattr(format_choice, "_answer", answer)

    gain = format_choice._timed({layout: layout for layout in times}, x, until=230.0)

    assert gain == {PLAIN: 1.0, folded: 1.5, last: 1.0, gone: pytest.approx(0.425)}
    assert not any(times.values())


class PerRow(nn.Module):
    def forward(self, x):
        return torch.stack([x.mean((1, 2, 3)), (x + torch.randn_like(x)).mean((1, 2, 3))], 1)


class PerCall(nn.Module):
    def forward(self, x):
        return torch.stack([x.mean((1, 2, 3)), (x + torch.randn_like(x[:1])).mean((1, 2, 3))], 1)


class Both(nn.Module):
    def forward(self, x):
        noise = torch.randn_like(x) + 2 * torch.randn_like(x[:1])
        return torch.stack([x.mean((1, 2, 3)), (x + noise).mean((1, 2, 3))], 1)


class Masked(nn.Module):
    """A block at a random place, drawn for each image."""

    def forward(self, x):
        place = torch.randint(0, 5, (len(x),))
        columns = torch.arange(x.shape[3])
        hidden = (columns >= place[:, None]) & (columns < place[:, None] + 4)
        return torch.stack([x.mean((1, 2, 3)), (x * ~hidden[:, None, None, :]).mean((1, 2, 3))], 1)


@pytest.mark.parametrize(
    ("model", "expected"),
    [(PerRow(), True), (Masked(), True), (PerCall(), False), (Both(), False)],
    ids=lambda v: str(v),
)
def test_only_a_defense_that_draws_for_each_row_may_draw_many_at_once(model, expected, x):
    """One mask per call would make twenty draws of one query a single one."""
    assert draws_per_row(model, x) is expected


def test_a_deterministic_defense_has_nothing_to_draw(x):
    planned = choose_formats(Defense(trained()), x, seconds=0)

    assert planned.rows_at_once == 1
    assert choose_formats(Defense(PerRow(), stochastic=True), x, seconds=0).rows_at_once > 1
    assert choose_formats(Defense(PerCall(), stochastic=True), x, seconds=0).rows_at_once == 1


def cells(names="pgd-20"):
    examples = load("digits", "test", n=64)
    request = Selection.of("at", names, (ThreatModel.parse("Linf:0.2"),))
    return [planned.cell for planned in matrix.build(request, examples)], examples


def test_a_plan_is_part_of_a_key_and_reads_back():
    """What is in a key has to say all that a worker needs."""
    for plan_ in (
        SearchFormats(),
        SearchFormats(rows_at_once=160),
        SearchFormats(Format(fused=True), Format(fused=True), 2),
        SearchFormats(Format(half=True, channels_last=True), PLAIN),
        SearchFormats(Format(half=True, channels_last=True, fused=True), Format(channels_last=True), 160),
    ):
        assert SearchFormats.parse(str(plan_)) == plan_
    assert str(SearchFormats()) == "float32"
    assert (
        str(SearchFormats(Format(half=True, channels_last=True), PLAIN, 160))
        == "bfloat16 channels-last / float32 / 160 rows"
    )


def test_a_defense_that_cannot_be_asked_has_the_plain_plan(monkeypatch):
    """What is wrong with it is for the checks to say, and for the attacks of the other defenses not to suffer from."""
    (cell,), examples = cells("fgsm")
    monkeypatch.setattr(format_choice, "load_defense", lambda *_: Defense(nn.Linear(3, 3), stochastic=True))

    assert format_choice.settle(cell.defense, examples, "cpu", 1, "float32") == SearchFormats()
    assert format_choice.settle(cell.defense, examples, "cpu", 1, "auto") == SearchFormats()


def test_planning_leaves_the_random_generators_as_they_were(x):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    choose_formats(Defense(PerRow(), stochastic=True), x, seconds=0)

    assert torch.equal(torch.rand(2), expected)
