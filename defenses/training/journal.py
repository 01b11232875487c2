"""Where a training stands, on disk: what makes one that was killed end with the weights of one that was not.

One file, written whole or not at all, beside the weights to come. Its name holds a digest of all that the
result depends on, so a training is only ever resumed by the very same one. It is read without
unpickling anything but tensors and plain data.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.defenses.training.budget import Budget
from bench.errors import BenchError

EVERY = 500  # updates between two notes: seconds to minutes of work, at a cost of milliseconds


@dataclass(frozen=True)
class Journal:
    """The notes of one training.

    Attributes:
        path: the file; it exists while the training is unfinished.
        every: updates between two notes.
        budget: how long this sitting may take; `None` for as long as it needs.
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
        """The journal of the training of `weights` that is defined by `identity`, plain data."""
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
        return cls(folder / f"{weights}.{key}.unfinished", every, budget)

    def read(self) -> dict[str, Any] | None:
        """The last note; `None` where there is none.

        Raises:
            BenchError: the file is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            note: dict[str, Any] = torch.load(self.path, weights_only=True)
        except Exception as error:
            raise BenchError(f"{str(self.path)!r} is damaged: delete it to train from the beginning") from error
        return note

    def write(self, note: Mapping[str, Any]) -> None:
        """Put a note in the place of the last one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                # Not safetensors: that forgets the order of dimensions in memory, and with it the last bit.
                torch.save(dict(note), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def close(self) -> None:
        """The training is finished."""
        self.path.unlink(missing_ok=True)


def generators(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's global generators that a training draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Let the generators go on from `states`."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
