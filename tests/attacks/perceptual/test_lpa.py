"""LPA: the penalty that keeps it in the ball."""

import torch

from bench.attacks.perceptual.lpa import LPA
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense
from tests.attacks.perceptual.angle import Brightness


class Watching(Oracle):
    """It remembers which of the points it was asked about were in the ball."""

    def gradient(self, x, y, loss, rows, *, eot=1, inside=None):
        if inside is not None:
            self.inside = [*getattr(self, "inside", []), inside.float().mean().item()]
        return super().gradient(x, y, loss, rows, eot=eot, inside=inside)


def test_a_penalty_too_light_grows(stream):
    """The first round runs away from the ball, the last one searches its edge."""
    x, y = torch.full((2, 1, 4, 4), 0.3), torch.zeros(2, dtype=torch.int64)
    oracle = Watching(Defense(Brightness(0.9)), 2)

    LPA(steps=20).propose(oracle, x, y, ThreatModel.parse("lpips:0.1"), stream=stream(2))

    rounds = torch.tensor(oracle.inside).view(5, 20).mean(1)
    assert rounds[0] < 0.25
    assert rounds[-1] > 0.4
