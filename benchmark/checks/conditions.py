"""Asking again under the conditions of an attack: in its large batches, after hundreds of queries.

A defense may be honest for as long as it is examined. The preflight asks a few dozen times, in batches of 64, with
seeds of its own; an attack asks thousands of times, in batches of 128. So at the end answers and gradients are
taken once more as an attack would take them. What keeps another face for later still is found when the stored
images are judged again (A13).
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from bench.answers import margin
from bench.checks.gradients import gradient, sloping
from bench.checks.subject import Subject

# More rows than a shard has as a rule.
LARGE = 130
# Queries of one image before the last look, or as many as fit into the seconds.
QUERIES = 256
SECONDS = 1.0
# Two gradients of one image point the same way, on all but a few images, and are about as long.
_PARALLEL, _LONGER = 0.9, 2.0
_OTHERWISE = 0.05
# One says less than the other by this share of what so many small steps do, in pixel values.
_LESS, _STEPS = 0.1, 4
_STEP, _COARSE_STEP = 1e-3, 2.56e-2


def in_a_large_batch(subject: Subject) -> Tensor:
    """Logits of the images, taken from a batch of `LARGE`."""
    return subject.ask(_repeated(subject.x))[: len(subject)]


def tire(subject: Subject) -> None:
    """Ask one image again and again, as an attack by queries does."""
    until = time.perf_counter() + SECONDS
    for _ in range(QUERIES):
        subject.ask(subject.x[:1])
        if time.perf_counter() > until:
            return


def other_gradient(subject: Subject, grad: Tensor) -> str:
    """Under which conditions the gradient of the margin at the images is another than `grad`; empty where it is not.

    A stochastic defense has other random numbers in every batch and is not asked.
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
    """Whether another gradient of the same images points elsewhere, and says less of what small steps do.

    Where activations tie, rounding decides which of them a pooling follows, and one choice is as good as another.
    """
    return _differs(grad, other) and _unexplained(subject, other) > _unexplained(subject, grad) + _LESS


def _unexplained(subject: Subject, grad: Tensor) -> float:
    """The share of what small steps change that a gradient does not say."""
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
