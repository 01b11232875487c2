"""Defenses that are honest for as long as they believe to be examined: asked as an attack asks, they are named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.oracle.randomness import seed_of

# What a defense could know of an examination beforehand: the seed of a draw, were it always the same.
GUESSED = {seed_of("preflight", draw) % 2**63 for draw in range(8)}


class When(nn.Module):
    """Another answer, or the same without its gradient, wherever `evades` says so."""

    def __init__(self, model, evades, otherwise):
        super().__init__()
        self.model, self.evades, self.otherwise, self.calls = model, evades, otherwise, 0

    def forward(self, x):
        self.calls += 1
        return self.otherwise(self.model, x) if self.evades(self, x) else self.model(x)


def turned(model, x):
    return model(x.flip(2, 3))


def half_detached(model, x):
    kept = (torch.arange(8) % 2).float()
    return model(x * kept + x.detach() * (1 - kept))


def in_a_large_batch(_, x):
    return len(x) > 64


def late(model, _):
    return model.calls > 200


def unless_seeded_by_the_checks(_, x):
    return torch.initial_seed() not in GUESSED


# name -> (when, what then, check, verdict)
EVASIONS = {
    "another answer in batches above 64": (in_a_large_batch, turned, "S04", "block"),
    "another answer after 200 queries": (late, turned, "S05", "block"),
    "half a gradient in batches above 64": (in_a_large_batch, half_detached, "S11", "flag"),
    "half a gradient after 200 queries": (late, half_detached, "S11", "flag"),
    "half a gradient unless the seed is that of the checks": (
        unless_seeded_by_the_checks,
        half_detached,
        "S11",
        "flag",
    ),
}


@pytest.mark.parametrize("name", EVASIONS)
def test_a_defense_that_waits_for_the_attack_is_named(name, robust, canary):
    evades, otherwise, check, verdict = EVASIONS[name]

    finding = canary(name, When(robust, evades, otherwise), check, verdict)

    assert (finding.id, finding.verdict) == (check, verdict), finding.message
