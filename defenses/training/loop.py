"""The optimization loop of all trainings."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from bench.defenses.training.budget import seconds_per_update
from bench.defenses.training.data import flip, shift
from bench.defenses.training.distributed import Workers
from bench.defenses.training.recipe import Optimization
from bench.defenses.training.resume import Journal, generators, restore_generators
from bench.errors import BenchError

# step(x [B, C, H, W], y [B]) -> the loss to minimize, and its parts by name for the log
Step = Callable[[Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]
# on_epoch(updates done, updates in all, mean losses of the epoch, seconds left of this call)
OnEpoch = Callable[[int, int, Mapping[str, float], float], None]

WARM_UP = 0.3  # the share of updates in which the learning rate rises
MOMENTUM = 0.9  # of SGD with Nesterov momentum


class Stateful(Protocol):
    """A further part that a training changes, such as a discriminator with its optimizer."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...  # noqa: ANN401  (torch's modules return a report)


def one_cycle(progress: float) -> float:
    """Return the factor on the learning rate: a linear rise, then a cosine (Smith and Topin, arXiv:1708.07120).

    Args:
        progress: the share of updates done, in [0, 1].
    """
    if progress < WARM_UP:
        return 0.04 + 0.96 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


@dataclass
class _Position:
    """The progress of a training: its state without network and optimizer.

    Attributes:
        done: updates done.
        epochs: epochs in all; 0 before they are planned.
        order: order of the images in this epoch.
        sums: sums of the losses in this epoch, by name.
    """

    done: int = 0
    epochs: int = 0
    order: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    sums: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Learned:
    """The progress of a training at its end.

    Attributes:
        epochs: epochs in all, from the recipe or as planned by the budget.
        done: updates made.
        total: updates in all.
    """

    epochs: int
    done: int
    total: int

    @property
    def finished(self) -> bool:
        return self.done >= self.total


def fit(
    network: nn.Module,
    step: Step,
    x: Tensor,
    y: Tensor,
    settings: Optimization,
    on_epoch: OnEpoch,
    *,
    journal: Journal | None = None,
    beside: Mapping[str, Stateful] | None = None,
) -> Learned:
    """Minimize the loss of `step` over shuffled batches on a one-cycle schedule.

    If several processes train (`bench.defenses.training.distributed`), each takes its share of a batch. If
    the journal has a budget, it determines the number of epochs, and a training that is late stops.

    Args:
        network: trained in place; with `settings.ema` it ends as the average of its weights.
        step: the loss of a batch.
        x: images `[n, C, H, W]`.
        y: labels `[n]`.
        settings: epochs, batch size, learning rate, ...
        on_epoch: called after every epoch.
        journal: notes, written every so many updates, from which a killed training resumes.
        beside: further parts that `step` changes, to be noted as well.

    Raises:
        BenchError: the loss is not finite, the batch does not divide among the processes, or there are
            several processes and a budget.
    """
    workers = Workers.here()
    batch = min(settings.batch_size, len(x))
    workers.require_even(batch)
    budget = journal.budget if journal is not None else None
    if budget is not None and workers.count > 1:
        raise BenchError("--minutes plans for one process: leave it or torchrun out")
    # The last, smaller batch of an epoch is left out: batch statistics of a few images are noise.
    # Because of the shuffling, no example is left out in every epoch.
    per_epoch = len(x) // batch
    optimizer = _optimizer(network, settings)
    moved: dict[str, Stateful] = {"network": network, "optimizer": optimizer, **(beside or {})}
    average: AveragedModel | None = None
    if settings.ema:
        average = AveragedModel(network, multi_avg_fn=_average(settings.ema), use_buffers=True)
        moved["average"] = average
    workers.agree(*network.state_dict().values())

    def update(rows: Tensor, progress: float) -> Mapping[str, Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * one_cycle(progress)
        images = shift(x[rows], settings.shift)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=settings.amp):
            loss, parts = step(flip(images) if settings.flip else images, y[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        workers.average_gradients(network)
        optimizer.step()
        if average is not None:
            average.update_parameters(network)
        return parts

    at = _resume(journal, moved, x.device)
    if not at.epochs:
        at.epochs = settings.epochs
        if budget is not None:
            first = torch.arange(batch, device=x.device)
            # Rehearsed: the timed updates must leave no trace in the weights, the optimizer or the generators.
            with _rehearsed(moved, x.device):
                seconds = seconds_per_update(lambda _: update(first, 0.0), x.device, budget.clock)
            at.epochs = budget.epochs(seconds, per_epoch, settings.epochs)
    total = per_epoch * at.epochs
    pace = _Pace(at.done, total)
    while at.done < total:
        time_left = math.inf if budget is None else budget.left
        if journal is not None and time_left < 0 and at.done:
            _note(journal, at, moved, x.device)
            break
        if at.done % per_epoch == 0:
            at.order, at.sums = torch.randperm(len(x)), {}
            workers.agree(at.order)
        start = at.done % per_epoch * batch
        parts = update(workers.share(at.order[start : start + batch].to(x.device)), at.done / total)
        at.done += 1
        for name, value in parts.items():
            # Summed on the device: reading a loss after every update would make a GPU wait.
            at.sums[name] = at.sums.get(name, 0) + value.detach().float()
        if at.done % per_epoch == 0:
            workers.average_statistics(network)
            on_epoch(at.done, total, _means(at, per_epoch), min(pace.left(at.done), max(0.0, time_left)))
        # The end as well: the accuracies of the card may take longer than the training, and are measured afterwards.
        if journal is not None and workers.leads and (at.done % journal.every == 0 or at.done == total):
            _note(journal, at, moved, x.device)
    if average is not None:
        network.load_state_dict(average.module.state_dict())
    return Learned(at.epochs, at.done, total)


def _optimizer(network: nn.Module, settings: Optimization) -> torch.optim.Optimizer:
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), lr=rate, momentum=MOMENTUM, nesterov=True, weight_decay=decay)
    return torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)


