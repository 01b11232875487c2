"""Fresh instances of a model, in the world as it was before the first query."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from bench.checks.before.pristine import Pristine, holds_generator

CALLS = 0
LAST = None
NOTES: dict[str, list[int]] = {"deep": []}
QUEUE: deque[int] = deque(maxlen=3)
ARRAY = np.zeros(3)
TENSOR = torch.zeros(3)


def take_note():
    """Writes to globals of a module, at second hand."""
    global LAST
    LAST = len(NOTES["deep"])
    NOTES["deep"].append(LAST)
    QUEUE.append(LAST)
    ARRAY[0] += 1
    TENSOR[0] += 1


def closure():
    count = 0
    seen = []

    def note(x, default=[]):  # noqa: B006  (what is undone here)
        nonlocal count
        count += 1
        seen.append(count)
        default.append(count)
        return x

    return note, lambda: (count, len(seen), len(note.__defaults__[0]))


class Remembering(nn.Module):
    """Writes wherever Python lets it."""

    total = 0
    log: list[int] = []  # noqa: RUF012  (what is undone here)

    def __init__(self, note):
        super().__init__()
        self.note, self.own = note, 0

    def forward(self, x):
        global CALLS
        CALLS += 1
        self.own += 1
        type(self).total += 1
        self.log.append(self.total)
        take_note()
        return self.note(x)


def memories():
    return (
        CALLS,
        LAST,
        len(NOTES["deep"]),
        len(QUEUE),
        float(ARRAY[0]),
        float(TENSOR[0]),
        Remembering.total,
        len(Remembering.log),
    )


def test_a_fresh_instance_lives_in_the_world_before_the_first_query():
    """Attributes, class attributes, globals (also of helpers), closures and defaults are as they were."""
    note, of_closure = closure()
    model = Remembering(note)
    origin = Pristine(model, "cpu")
    before = memories(), of_closure()

    for _ in range(2):
        instance = origin.fresh()
        instance(torch.zeros(1))
        instance(torch.zeros(1))
        assert instance.own == 2
        assert memories()[0] == before[0][0] + 2
        assert memories() != before[0]
    origin.restore_world()

    assert (memories(), of_closure()) == before
    assert model.own == 0


def test_a_fresh_instance_is_in_eval_mode_and_the_model_is_not_touched():
    model = nn.Sequential(nn.Dropout()).train()

    instance = Pristine(model, "cpu").fresh()

    assert not instance[0].training
    assert model[0].training


@pytest.mark.parametrize(
    "generator", [torch.Generator(), np.random.default_rng(0), np.random.RandomState(0)], ids=["torch", "new", "legacy"]
)
def test_a_generator_of_its_own_is_found(generator):
    """In an attribute or in a closure."""
    inside, around = nn.Identity(), nn.Identity()
    inside.generator = generator
    around.draw = lambda: generator

    assert holds_generator(nn.Sequential(inside))
    assert holds_generator(nn.Sequential(around))
    assert not holds_generator(nn.Sequential(nn.Identity()))
