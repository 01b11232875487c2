"""How time is taken, and how passes are counted without asking who makes them.

On a CPU it is the time of this process on all its threads, which other processes disturb little; on a
GPU the time between two CUDA events. Variants take turns in one process, so that whatever slows the
machine down slows them all.
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
    """Examples that went through a network.

    Attributes:
        forwards: the judge's and the checks' included.
        backwards: of them all, also those with `weights`.
        weights: backwards that computed the gradients of weights, which no attack needs.
    """

    forwards: int = 0
    backwards: int = 0
    weights: int = 0

    def __str__(self) -> str:
        text = f"{self.forwards:,} f + {self.backwards:,} b"
        return f"{text} ({self.weights:,} with weights)" if self.weights else text


class Counter:
    """Counts the passes of a network, and of every copy made of it from now on."""

    def __init__(self, network: nn.Module) -> None:
        self.passes = Passes()
        size = 0

        # Functions, not methods: a copy of the network calls the same ones.
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
        first = next(network.parameters())
        if first.requires_grad:
            first.register_hook(weights)  # type: ignore[no-untyped-call]

    def reset(self) -> None:
        self.passes = Passes()


@cache
def counter(network: nn.Module) -> Counter:
    """The one counter of a network: its hooks go along into copies that others keep."""
    return Counter(network)


@dataclass
class Timed(Generic[Result]):
    """A variant and what became of it.

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
    """Something to time, and the counter of the network it asks."""

    work: Callable[[], Result]
    counter: Counter | None = None


def once(work: Callable[[], Result], device: str, counter: Counter | None = None) -> Timed[Result]:
    """Time one call."""
    if counter is not None:
        counter.reset()
    if device == "cpu":
        began = time.process_time()
        result = work()
        timed = Timed(result, [time.process_time() - began])
    else:
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
    """Time every variant so many times, in turns.

    Args:
        variants: by name.
        device: `"cpu"` or a GPU.
        repetitions: rounds.
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
    """How often a piece of work makes the host wait for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return sum("synchroniz" in str(warning.message) for warning in caught)
