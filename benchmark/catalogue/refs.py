"""References to defenses and attacks: what is known of them before anything is loaded, and what enters keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import PurePath
from typing import Any

from bench.threats import ThreatModel

# In `needs`: the attack transfers from another registered defense, which the parameter of this name selects.
SOURCE = "source"
# The prefix of a source that lives in this process and in no file.
MEMORY = "memory:"


def is_file(source: str) -> bool:
    """Return whether a source is a user's file: `./mine.py:build`, and `bench.py`, which is no module of ours."""
    return source.partition(":")[0].endswith(".py")


def known_fields(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the items of `data` that a record has fields for, because a later version may have more."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def _told(source: str) -> str:
    """Return a source as documents name it: of a user's file only the name, for its folder is nobody else's business.

    A file is known by its digest; where it lay would tell who ran it, and differs from machine to machine.
    """
    file, colon, function = source.partition(":")
    return f"{PurePath(file).name}{colon}{function}" if is_file(source) else source


def _without_folder(value: Any) -> Any:  # noqa: ANN401  (plain data)
    """Return a parameter as documents name it: of an absolute path only the name."""
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


@dataclass(frozen=True)
class DefenseRef:
    """A defense as the matrix knows it, before anything is loaded.

    Attributes:
        label: as in tables and paths: `at`, `atop[rt=2]`, `mine`.
        source: what to load: a registered name, or `FILE.py:FUNCTION`.
        config: its parameters.
        checkpoints: files by weight name.
        weights: SHA-256 of each of these files, which a worker compares with what it reads.
        digest: SHA-256 of code, checkpoints and parameters.
        stochastic: whether its verdict is a count of draws.
        trained_on: the threat models it has seen in training.
        behind: the unregistered classifier that this purifier stands before; its digest is part of this one.
        variant: the variant (`bench.oracle.variants`) that this refers to; empty for the defense itself.
        offers: the variants that its record declares enough for.
        answers: for a defense that a user brings, its answers on fixed inputs (`bench.catalogue.behaviour`), which a
            worker compares with those of what it has loaded. Empty for a registered defense.
        notes: what a user should know before believing a number about it.
        brought: for a defense that a user brings, what `digest` is made of: the digest of the bytes, and the marks
            of its answers.
        broken: why nothing is known of it but its bytes: its code ended the process that loaded it, or hangs.
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
    # Not compared: the digest settles whether two references name the same defense.
    offers: tuple[str, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    weights: Mapping[str, str] = field(default_factory=dict, compare=False)
    answers: str = field(default="", compare=False, repr=False)
    brought: tuple[str, ...] = field(default=(), compare=False)
    broken: str = field(default="", compare=False)

    def as_variant(self, variant: str) -> DefenseRef:
        """Return a reference to a variant of this defense: `atop@base`."""
        return replace(
            self,
            label=f"{self.label}@{variant}",
            digest=f"{self.digest}@{variant}",
            variant=variant,
            # BPDA only replaces the gradient, so the draws stay; every other variant removes or fixes them.
            stochastic=self.stochastic and variant == "bpda",
            # The classifier alone has not seen what the purifier was trained on.
            trained_on=() if variant == "base" else self.trained_on,
            offers=(),
        )

    @property
    def in_memory(self) -> bool:
        """Return whether it lives in this process alone (`bench.catalogue.in_memory`)."""
        return self.source.startswith(MEMORY)

    def has_seen(self, threat: ThreatModel) -> bool:
        return any(trained.covers(threat) for trained in self.trained_on)

    def to_json(self) -> dict[str, Any]:
        told = {
            "label": self.label,
            "source": _told(self.source),
            "digest": self.digest,
            "stochastic": self.stochastic,
            "trained_on": [str(threat) for threat in self.trained_on],
            "config": {name: _without_folder(value) for name, value in self.config.items()},
            "variant": self.variant,
            **({"brought": list(self.brought)} if self.brought else {}),
        }
        return told if self.behind is None else {**told, "behind": self.behind.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DefenseRef:
        """Return the reference that any version of `to_json` wrote; unknown fields are ignored, defaults fill gaps."""
        behind = data.get("behind")
        trained_on = tuple(ThreatModel.parse(text) for text in data.get("trained_on", ()))
        told = {**known_fields(cls, data), "trained_on": trained_on, "brought": tuple(data.get("brought", ()))}
        return cls(**{**told, "behind": None if behind is None else cls.from_json(behind)})


@dataclass(frozen=True)
class AttackRef:
    """An attack as the matrix knows it, before anything is loaded.

    Attributes:
        needs: the variant of the defense it attacks through; empty for the defense itself.
        surrogate: the other defense that a transfer attack queries; its digest is part of the attack's.
        stages: for a cascade, the attacks it runs one after the other (`bench.harness.cascade`).
        reserve: for a cascade, the attacks it runs only after an alarm, or on a sample.
        audited: the share of the survivors that the reserve is tried on in any case.
        known_draws: whether it attacks each evaluation draw on its own and knows the random numbers of it
            (`bench.harness.known_draws`); no such column is comparable with others.
        answers: for a user's attack, what it proposes on a fixed classifier (`bench.catalogue.behaviour`).
        brought: as for a defense.
        broken: as for a defense.
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
    known_draws: bool = False
    answers: str = field(default="", compare=False, repr=False)
    brought: tuple[str, ...] = field(default=(), compare=False)
    broken: str = field(default="", compare=False)

    def to_json(self) -> dict[str, Any]:
        told = {
            "label": self.label,
            "source": _told(self.source),
            "digest": self.digest,
            "access": self.access,
            "needs": self.needs,
            "forwards": self.forwards,
            "backwards": self.backwards,
            "config": {name: _without_folder(value) for name, value in self.config.items()},
        }
        if self.brought:
            told["brought"] = list(self.brought)
        if self.surrogate is not None:
            told["surrogate"] = self.surrogate.to_json()
        if self.known_draws:
            told["known_draws"] = True
        for name in ("stages", "reserve"):
            if getattr(self, name):
                told[name] = [stage.to_json() for stage in getattr(self, name)]
        return {**told, "audited": self.audited} if self.audited else told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AttackRef:
        """Return the reference that `to_json` wrote, as for a defense."""
        surrogate = data.get("surrogate")
        members = {name: tuple(map(cls.from_json, data.get(name, ()))) for name in ("stages", "reserve")}
        told = {**known_fields(cls, data), **members, "brought": tuple(data.get("brought", ()))}
        return cls(**{**told, "surrogate": None if surrogate is None else DefenseRef.from_json(surrogate)})
