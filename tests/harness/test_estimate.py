"""What a cell costs before it is computed: the passes in closed form, the seconds by the clock."""

import itertools

import pytest
import torch

from bench.catalogue.loading import load_defense
from bench.catalogue.refs import AttackRef
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.digits import digits
from bench.harness import estimate
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel


def cell(name="standard", *, forwards=20, backwards=10, eot=5, batch=16):
    part = Slice("digits", "test", 40, "images")
    attack = AttackRef("a", "a", "a", forwards=forwards, backwards=backwards, eot=eot)
    return Cell(defense(Request(name, {}), "digits", None), attack, ThreatModel.parse("Linf:0.1"), part, 0, 1, batch)


@pytest.mark.parametrize(
    ("name", "forwards", "backwards", "n", "expected"),
    [
        ("standard", 20, 10, 7, 7 * 40),
        ("standard", 21, 0, 7, 7 * 21),
        ("atop", 20, 10, 7, 5 * 7 * 40),
        ("atop", 1, 1, 0, 0),
    ],
    ids=["deterministic", "no gradient", "stochastic", "nothing"],
)
def test_a_backward_is_two_forwards_and_draws_are_for_stochastic_defenses(name, forwards, backwards, n, expected):
    assert cell(name, forwards=forwards, backwards=backwards).passes(n) == expected


@pytest.mark.parametrize(("n", "rows"), [(40, 16), (6, 6)])
def test_the_seconds_are_those_of_the_faster_batch_after_the_first(n, rows, monkeypatch):
    """Shared by its examples and by three passes each; the first batch warms up and counts for nothing."""
    clock = itertools.chain.from_iterable((10.0 * k, 10.0 * k + took) for k, took in enumerate([0.001, 5.0, 3.0]))
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: next(clock))

    found = estimate.seconds_per_pass(cell(batch=16), digits("test").first(n), "cpu")

    assert found == pytest.approx(3.0 / (3 * rows))


def test_asking_leaves_the_random_generators_as_they_were():
    asked, examples = cell("atop"), digits("test").first(4)
    load_defense(asked.defense, examples.spec)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    estimate.seconds_per_pass(asked, examples, "cpu")

    assert torch.equal(torch.rand(2), expected)
