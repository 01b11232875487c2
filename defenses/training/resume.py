"""The state of an unfinished training on disk, so that a killed training ends with the same weights as any other.

It is one file in the folder of the weights, written completely or not at all. Its name holds a digest of
everything on which the result depends, so only the same training resumes from it. Reading it unpickles only
tensors and plain data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.defenses.training.budget import Budget
from bench.errors import BenchError
from bench.machine.reading import tensors
from bench.machine.system import whole

EVERY = 500  # updates between two notes: seconds to minutes of work; a note takes milliseconds


@dataclass(frozen=True)
class Journal:
    """The notes of one training.

    Attributes:
        path: the file; it exists while the training is unfinished.
        every: updates between two notes.
        budget: the time of this call; `None` if it is unlimited.
    """

    path: Path
    every: int = EVERY
    budget: Budget | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise BenchError(f"checkpoints every {self.every} updates: it must be at least 1")

    @classmethod
    def of(
        cls,
        folder: Path,
        weights: str,
        identity: Mapping[str, Any],
        every: int = EVERY,
        budget: Budget | None = None,
    ) -> Journal:
        """Return the journal of the training of `weights` with this `identity`, plain data."""
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
        return cls(folder / f"{weights}.{key}.unfinished", every, budget)

    def read(self) -> dict[str, Any] | None:
        """Read the last note; `None` if there is none.

        Raises:
            BenchError: the file is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            note: dict[str, Any] = tensors(self.path, "state of a training")
        except BenchError:
            raise
        except Exception as error:
            raise self.damaged() from error
        return note

    def damaged(self) -> BenchError:
        """Return the error for a note that cannot be resumed from."""
        return BenchError(f"{str(self.path)!r} is damaged: delete it to train from the beginning")

    def write(self, note: Mapping[str, Any]) -> None:
        """Replace the last note by another one."""
        with whole(self.path) as file:
            # Not safetensors: it loses the memory format, with which sums change in their last bit.
            torch.save(dict(note), file)

    def close(self) -> None:
        """Delete the notes of a finished training."""
        self.path.unlink(missing_ok=True)


def generators(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of torch's global generators, from which a training draws."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set the generators to `states`."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
