"""Losses that attacks maximize: they map logits `[B, classes]` and labels `[B]` to one float32 number per example.

Every loss depends on differences of logits only, and the largest logit is subtracted first, so adding
a constant to the logits changes nothing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.oracle.answers import Loss
from bench.oracle.answers import margin as margin_of

_SLOPE = 1e-3  # small enough to leave the values near those of the cross-entropy


def _centered(logits: Tensor) -> Tensor:
    logits = logits.float()
    # Detached: the shift changes no difference of logits, so it must not reach the gradient either.
    return logits - logits.detach().amax(1, keepdim=True)


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).squeeze(1)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return the best wrong logit minus the true one (Carlini and Wagner, arXiv:1608.04644, f6 without a bound)."""
    return margin_of(_centered(logits), y)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy plus a thousandth of the log-odds of being wrong, which keep it from going flat.

    With p the probability of the true class the cross-entropy is -log p, and the log-odds
    log((1 - p) / p) are a strictly increasing function of it. So for each example the sum has the
    same maximizers, the same order of points and the same direction of the gradient. But where float32
    makes the gradient of -log p exactly zero (a gap of 104 between the logits), the sum keeps a slope.
    """
    logits = _centered(logits)
    odds = logits.scatter(1, y[:, None], -torch.inf).logsumexp(1) - _of(logits, y)
    return F.softplus(odds) + _SLOPE * odds


def probability_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return the best wrong probability minus the true one, plus a thousandth of its log-odds, which never go flat.

    The difference L (Xie et al., arXiv:2411.15210) is in [-1, 1], and where the softmax is
    saturated float32 makes its gradient exactly zero: an attack would stand still, and the defense look robust. The
    log-odds log((1 + L) / (1 - L)) are a strictly increasing function of L, so, as in `cross_entropy`, the sum has
    the same maximizers and for each example the same direction of the gradient, but keeps a slope. With r the sum of
    the other probabilities, they are log((2 p_wrong + r) / (2 p_true + r)), and need no probability.
    """
    logits = _centered(logits)
    true = torch.zeros_like(logits).scatter(1, y[:, None], math.log(2))
    best = logits.detach().scatter(1, y[:, None], -torch.inf).argmax(1, keepdim=True)
    wrong = torch.zeros_like(logits).scatter(1, best, math.log(2))
    above = (logits + wrong).scatter(1, y[:, None], -torch.inf).logsumexp(1)
    below = (logits + true).scatter(1, best, -torch.inf).logsumexp(1)
    odds = above - below
    return (odds / 2).tanh() + _SLOPE * odds


def best_wrong_probability(logits: Tensor, y: Tensor) -> Tensor:
    """Return the largest probability of a wrong class, plus a thousandth of its log-odds (`probability_margin`)."""
    logits = _centered(logits)
    best = logits.detach().scatter(1, y[:, None], -torch.inf).argmax(1)
    odds = _of(logits, best) - logits.scatter(1, best[:, None], -torch.inf).logsumexp(1)
    return odds.sigmoid() + _SLOPE * odds


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Return the difference of logits ratio (Croce and Hein, arXiv:2003.01690, equation 6), at most 1.

    The ratio needs three classes; with two the function returns the `margin`.
    """
    if logits.shape[1] < 3:
        return margin(logits, y)
    logits = _centered(logits)
    top = logits.topk(3, dim=1).values
    return margin_of(logits, y) / (top[:, 0] - top[:, 2]).clamp_min(1e-12)


def mean_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return the mean of the wrong logits minus the true one, in which every class counts alike.

    Whatever the best wrong class is, it cannot hide the others: a decoy that follows the true logit at a fixed distance
    leaves no gradient in the losses above, where it outweighs all other classes. Up to a shift and a factor it is the
    true logit alone, centered: the L1 loss of Yao et al., NeurIPS 2021 (arXiv:2102.11860).
    """
    logits = _centered(logits)
    true = _of(logits, y)
    return (logits.sum(1) - true) / (logits.shape[1] - 1) - true


# Untargeted losses by the names that attacks accept; a targeted one also needs a class per example.
LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "pm": probability_margin,
    "mean": mean_margin,
}


def dlr_targeted(target: Tensor) -> Loss:
    """Return the targeted difference of logits ratio towards the classes `target` `[B]` (equation 7).

    The ratio needs four classes; with fewer the loss is the margin of the target over the true class.
    """

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        logits = _centered(logits)
        gap = _of(logits, target) - _of(logits, y)
        if logits.shape[1] < 4:
            return gap
        top = logits.topk(4, dim=1).values
        return gap / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2).clamp_min(1e-12)

    return loss
