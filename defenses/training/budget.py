"""How long a training may take, and how many epochs fit into that.

A learning rate that falls to zero at the end has to know the end before it begins. So a training with a
budget times a few updates first, on the images and with the network it is about, and plans its epochs by
them. Where it is late all the same, it stops, and goes on from its notes when it is started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

# Updates that are timed, after others in which kernels are chosen and memory is claimed.
WARM, TIMED = 3, 5
# The share of the time that updates are planned for; the rest is for looks after each epoch and for judging the end.
SHARE = 0.9


@dataclass(frozen=True)
class Budget:
    """The time of one sitting; it begins to run when the budget is made.

    Attributes:
        seconds: how many there are.
        clock: what says how late it is, in seconds.
        began: when the sitting began.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    began: float = field(default=-1.0)

    def __post_init__(self) -> None:
        if self.began < 0:
            object.__setattr__(self, "began", self.clock())

    @property
    def left(self) -> float:
        """Seconds that are left; negative where it is late."""
        return self.began + self.seconds - self.clock()

    def epochs(self, update: float, per_epoch: int, most: int) -> int:
        """How many epochs fit into what is left, at least one and at most `most`.

        Args:
            update: seconds of one update.
            per_epoch: updates in an epoch.
            most: the epochs of the recipe.
        """
        return max(1, min(most, int(SHARE * self.left / (update * per_epoch))))


def seconds_per_update(update: Callable[[int], object], device: torch.device, clock: Callable[[], float]) -> float:
    """The mean time of an update, after a few that do not count.

    Args:
        update: makes the update of this number.
        device: where it is made.
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
    if device.type == "cuda":
        torch.cuda.synchronize(device)
