"""The measurement of time, and the counting of passes without the help of the code that makes them.

On a CPU, time is that of this process on all its threads, which other processes disturb little; on a GPU it
is the time between two CUDA events. Variants take turns in one process, so that anything that slows down the
machine slows down all of them.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")


@dataclass(frozen=True)
class Passes:
    """The number of examples that passed through a network.

    Attributes:
        forwards: all forwards, those of the judge and of the checks included.
        backwards: all backwards, those in `weights` included.
        weights: backwards that also computed the gradients of weights, which no attack needs.
    """

    forwards: int = 0
    backwards: int = 0
    weights: int = 0

    def __str__(self) -> str:
        text = f"{self.forwards:,} f + {self.backwards:,} b"
        return f"{text} ({self.weights:,} with weights)" if self.weights else text


class Counter:
    """A counter of the passes of a network, and of every copy made of it from now on."""

    def __init__(self, network: nn.Module) -> None:
        self.passes = Passes()
        size = 0

        # Functions, not methods: a deep copy of the network keeps calling the same ones.
        def forward(_module: nn.Module, _given: object, logits: Tensor) -> None:
            self.passes = replace(self.passes, forwards=self.passes.forwards + len(logits))
            if logits.requires_grad:
                logits.register_hook(backward)  # type: ignore[no-untyped-call]

        def backward(grad: Tensor) -> None:
            nonlocal size
            size = len(grad)
            self.passes = replace(self.passes, backwards=self.passes.backwards + size)

        def weights(_grad: Tensor) -> None:
            self.passes = replace(self.passes, weights=self.passes.weights + size)

        network.register_forward_hook(forward)
        # One parameter is enough: its gradient is computed whenever those of the weights are.
        first = next(network.parameters())
        if first.requires_grad:
            first.register_hook(weights)  # type: ignore[no-untyped-call]

    def reset(self) -> None:
        self.passes = Passes()


@cache
def counter(network: nn.Module) -> Counter:
    """Return the only counter of a network; a second one would count again in all copies, which keep the hooks."""
    return Counter(network)


@dataclass
class Timed(Generic[Result]):
    """The timings and the result of a variant.

    Attributes:
        seconds: one per repetition.
        passes: of the last repetition.
        memory: the peak on a GPU in bytes; 0 on a CPU.
        result: of the last repetition.
    """

    result: Result
    seconds: list[float] = field(default_factory=list)
    passes: Passes = field(default_factory=Passes)
    memory: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"seconds": [round(value, 4) for value in self.seconds], "median": round(self.median, 4)}
        if self.passes.forwards:
            told["passes"] = vars(self.passes)
        return {**told, "peak_memory": self.memory} if self.memory else told


@dataclass(frozen=True)
class Variant(Generic[Result]):
    """A piece of work to time, and the counter of the network it queries."""

    work: Callable[[], Result]
    counter: Counter | None = None


def once(work: Callable[[], Result], device: str, counter: Counter | None = None) -> Timed[Result]:
    """Time one call of `work`."""
    if counter is not None:
        counter.reset()
    if device == "cpu":
        # Time of this process, not of the wall: a row shares the machine with other processes.
        began = time.process_time()
        result = work()
        timed = Timed(result, [time.process_time() - began])
    else:
        # Earlier work must have ended: launches return at once, and its rest would count here.
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        result = work()
        stop.record()
        torch.cuda.synchronize(device)
        timed = Timed(result, [start.elapsed_time(stop) / 1000], memory=torch.cuda.max_memory_allocated(device))
    if counter is not None:
        timed.passes = counter.passes
    return timed


def interleaved(
    variants: Mapping[str, Variant[Result]], device: str, repetitions: int, *, warm: bool = False
) -> dict[str, Timed[Result]]:
    """Time every variant once per round, in turns.

    Args:
        variants: by name.
        device: `"cpu"` or a GPU.
        repetitions: number of rounds.
        warm: begin with a round that does not count, for work of milliseconds.
    """
    found: dict[str, Timed[Result]] = {}
    for turn in range(-int(warm), repetitions):
        for name, variant in variants.items():
            timed = once(variant.work, device, variant.counter)
            if turn < 0:
                continue
            timed.seconds = [*(found[name].seconds if name in found else ()), *timed.seconds]
            found[name] = timed
    return found


def synchronizations(work: Callable[[], object]) -> int:
    """Count how often a piece of work makes the host wait for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return sum("synchroniz" in str(warning.message) for warning in caught)