Tensors = tuple[Tensor, ...] | list[Tensor]


def _average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return an update of a moving average that is short at first and soon forgets the initial weights."""

    @torch.no_grad()
    def average(kept: Tensors, current: Tensors, count: Tensor | int) -> None:
        # A tensor, so that the host does not wait for a GPU.
        share = 1 - torch.as_tensor((1 + count) / (10 + count)).clamp_max(decay)
        for old, new in zip(kept, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, share.to(old.dtype))
            else:
                old.copy_(new)

    return average


@contextmanager
def _rehearsed(moved: Mapping[str, Stateful], device: torch.device) -> Iterator[None]:
    """Run a block and restore the network, the other parts and the random generators afterwards."""
    before = {name: copy.deepcopy(part.state_dict()) for name, part in moved.items()}
    drawn = generators(device)
    yield
    for name, part in moved.items():
        part.load_state_dict(before[name])
    restore_generators(drawn, device)


@dataclass
class _Pace:
    """The speed of this call, whose first updates may be those of an earlier one.

    Attributes:
        first: updates that were done before it.
        total: updates in all.
        clock: returns the time in seconds.
    """

    first: int
    total: int
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._began = self.clock()

    def left(self, done: int) -> float:
        """Return the seconds until the training ends at this speed."""
        return (self.clock() - self._began) / (done - self.first) * (self.total - done)


def _means(at: _Position, per_epoch: int) -> Mapping[str, float]:
    means = {name: float(value) / per_epoch for name, value in at.sums.items()}
    if not all(math.isfinite(value) for value in means.values()):
        raise BenchError(f"the loss is not finite after {at.done} updates: lower the learning_rate")
    return means


def _note(journal: Journal, at: _Position, moved: Mapping[str, Stateful], device: torch.device) -> None:
    states = {name: part.state_dict() for name, part in moved.items()}
    position = {"done": at.done, "epochs": at.epochs, "order": at.order, "sums": at.sums}
    journal.write({"position": position, "states": states, "generators": generators(device)})


def _resume(journal: Journal | None, moved: Mapping[str, Stateful], device: torch.device) -> _Position:
    """Restore the state of the last note and return its position; the beginning if there is no note."""
    note = journal.read() if journal is not None else None
    if journal is None or note is None:
        return _Position()
    try:
        return _restored(note, moved, device)
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise journal.damaged() from error  # tensors alone, but not those of this training


def _restored(note: Mapping[str, Any], moved: Mapping[str, Stateful], device: torch.device) -> _Position:
    for name, part in moved.items():
        part.load_state_dict(note["states"][name])
    restore_generators(note["generators"], device)
    position = note["position"]
    sums = {name: value.to(device) for name, value in position["sums"].items()}
    return _Position(position["done"], position["epochs"], position["order"], sums)
