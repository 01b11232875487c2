"""The time budget of a training, and the number of epochs that fit into it.

A learning rate that falls to zero at the end needs the number of updates from the beginning. So a training
with a budget first times a few updates of its network on its images, and plans its epochs accordingly. If it
is late all the same, it stops, and the next call continues from its notes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

# Untimed updates, in which kernels are chosen and memory is allocated, and timed ones.
WARM, TIMED = 3, 5
# The share of the time for updates; the rest is for the accuracies after each epoch and for the card at the end.
SHARE = 0.9


@dataclass(frozen=True)
class Budget:
    """The time of one call; it starts when the budget is created.

    Attributes:
        seconds: the length of the call.
        clock: returns the time in seconds.
        began: the time at which the call began.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    began: float = field(default=-1.0)

    def __post_init__(self) -> None:
        if self.began < 0:
            object.__setattr__(self, "began", self.clock())

    @property
    def left(self) -> float:
        """Return the seconds that are left; negative after the end."""
        return self.began + self.seconds - self.clock()

    def epochs(self, update: float, per_epoch: int, most: int) -> int:
        """Return the number of epochs that fit into the time left, at least one and at most `most`.

        Args:
            update: seconds of one update.
            per_epoch: updates in an epoch.
            most: the epochs of the recipe.
        """
        return max(1, min(most, int(SHARE * self.left / (update * per_epoch))))


def seconds_per_update(update: Callable[[int], object], device: torch.device, clock: Callable[[], float]) -> float:
    """Return the mean time of an update in seconds, after a few that do not count.

    Args:
        update: makes the update with this number.
        device: the device of the training.
        clock: as in `Budget`.
    """
    for number in range(WARM):
        update(number)
    _wait(device)
    began = clock()
    for number in range(WARM, WARM + TIMED):
        update(number)
    _wait(device)
    return max((clock() - began) / TIMED, 1e-9)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":  # launches return at once, so the clock would stop before the work is done
        torch.cuda.synchronize(device)
