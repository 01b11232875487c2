"""A stochastic defense that the usual attacks cannot see through, and the accuracy that it really has."""

import torch
from torch import nn

from bench.datasets.digits import digits
from bench.types import Defense


class Decoy(nn.Module):
    """A linear classifier of digits, saturated, whose runner-up is a decoy: one logit below the answer, whatever it is.

    Cross-entropy, margin and probabilities see the answer and the decoy alone, whose difference never changes: their
    gradient is exactly zero, and no score tells one point from another. DLR divides by the distance to the third class,
    and so pushes it away. The mean over all wrong classes has a slope.
    """

    def __init__(self):
        super().__init__()
        train = digits("train")
        x, y = torch.from_numpy(train.x).flatten(1).double(), torch.from_numpy(train.y)
        x = torch.cat([x, torch.ones(len(x), 1)], 1)
        # Ridge regression on the classes, in closed form.
        fitted = torch.linalg.solve(x.T @ x + torch.eye(65), x.T @ nn.functional.one_hot(y, 10).double())
        self.weight = nn.Parameter(fitted[:-1].float(), requires_grad=False)
        self.bias = nn.Parameter(fitted[-1].float(), requires_grad=False)

    def scores(self, x):
        return 1000 * (x.flatten(1) @ self.weight + self.bias)

    def forward(self, x):
        scores = self.scores(x)
        best, at = scores.max(1, keepdim=True)
        decoy = torch.zeros_like(scores, dtype=torch.bool).scatter(1, (at + 1) % 10, True)
        # The same number on every logit: random, and without a say in the answer.
        return torch.where(decoy, best - 1, scores) + torch.randn(len(x), 1)

    @torch.no_grad()
    def withstood(self, x, y, eps):
        """Return whether no point within eps in Linf and in the box is misclassified, bool `[B]`, in closed form.

        The answer is that of the linear classifier, so each other class does best at a corner.
        """
        low, high = (x - eps).clamp(0, 1).flatten(1), (x + eps).clamp(0, 1).flatten(1)
        beaten = torch.zeros(len(x), dtype=torch.bool)
        for other in range(10):
            towards = self.weight[:, other] - self.weight.T[y]
            corner = torch.where(towards > 0, high, low)
            lead = (corner * towards).sum(1) + self.bias[other] - self.bias[y]
            beaten |= (lead > 0) & (y != other)
        return ~beaten


def build():
    return Defense(Decoy(), stochastic=True)
