"""Queries under the conditions of an attack: in its large batches, after hundreds of queries.

A defense may be honest only while it is examined. The preflight makes a few dozen queries, in batches of 64, with
its own seeds; an attack makes thousands, in batches of 128. So at the end the preflight takes answers and gradients
once more as an attack would. A defense that changes even later is found when the stored images are judged again
(A13).
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from bench.checks.before.gradients import gradient, sloping
from bench.checks.before.subject import Subject
from bench.oracle.answers import margin

# More rows than a shard of the default batch, 128.
LARGE = 130
# Queries of one image before the last comparison, or as many as fit into the seconds.
QUERIES = 256
SECONDS = 1.0
# Two gradients of one image agree if their cosine is above _PARALLEL and their lengths differ by less than a factor of
# _LONGER; the share _OTHERWISE of the images may disagree.
_PARALLEL, _LONGER = 0.9, 2.0
_OTHERWISE = 0.05
# A gradient is worse if the share of small steps that it leaves unexplained is larger by _LESS, over _STEPS steps. The
# sizes of the steps are in pixel values.
_LESS, _STEPS = 0.1, 4
_STEP, _COARSE_STEP = 1e-3, 2.56e-2


def in_a_large_batch(subject: Subject) -> Tensor:
    """Return logits of the images, taken from a batch of `LARGE`."""
    return subject.ask(_repeated(subject.x))[: len(subject)]


def tire(subject: Subject) -> None:
    """Query one image again and again, as a score-based attack does."""
    until = time.perf_counter() + SECONDS
    for _ in range(QUERIES):
        subject.ask(subject.x[:1])
        if time.perf_counter() > until:
            return


def other_gradient(subject: Subject, grad: Tensor) -> str:
    """Return the conditions under which the gradient of the margin at the images differs from `grad`; empty if none.

    A stochastic defense is not tested, because every batch has other random numbers.
    """
    if subject.random or not subject.repeatable:
        return ""
    if _worse(subject, grad, _gradient(subject, _repeated(subject.x))[: len(subject)]):
        return f"in a batch of {LARGE} images the gradient is another than in one of {len(subject)}"
    tire(subject)
    if _worse(subject, grad, _gradient(subject, subject.x)):
        return f"after {QUERIES} more queries the gradient is another"
    return ""


def _repeated(x: Tensor) -> Tensor:
    return x.repeat(-(-LARGE // len(x)), 1, 1, 1)[:LARGE]


def _gradient(subject: Subject, x: Tensor) -> Tensor:
    y = subject.y.repeat(-(-len(x) // len(subject)))[: len(x)]
    return gradient(subject, x, lambda logits: margin(logits, y))[0]


def _worse(subject: Subject, grad: Tensor, other: Tensor) -> bool:
    """Return whether another gradient of the same images differs, and predicts small steps worse.

    A difference alone is no fault: where activations tie, rounding decides which of them a pooling follows, and one
    choice is as good as another.
    """
    return _differs(grad, other) and _unexplained(subject, other) > _unexplained(subject, grad) + _LESS


def _unexplained(subject: Subject, grad: Tensor) -> float:
    """Return the share of the change by small steps that a gradient does not predict."""
    h = _COARSE_STEP if subject.low_precision else _STEP
    off, size = [], []
    for step in range(_STEPS):
        signs = subject.noise(f"worse {step}").sign()
        up, down = (subject.x + h * signs).clamp(0, 1), (subject.x - h * signs).clamp(0, 1)
        real = margin(subject.ask(up), subject.y) - margin(subject.ask(down), subject.y)
        predicted = ((up - down) * grad.nan_to_num()).flatten(1).sum(1)
        off.append((real - predicted).abs())
        size.append(torch.maximum(real.abs(), predicted.abs()))
    return float((torch.stack(off).mean(0) / torch.stack(size).mean(0).clamp_min(1e-30)).mean())


def _differs(one: Tensor, two: Tensor) -> bool:
    if bool((sloping(one) != sloping(two)).any()):
        return True
    flat, other = one[sloping(one)].flatten(1), two[sloping(one)].flatten(1)
    if not len(flat):
        return False
    parallel = torch.cosine_similarity(flat, other, dim=1) > _PARALLEL
    ratio = flat.norm(dim=1) / other.norm(dim=1)
    alike = parallel & (ratio < _LONGER) & (ratio > 1 / _LONGER)
    return float((~alike).float().mean()) > _OTHERWISE
