"""Cells of the matrix, with the keys that decide whether two cells are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

from bench.catalogue.refs import AttackRef, DefenseRef, known_fields
from bench.results.finding import Finding
from bench.results.outcome import Outcome
from bench.threats import ThreatModel

# The separator of the words of `Cell.precision`, as `bench.harness.formats` prints them.
_BETWEEN = " / "


@dataclass(frozen=True)
class Slice:
    """The first `n` examples of a split, pinned by the digest of ids, labels and pixels.

    Attributes:
        examples: `id:hash` per example, if they are known; they pair the examples of two
            slices of different length.
    """

    dataset: str
    split: str
    n: int
    digest: str
    examples: tuple[str, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Shards(Sequence[tuple[int, int]]):
    """The ranges `[start, stop)` of `batch` of `n` examples each; the last may be shorter.

    Like a `range` it holds none of them: there may be one for each example, and a run asks for their number again and
    again.
    """

    n: int
    batch: int

    def __len__(self) -> int:
        return len(range(0, self.n, self.batch))

    @overload
    def __getitem__(self, at: int) -> tuple[int, int]: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[tuple[int, int]]: ...

    def __getitem__(self, at: int | slice) -> tuple[int, int] | Sequence[tuple[int, int]]:
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(len(self)))]
        start = range(0, self.n, self.batch)[at]
        return start, min(start + self.batch, self.n)


@dataclass(frozen=True)
class Cell:
    """Defense x attack x threat x examples x seed x draws.

    Attributes:
        draws: how many evaluation draws judge each example: 1 for a deterministic defense.
        batch: examples per shard; a stochastic defense draws its noise per shard.
        protocol: the version of the harness (`bench.catalogue.versions`).
        precision: how its queries are run, as text of a `bench.harness.formats.SearchFormats`: `"float32"` where
            each is answered by the defense as it is given.
        stored_as: the key it was read with, beside the one it would have today: rules of keys may change.
    """

    defense: DefenseRef
    attack: AttackRef
    threat: ThreatModel
    slice: Slice
    seed: int
    draws: int
    batch: int
    protocol: str = ""
    precision: str = "float32"
    stored_as: tuple[str, str] = field(default=("", ""), compare=False, repr=False)

    def against(self, defense: DefenseRef) -> Cell:
        """Return the same cell on another defense, or on a variant of this one."""
        return replace(
            self,
            defense=defense,
            draws=self.draws if defense.stochastic else 1,
            # A plan of formats was timed on this defense only.
            precision=self.precision if defense == self.defense else "float32",
        )

    @property
    def column(self) -> tuple[str, str]:
        """Return the attack and threat that name the cell's column in a table."""
        return self.attack.label, str(self.threat)

    @property
    def searched_in(self) -> str:
        """Return the formats its queries are run in, without the number of draws per forward, which does not matter."""
        return _BETWEEN.join(word for word in self.precision.split(_BETWEEN) if not word.endswith(" rows"))

    @property
    def title(self) -> str:
        return f"{self.defense.label} x {self.attack.label} ({self.threat})"

    @property
    def shards(self) -> Shards:
        """Return the ranges of examples `[start, stop)` the cell is computed in."""
        return Shards(self.slice.n, self.batch)

    def passes(self, n: int | None = None) -> int:
        """Return the most passes that `n` of its examples take, by default all; a backward counts as two forwards."""
        draws = self.attack.eot if self.defense.stochastic else 1
        if self.attack.known_draws:  # each draw is attacked on its own, as a deterministic defense
            draws = self.draws
        return (self.slice.n if n is None else n) * draws * (self.attack.forwards + 2 * self.attack.backwards)

    @property
    def seen(self) -> bool:
        return self.defense.has_seen(self.threat)

    def identity(self) -> dict[str, Any]:
        """Return everything that can change a verdict, as plain data."""
        return {
            "protocol": self.protocol,
            "defense": {
                "label": self.defense.label,
                "digest": self.defense.digest,
                "stochastic": self.defense.stochastic,
            },
            # The label seeds the attack's streams.
            "attack": {"label": self.attack.label, "digest": self.attack.digest},
            "threat": str(self.threat),
            "slice": {"digest": self.slice.digest, "n": self.slice.n},
            "seed": self.seed,
            "draws": self.draws,
            "batch": self.batch,
            "precision": self.precision,
        }

    @cached_property
    def key(self) -> str:
        """Return the SHA-256 of `identity`, in hexadecimal, or the key that this very cell was stored with."""
        now = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()
        stored, as_of_today = self.stored_as
        # The stored key holds only as long as nothing was replaced since the cell was read.
        return stored if as_of_today == now else now

    def to_json(self) -> dict[str, Any]:
        return {
            "defense": self.defense.to_json(),
            "attack": self.attack.to_json(),
            "threat": str(self.threat),
            "slice": {
                "dataset": self.slice.dataset,
                "split": self.slice.split,
                "n": self.slice.n,
                "digest": self.slice.digest,
            },
            "seed": self.seed,
            "draws": self.draws,
            "batch": self.batch,
            "protocol": self.protocol,
            "precision": self.precision,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], key: str = "") -> Cell:
        """Return the cell that any version of `to_json` wrote; it keeps `key`, the key that it was stored with."""
        found = cls(
            DefenseRef.from_json(data["defense"]),
            AttackRef.from_json(data["attack"]),
            ThreatModel.parse(data["threat"]),
            Slice(**known_fields(Slice, data["slice"])),
            data["seed"],
            data["draws"],
            data["batch"],
            data.get("protocol", ""),
            data.get("precision", "float32"),
        )
        return replace(found, stored_as=(key, found.key)) if key else found


@dataclass(frozen=True)
class Planned:
    """A cell of the matrix, as planned.

    Attributes:
        skip: why the cell is meaningless; `None` if it is not.
        parts: for a worst case whose parts are columns of the run, too, the cells of these parts.
        blocked: whether a check of the defense keeps it from being computed.
        broken: why it fails without being computed: its defense or attack does not even load.
    """

    cell: Cell
    skip: str | None = None
    blocked: bool = field(default=False, compare=False)
    parts: tuple[Cell, ...] = field(default=(), compare=False)
    broken: str = field(default="", compare=False)

    @property
    def wanted(self) -> bool:
        """Return whether it is to be computed, now or by an earlier run."""
        return self.skip is None and not self.blocked and not self.broken


@dataclass(frozen=True, repr=False)
class Result:
    """A cell with its outcome.

    Attributes:
        outcome: `None` while it is missing.
        findings: of the checks on its defense, and on this defense under this threat.
        code: what made it, by part: digests of `harness`, `attack` and `defense`, the version of `torch`, as far as
            they are known; all states of a part where shards of the cell had several (`bench.results.provenance`).
        seconds: that it took to compute, those of its parts if it was derived from them; `None` if not known. They
            depend on the machine and its load, and are no part of a verdict.
    """

    cell: Cell
    outcome: Outcome | None
    findings: tuple[Finding, ...] = ()
    code: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        state = "missing" if self.outcome is None else type(self.outcome).__name__.lower()
        return f"<{self.cell.title}: {state}>"

    @property
    def blocked(self) -> bool:
        """Return whether a check keeps this number from a leaderboard."""
        return any(finding.verdict == "block" for finding in self.findings)
