"""The optimization loop that all trainings share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from bench.defenses.training.data import flip, shift
from bench.defenses.training.recipe import Optimization
from bench.errors import BenchError

# step(x [B, C, H, W], y [B]) -> the loss to minimize, and its parts by name for the log
Step = Callable[[Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]
# on_epoch(updates done, updates in all, mean losses of the epoch)
OnEpoch = Callable[[int, int, Mapping[str, float]], None]

WARM_UP = 0.3  # the share of updates in which the learning rate rises


def one_cycle(progress: float) -> float:
    """The factor on the learning rate: up in a line, down in a cosine (arXiv:1708.07120).

    Args:
        progress: the share of updates done, in [0, 1].
    """
    if progress < WARM_UP:
        return 0.04 + 0.96 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def fit(
    parameters: Iterable[nn.Parameter], step: Step, x: Tensor, y: Tensor, settings: Optimization, on_epoch: OnEpoch
) -> None:
    """Minimize the loss of `step` over shuffled batches with AdamW on a one-cycle schedule."""
    batch = min(settings.batch_size, len(x))
    # The last, smaller batch of an epoch is left out: batch statistics of a few images are noise.
    # Shuffling sees to it that no example is left out for good.
    per_epoch = len(x) // batch
    total = per_epoch * settings.epochs
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    done = 0
    for _ in range(settings.epochs):
        sums: dict[str, Tensor] = {}
        order = torch.randperm(len(x)).to(x.device)
        for part in range(per_epoch):
            rows = order[part * batch : (part + 1) * batch]
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * one_cycle(done / total)
            images = shift(x[rows], settings.shift)
            loss, parts = step(flip(images) if settings.flip else images, y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += 1
            for name, value in parts.items():
                sums[name] = sums.get(name, 0) + value.detach()
        means = {name: float(value) / per_epoch for name, value in sums.items()}
        if not all(math.isfinite(value) for value in means.values()):
            raise BenchError(f"the loss is not finite after {done} updates: lower the learning_rate")
        on_epoch(done, total, means)
