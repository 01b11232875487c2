"""Registries of defenses and attacks: records whose targets are strings, so that listing imports nothing."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from bench.errors import BenchError, Terminated, one_line, unknown
from bench.threats import MEASURED
from bench.types import ImageSpec


@dataclass(frozen=True)
class Limits:
    """The images an attack is defined for, beyond what its threat model requires.

    Attributes:
        classes: the fewest classes.
        square: whether images must be as high as wide.
        smallest: the least length of the shorter side, in pixels.
    """

    classes: int = 2
    square: bool = False
    smallest: int = 1

    def refuses(self, spec: ImageSpec) -> str | None:
        """Return why such images do not fit; `None` if they do."""
        _, height, width = spec.shape
        if spec.classes < self.classes:
            return f"needs {self.classes} classes or more, these images have {spec.classes}"
        if self.square and height != width:
            return f"needs images as high as wide, these are {width}x{height}"
        if min(height, width) < self.smallest:
            return f"needs images of {self.smallest} pixels a side, these have {min(height, width)}"
        return None


@dataclass(frozen=True)
class AttackEntry:
    """A registered attack.

    Attributes:
        name: public id in kebab-case.
        target: `"module:attribute"`, called with `config` to build the attack.
        cite: arXiv id, or another short reference.
        summary: one line.
        access: what it queries of a defense: `"gradient"`, `"score"` or `"decision"`.
        families: the threat families it is defined for.
        forwards: upper bound of forwards per example and draw at the default parameters; where the
            defense is stochastic, the draws that confirm a success (`bench.oracle.oracle`) come on top.
        backwards: the same for backwards.
        config: parameters that differ from the target's defaults.
        eot: draws per query where the defense is stochastic.
        not_for: kinds of defense (`"deterministic"`, `"stochastic"`) it is not defined for, and why.
        limits: the images it is defined for, by threat family (`"L2"`), by kind of defense and family
            (`"deterministic L2"`), or for all (`""`); the most specific entry applies.
        needs: the variant of the defense (`bench.oracle.variants`) it attacks through; empty for none.
        needs_if_stochastic: variants of which a stochastic defense must declare one.
        requires: distributions whose version can change its verdicts.
        parts: for an attack that is the worst case of others, their names by kind of defense; it has
            no target, and its cell is derived from theirs.
        reserve: for a cascade, the parts it runs only after an alarm, or on a sample, by kind of defense.
        audited: the share of the survivors that the reserve is tried on in any case.
        known_draws: whether it attacks each evaluation draw on its own and knows the random numbers of it, as a column
            that enters no worst case; only for an attack with `parts`.
        in_turn: whether its parts run one after the other as one cell, each on what the earlier ones left, and all of
            them have to be defined there (`bench.catalogue.attack_file`).
        only_named: left out of `all`.
        powerless: datasets on which the undefended model survives it at the usual bound, and how often.
        version: raised when its verdicts change, whatever the reason (`bench.catalogue.versions`).
    """

    name: str
    target: str
    cite: str
    summary: str
    families: tuple[str, ...]
    forwards: int = 0
    backwards: int = 0
    access: str = "gradient"
    config: Mapping[str, Any] = field(default_factory=dict)
    eot: int = 1
    not_for: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    needs: str = ""
    needs_if_stochastic: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reserve: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    audited: float = 0.0
    known_draws: bool = False
    in_turn: bool = False
    only_named: bool = False
    powerless: Mapping[str, str] = field(default_factory=dict)
    version: int = 1

    @property
    def group(self) -> str:
        """Return `lp` if it is bounded in an Lp norm or L0, else `non-lp`."""
        return "lp" if set(self.families) & set(MEASURED) else "non-lp"

    def refuses(self, kind: str, family: str, spec: ImageSpec) -> str | None:
        """Return why it is not defined for such images, threat family and kind of defense; `None` if it is."""
        limits = next((self.limits[key] for key in (f"{kind} {family}", family, "") if key in self.limits), Limits())
        missing = limits.refuses(spec)
        return None if missing is None else f"{self.name} {missing}"


@dataclass(frozen=True)
class DefenseEntry:
    """A registered defense.

    Attributes:
        name: public id in kebab-case.
        target: `"module:attribute"`, called with the checkpoints, the image spec and `config`.
        cite: arXiv id, or another short reference.
        summary: one line.
        weights: names of the checkpoints it is made of; `{key}` is filled from `config`. Their cards
            say what the defense was trained on.
        spelled: for values of a parameter, the text that replaces them in `weights`.
        config: parameters and their defaults.
        choices: the values a parameter may take.
        holds: the parameter that names the model it stands before, if any: it takes its choices and also
            a model from a file or another library, such as `robustbench:NAME`.
        stochastic_when: parameter values that make it stochastic: `{"rt": ("1", "2", "3")}`.
        offers: the variants (`bench.oracle.variants`) it declares enough for whatever its parameters;
            `frozen` and `derandomized` only while it is stochastic.
        requires: distributions whose version can change its verdicts.
        version: raised when its answers change with the same weights (`bench.catalogue.versions`).
        added: parameters that came later, of which the default is what there was before. Where they have
            it they are no part of keys and documents, so that older verdicts are still found.
    """

    name: str
    target: str
    cite: str
    summary: str
    weights: tuple[str, ...] = ()
    spelled: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    holds: str = ""
    stochastic_when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offers: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    version: int = 1
    added: tuple[str, ...] = ()

    def keyed(self, config: Mapping[str, str]) -> dict[str, str]:
        """Return the parameters that keys name: all but those added later that have their default."""
        return {key: value for key, value in config.items() if key not in self.added or value != self.config[key]}

    def weight_names(self, config: Mapping[str, str], *, foreign: bool = False) -> list[str]:
        """Return the checkpoints it is made of under these parameters; `foreign` omits the model it stands before."""
        spelled = {key: self.spelled.get(key, {}).get(value, value) for key, value in config.items()}
        own = [name for name in self.weights if not (foreign and f"{{{self.holds}}}" in name)]
        # Twice, because the text that replaces a value may name other parameters.
        return [name.format_map(spelled).format_map(spelled) for name in own]

    def is_stochastic(self, config: Mapping[str, str]) -> bool:
        return any(config[key] in values for key, values in self.stochastic_when.items())


Entry = TypeVar("Entry", AttackEntry, DefenseEntry)


class Registry(Generic[Entry]):
    """Registered entries by name; third parties add theirs through an entry-point group.

    An entry point names a record (`AttackEntry` or `DefenseEntry`), so that listing needs no torch.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._entries: dict[str, Entry] = {}
        self._broken: dict[str, str] = {}
        self._discovered = False

    def add(self, entry: Entry) -> None:
        """Register an entry; a name can be taken only once."""
        taken = self._entries.get(entry.name)
        if taken is not None:
            raise BenchError(f"{self.kind} {entry.name!r} is registered twice: as {taken.target} and as {entry.target}")
        self._entries[entry.name] = entry

    def get(self, name: str) -> Entry:
        self._discover()
        try:
            return self._entries[name]
        except KeyError:
            if name in self._broken:
                raise BenchError(self._broken[name]) from None
            raise unknown(self.kind, name, self._entries) from None

    def __iter__(self) -> Iterator[Entry]:
        self._discover()
        return iter(self._entries.values())

    @property
    def broken(self) -> list[str]:
        """Return a line for each plug-in that is left out because it does not load."""
        self._discover()
        return list(self._broken.values())

    def names(self) -> list[str]:
        return [entry.name for entry in self]

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        # Once, and only when somebody asks: reading the metadata of every installed package takes a while.
        for point in importlib.metadata.entry_points(group=self.group):
            try:
                self._add_plug_in(point.load())
            except Terminated:
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001  (its code is not ours and must not end our commands)
                why = f"plug-in {point.name!r} ({point.value}) does not load: {one_line(error)}; mend or uninstall it"
                self._broken[point.name] = why

    def _add_plug_in(self, entry: object) -> None:
        record = AttackEntry if self.kind == "attack" else DefenseEntry
        if not isinstance(entry, record):
            raise TypeError(f"it is of type {type(entry).__name__}, not {record.__name__}")
        self.add(cast(Entry, entry))


def load(target: str) -> Any:  # noqa: ANN401  (whatever the string names)
    """Import and return the object a `"module:attribute"` string names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
