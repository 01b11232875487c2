"""One cell of the matrix, and the key that says when two are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from bench.checks.finding import Finding
from bench.outcome import Outcome
from bench.types import ThreatModel

# What an attack needs that transfers from another registered defense, and the parameter that names it.
SOURCE = "source"


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Of some data what a record has fields for: a later version may say more."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in data.items() if name in names}


@dataclass(frozen=True)
class DefenseRef:
    """A defense as the matrix knows it, before anything is loaded.

    Attributes:
        label: as in tables and paths: `at`, `atop[rt=2]`, `mine`.
        source: what to load: a registered name, or `FILE.py:FUNCTION`.
        config: its parameters.
        checkpoints: files by weight name.
        weights: SHA-256 of each of these files, which a worker holds what it reads against.
        digest: SHA-256 of code, checkpoints and parameters.
        stochastic: whether its verdict is a count of draws.
        trained_on: what it has seen.
        behind: somebody else's classifier that it is a purifier before; its digest is part of this one.
        variant: the variant of it (`bench.variants`) this stands for; empty for itself.
        offers: the variants it declares enough for.
        answers: of what a user brought, what it answers on fixed inputs (`bench.behaviour`); a worker holds what
            it has loaded against that. Empty for what is registered.
        notes: what a user should know before believing a number about it.
        brought: of what a user brought, what its digest is of: that of the bytes, and the marks that stand for answers.
    """

    label: str
    source: str
    digest: str
    stochastic: bool = False
    trained_on: tuple[ThreatModel, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    behind: DefenseRef | None = None
    variant: str = ""
    offers: tuple[str, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    weights: Mapping[str, str] = field(default_factory=dict, compare=False)
    answers: str = field(default="", compare=False, repr=False)
    brought: tuple[str, ...] = field(default=(), compare=False)

    def seen_as(self, variant: str) -> DefenseRef:
        """The reference to a variant of this defense: `atop@base`."""
        return replace(
            self,
            label=f"{self.label}@{variant}",
            digest=f"{self.digest}@{variant}",
            variant=variant,
            stochastic=self.stochastic and variant == "bpda",
            trained_on=() if variant == "base" else self.trained_on,
            offers=(),
        )

    def has_seen(self, threat: ThreatModel) -> bool:
        return any(trained.covers(threat) for trained in self.trained_on)

    def to_json(self) -> dict[str, Any]:
        told = {
            "label": self.label,
            "source": self.source,
            "digest": self.digest,
            "stochastic": self.stochastic,
            "trained_on": [str(threat) for threat in self.trained_on],
            "config": dict(self.config),
            "variant": self.variant,
            **({"brought": list(self.brought)} if self.brought else {}),
        }
        return told if self.behind is None else {**told, "behind": self.behind.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DefenseRef:
        """What `to_json` gave, of any version: fields that are not known are ignored, missing ones as by default."""
        behind = data.get("behind")
        trained_on = tuple(ThreatModel.parse(text) for text in data.get("trained_on", ()))
        told = {**_known(cls, data), "trained_on": trained_on, "brought": tuple(data.get("brought", ()))}
        return cls(**{**told, "behind": None if behind is None else cls.from_json(behind)})


@dataclass(frozen=True)
class AttackRef:
    """An attack as the matrix knows it, before anything is loaded.

    Attributes:
        needs: the variant of the defense it attacks through; empty for the defense itself.
        surrogate: another defense, for an attack that transfers from it; its digest is part of the attack's.
        stages: the attacks it runs one after the other, where it is several (`bench.cascade`).
        reserve: those it holds back until there is a reason.
        audited: the share of the survivors that the reserve is tried on in any case.
        answers: of a user's attack, what it proposes on a fixed classifier (`bench.behaviour`).
        brought: as for a defense.
    """

    label: str
    source: str
    digest: str
    access: str = "gradient"
    config: Mapping[str, Any] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0
    eot: int = 1
    needs: str = ""
    surrogate: DefenseRef | None = None
    stages: tuple[AttackRef, ...] = ()
    reserve: tuple[AttackRef, ...] = ()
    audited: float = 0.0
    answers: str = field(default="", compare=False, repr=False)
    brought: tuple[str, ...] = field(default=(), compare=False)

    def to_json(self) -> dict[str, Any]:
        told = {
            "label": self.label,
            "source": self.source,
            "digest": self.digest,
            "access": self.access,
            "needs": self.needs,
            "forwards": self.forwards,
            "backwards": self.backwards,
            "config": dict(self.config),
        }
        if self.brought:
            told["brought"] = list(self.brought)
        if self.surrogate is not None:
            told["surrogate"] = self.surrogate.to_json()
        for name in ("stages", "reserve"):
            if getattr(self, name):
                told[name] = [stage.to_json() for stage in getattr(self, name)]
        return {**told, "audited": self.audited} if self.audited else told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AttackRef:
        """As that of a defense."""
        surrogate = data.get("surrogate")
        members = {name: tuple(map(cls.from_json, data.get(name, ()))) for name in ("stages", "reserve")}
        told = {**_known(cls, data), **members, "brought": tuple(data.get("brought", ()))}
        return cls(**{**told, "surrogate": None if surrogate is None else DefenseRef.from_json(surrogate)})


@dataclass(frozen=True)
class Slice:
    """Which examples: the first `n` of a split, pinned by the digest of ids, labels and pixels.

    Attributes:
        examples: `id:hash` per example, where they were read along; they pair the examples of two
            slices of different length.
    """

    dataset: str
    split: str
    n: int
    digest: str
    examples: tuple[str, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Cell:
    """Defense x attack x threat x examples x seed x draws.

    Attributes:
        draws: how many evaluation draws judge each example: 1 for a deterministic defense.
        batch: examples per shard; a stochastic defense draws its noise per shard.
        protocol: the version of the harness (`bench.versions`).
        precision: how its queries are run, as text of a `bench.formats.Plan`: `"float32"` where each is answered by
            the defense as it is given.
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
        """The same on another defense, or on a variant of this one, which nobody has planned for."""
        return replace(
            self,
            defense=defense,
            draws=self.draws if defense.stochastic else 1,
            precision=self.precision if defense == self.defense else "float32",
        )

    @property
    def column(self) -> tuple[str, str]:
        """Attack and threat: which column of the table this cell stands in."""
        return self.attack.label, str(self.threat)

    @property
    def title(self) -> str:
        return f"{self.defense.label} x {self.attack.label} ({self.threat})"

    @property
    def shards(self) -> list[tuple[int, int]]:
        """The ranges of examples `[start, stop)` the cell is computed in."""
        return [(start, min(start + self.batch, self.slice.n)) for start in range(0, self.slice.n, self.batch)]

    @property
    def seen(self) -> bool:
        return self.defense.has_seen(self.threat)

    def identity(self) -> dict[str, Any]:
        """Everything that can change a verdict, as plain data."""
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
        """SHA-256 of `identity`, in hexadecimal, or the key that this very cell was stored with."""
        now = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()
        stored, as_of_today = self.stored_as
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
        """What `to_json` gave, of any version; `key`: the one that it had then, which stays its own."""
        found = cls(
            DefenseRef.from_json(data["defense"]),
            AttackRef.from_json(data["attack"]),
            ThreatModel.parse(data["threat"]),
            Slice(**_known(Slice, data["slice"])),
            data["seed"],
            data["draws"],
            data["batch"],
            data.get("protocol", ""),
            data.get("precision", "float32"),
        )
        return replace(found, stored_as=(key, found.key)) if key else found


@dataclass(frozen=True)
class Planned:
    """A cell of the matrix.

    Attributes:
        skip: why it is meaningless, where it is.
        parts: the cells it is the worst case of, where it is one and they are columns, too.
        blocked: whether a check of the defense keeps it from being computed.
    """

    cell: Cell
    skip: str | None = None
    blocked: bool = field(default=False, compare=False)
    parts: tuple[Cell, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Result:
    """A cell with what became of it.

    Attributes:
        outcome: `None` while it is missing.
        findings: what the checks say of its defense, and of this defense under this threat.
        code: which code made it, by part (`harness`, `attack`, `defense`); empty where that is not known.
    """

    cell: Cell
    outcome: Outcome | None
    findings: tuple[Finding, ...] = ()
    code: Mapping[str, str] = field(default_factory=dict)

    @property
    def blocked(self) -> bool:
        """Whether a check forbids that this number enters a leaderboard."""
        return any(finding.verdict == "block" for finding in self.findings)
