"""What a search breaks counts once the defense has said so, at once or at the next look."""

import pytest
import torch
from torch import nn

from bench.oracle.confirmation import Successes
from bench.oracle.ledger import Known
from bench.oracle.oracle import Oracle
from bench.types import Defense

EVERY = 4
X = torch.tensor([0.1, 0.2, 0.3])[:, None, None, None]
Y = torch.zeros(3, dtype=torch.int64)
ALL, NONE = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)


def answers(*margins):
    return torch.tensor([[0.0, value] for value in margins])


class Asked:
    """A defense that is wrong above a threshold, and remembers the points it was asked about."""

    def __init__(self, threshold):
        self.threshold, self.points = threshold, []

    def __call__(self, x, rows):
        self.points.append((rows.tolist(), x.flatten().tolist()))
        return torch.stack([torch.zeros(len(x)), x.flatten() - self.threshold], 1)


def test_the_defense_is_asked_at_the_look_about_the_clearest_success_of_each_example():
    known, ask = Known(3), Asked(0.25)
    successes = Successes(known, ask, Y, every=3)

    for step, margins in enumerate([(1.0, -1.0, -1.0), (2.0, 0.5, -1.0), (-1.0, 0.1, -1.0)]):
        assert not ask.points
        assert not known.broken.any()
        successes.weigh(answers(*margins), X + 0.1 * step, Y, torch.arange(3), ALL)

    assert ask.points == [([0, 1], pytest.approx([0.2, 0.3]))]
    assert known.broken.tolist() == [False, True, False]
    assert torch.allclose(successes.proven(torch.zeros(3, 1, 1, 1)).flatten(), torch.tensor([0, 0.3, 0]))


def test_what_was_refuted_may_be_suspected_again():
    known, ask = Known(3), Asked(0.25)
    successes = Successes(known, ask, Y, every=2)

    for shift in (0.0, 0.1, 0.2, 0.3):
        successes.weigh(answers(1.0, 0.0, 0.0), X + shift, Y, torch.arange(3), ALL)

    assert [rows for rows, _ in ask.points] == [[0], [0]]
    assert known.broken.tolist() == [True, False, False]


def test_points_outside_the_threat_model_and_answers_of_other_networks_break_nothing():
    known = Known(3)

    Successes(known, None, Y, every=1).weigh(answers(1, 1, 1), X, Y, torch.arange(3), NONE)
    outside = Successes(known, None, Y, every=2)
    outside.weigh(answers(1, 1, 1), X, Y, torch.arange(3), NONE)
    outside.look()
    Successes(None, None, Y, every=1).weigh(answers(1, 1, 1), X, Y, torch.arange(3), ALL)

    assert not known.broken.any()


def test_an_answer_that_is_no_number_is_a_success_to_look_at():
    known, nan, inf = Known(3), float("nan"), float("inf")
    successes = Successes(known, None, Y, every=2)

    successes.weigh(torch.tensor([[nan, 0], [inf, 0], [1, 0]]), X, Y, torch.arange(3), ALL)
    successes.look()

    assert known.broken.tolist() == [True, True, False]


def test_a_look_now_and_then_takes_the_labels():
    with pytest.raises(ValueError, match="every=2 takes labels"):
        Successes(Known(3), every=2)


class Above(nn.Module):
    """Class 1 above one half."""

    def forward(self, x):
        return torch.stack([0 * x.flatten(), x.flatten() - 0.5], 1)


def test_whoever_asks_which_rows_are_open_has_them_looked_at():
    oracle = Oracle(Defense(Above()), 3, labels=Y, every=10)

    oracle.gradient(X + 0.25, Y, lambda logits, y: logits[:, 1], torch.arange(3))

    assert not oracle.caught_up
    assert oracle.open(torch.arange(3)).tolist() == [0, 1]
    assert oracle.broken.tolist() == [False, False, True]


@pytest.mark.parametrize("every", [1, EVERY])
def test_logits_retire_nothing_unless_the_attack_says_that_it_asks_inside(every):
    """A user's attack may ask far outside; an example given up for that would look robust."""
    oracle, rows = Oracle(Defense(Above()), 3, labels=Y, every=every, access="score"), torch.arange(3)

    oracle.logits(X + 0.25, rows)
    untouched = oracle.open(rows).tolist()
    oracle.logits(X + 0.25, rows, y=Y)

    assert untouched == [0, 1, 2]
    assert oracle.open(rows).tolist() == [0, 1]
