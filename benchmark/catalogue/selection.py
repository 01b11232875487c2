"""Selections: the defenses, attacks, groups and threat models a user named, parsed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.catalogue import ATTACKS, DEFAULT_ATTACKS, DEFAULT_DEFENSES, DEFENSES, borrowed, files, resolve
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.registry import AttackEntry
from bench.catalogue.request import InMemory, Request, expanded, parse_list
from bench.datasets.examples import Examples
from bench.datasets.threats import HEADLINE, threat
from bench.errors import BenchError
from bench.threats import FAMILIES, ThreatModel, family
from bench.types import ImageSpec

# Whether an attack is in these groups depends on the defense: on what it was trained on.
SEEN, UNSEEN = "seen", "unseen"
# For a run that looks at corruptions alone.
NO_ATTACKS = "none"
_EVERYTHING = "all"


# Names as they are typed, or a list of names and of objects in memory.
Named = str | Sequence[str | InMemory]


@dataclass(frozen=True)
class Selection:
    """The defenses, attacks and threat models of a run; names of groups are not expanded yet.

    Attributes:
        defenses: names, files, objects in memory, and the groups `default` and `all`.
        attacks: as for defenses, with the groups of `attack_groups`.
        threats: each once.
        unloaded: whether users' files are only named, and none of their code is executed.
    """

    defenses: tuple[Request | InMemory, ...]
    attacks: tuple[Request | InMemory, ...]
    threats: tuple[ThreatModel, ...]
    unloaded: bool = False

    @classmethod
    def of(cls, defenses: Named, attacks: Named, threats: Sequence[ThreatModel]) -> Selection:
        """Return the selection of two lists of names or objects, under given threat models.

        Raises:
            BenchError: an item is not a name, is named twice, or is not registered.
        """
        found = cls(items(defenses, "defense"), items(attacks, "attack"), tuple(threats))
        found._require_registered()
        if len(set(found.threats)) != len(found.threats):
            raise BenchError("a threat is named twice in --threat: name it once")
        return found

    @classmethod
    def parse(
        cls, defenses: Named, attacks: Named, threat_: str = "", eps: str = "", dataset: str = "digits"
    ) -> Selection:
        """Parse the options of a run into a selection, under the usual threat models if none is named.

        Args:
            defenses: `at,atop[rt=2],./mine.py:build`, `default` or `all`.
            attacks: as for defenses, or a group.
            threat_: `Linf:8/255,L2:0.5`; a family alone stands for its usual size on the dataset: `Linf,recolor`.
            eps: `2/255,4/255,8/255`: one family at each of these sizes.
            dataset: whose usual threat models are meant.

        Raises:
            BenchError: the first name, family or eps that is invalid; nothing was loaded.
        """
        # Once without threats: the usual threat models depend on the attacks, so the names are checked first.
        named = cls.of(defenses, attacks, ())
        found = threats(threat_, eps, named.attacks, HEADLINE, lambda family: threat(family, dataset))
        return cls.of(defenses, attacks, found)

    @property
    def only(self) -> str:
        """Return `seen` or `unseen` if the run asks for such threats alone, else an empty text."""
        asked = {request.label for request in self.attacks} & {SEEN, UNSEEN, _EVERYTHING}
        return asked.pop() if asked in ({SEEN}, {UNSEEN}) else ""

    def defense_refs(self, examples: Examples, weights: Path | None = None) -> list[DefenseRef]:
        """Return references to the defenses, with their checkpoints found and digested.

        `all` stands for the defenses with weights, because nobody has trained every defense on every dataset, whose
        libraries are installed: a diffusion model needs an extra.

        Args:
            examples: the images they will classify.
            weights: folder of the user's own, searched first.
        """
        there = [name for name in DEFENSES.names() if resolve.is_trained(name, examples.dataset, weights)]
        named = expanded(self.defenses, "defense", {"default": DEFAULT_DEFENSES, _EVERYTHING: there})
        built = None if self.unloaded else files.built(_files(named), "defense_ref", examples.spec)
        return _distinct([_defense(item, examples, weights, built) for item in named])

    def attack_refs(
        self, dataset: str, spec: ImageSpec, weights: Path | None = None
    ) -> list[tuple[AttackEntry, AttackRef]]:
        """Return the attacks that are defined for one of the threat models, in the order of the registry.

        Args:
            dataset: whose checkpoints a transfer attack takes for the defense it transfers from.
            spec: its images.
            weights: as for `defense_refs`.

        Raises:
            BenchError: an attack is defined for none of the threat models, or a group has no member that is.
        """
        families = {threat.family for threat in self.threats}
        named = [request for request in self.attacks if request.label != NO_ATTACKS]
        if not named:
            return []
        items_ = expanded(named, "attack", attack_groups(families))
        built = None if self.unloaded else files.built(_files(items_), "attack_ref", spec)
        found = [_attack(item, dataset, spec, weights, built) for item in items_]
        for entry, ref in found:
            if not families & set(entry.families):
                raise BenchError(
                    f"attack {ref.label!r} needs a {' or '.join(entry.families)} threat: add one to --threat, such as "
                    f"{entry.families[0]}:{FAMILIES[entry.families[0]].eps[1]}, or leave --threat out"
                )
        _require_distinct([ref.label for _, ref in found if ref.label not in ATTACKS.names()], "attack")
        if not found:
            raise BenchError(
                f"--attacks {','.join(request.label for request in named)!r} has no member for "
                f"{', '.join(map(str, self.threats))}: name another group or --threat"
            )
        return found

    def _require_registered(self) -> None:
        """Raise a BenchError for the first unregistered name, before data or code is loaded."""
        for item in expanded(self.defenses, "defense", {"default": DEFAULT_DEFENSES, _EVERYTHING: DEFENSES.names()}):
            _require_known(item)
        for item in expanded(self.attacks, "attack", attack_groups(FAMILIES)):
            if isinstance(item, Request) and not item.is_file:
                resolve.entry(item)


def attack_groups(families: Collection[str]) -> dict[str, list[str]]:
    """Return the members of every group of attacks that are defined for one of these threat families.

    `seen` and `unseen` hold all of them: which cells they leave out depends on the defense.
    """
    there = [entry for entry in ATTACKS if set(families) & set(entry.families)]
    everything = [entry for entry in there if not entry.only_named]
    members = {
        NO_ATTACKS: [],
        "default": [entry for entry in there if entry.name in DEFAULT_ATTACKS],
        _EVERYTHING: everything,
        SEEN: everything,
        UNSEEN: everything,
        "lp": [entry for entry in everything if entry.group == "lp"],
        "non-lp": [entry for entry in everything if entry.group == "non-lp"],
        "score": [entry for entry in everything if entry.access == "score"],
        "decision": [entry for entry in everything if entry.access == "decision"],
    }
    return {group: [entry.name for entry in entries] for group, entries in members.items()}


def threats(
    text: str,
    eps: str,
    attacks: Sequence[Request | InMemory],
    headline: Sequence[str],
    usual: Callable[[str], ThreatModel],
) -> tuple[ThreatModel, ...]:
    """Return the threat models that `--threat` and `--eps` name, or those the attacks are usually run under.

    Without either option these are the headline families of the dataset, every family that a named group
    of attacks needs, and the families of a named attack that is defined for no headline family.

    Args:
        text: `Linf:8/255,L2:0.5`; a family alone stands for its usual size: `Linf,recolor`.
        eps: `2/255,4/255,8/255`: one family at each of these sizes.
        attacks: names and groups.
        headline: families of the dataset's own threat models.
        usual: returns the usual threat model of a family.

    Raises:
        BenchError: an unknown family, an invalid eps, or two families for one list of eps.
    """
    if not eps:
        if text:
            return tuple(_threat(item.strip(), usual) for item in text.split(","))
        return tuple(usual(family) for family in dict.fromkeys((*headline, *_families_of(attacks, headline))))
    named = [family(item.partition(":")[0].strip()) for item in text.split(",")] if text else [headline[0]]
    if len(set(named)) != 1:
        raise BenchError(f"--eps {eps!r} is a list for one family: name it with --threat, such as --threat L2")
    return tuple(ThreatModel.parse(f"{named[0]}:{item}") for item in eps.split(","))


def _threat(item: str, usual: Callable[[str], ThreatModel]) -> ThreatModel:
    return ThreatModel.parse(item) if ":" in item else usual(family(item))


def _families_of(attacks: Sequence[Request | InMemory], headline: Collection[str]) -> list[str]:
    """Return the families beyond the headline ones that these attacks need, in the order of `FAMILIES`."""
    groups: Mapping[str, Sequence[str]] = attack_groups(FAMILIES)
    needed: set[str] = set()
    for request in attacks:
        if request.label in groups:
            # The default run stays within the headline families: a newcomer's table has to be a short one.
            members = groups[request.label] if request.label != "default" else ()
            needed.update(family for name in members for family in ATTACKS.get(name).families)
        elif isinstance(request, Request) and not request.is_file:
            families = resolve.entry(request).families
            needed.update(families if not set(headline) & set(families) else ())
    return [family for family in FAMILIES if family in needed]


def items(named: Named, kind: str) -> tuple[Request | InMemory, ...]:
    """Parse a list of names, or a list that also holds objects; `kind` says in errors what they are."""
    if isinstance(named, str):
        return tuple(parse_list(named, kind))
    found: list[Request | InMemory] = []
    for each in named:
        found += [each] if isinstance(each, InMemory) else parse_list(each, kind)
    return tuple(found)


def _require_known(item: Request | InMemory) -> None:
    if isinstance(item, InMemory):
        return
    if item.is_peer:
        borrowed.check(item)
    elif not item.is_file:
        inner = resolve.held(item)
        if inner is not None:
            _require_known(inner)


def _files(items: Sequence[Request | InMemory]) -> list[Request]:
    """Return the items that are users' files, and those that registered defenses stand before."""
    found: list[Request] = []
    for item in items:
        inner = resolve.held(item) if isinstance(item, Request) and item.name in DEFENSES.names() else item
        found += [inner] if isinstance(inner, Request) and inner.is_file else []
    return found


def _defense(item: Request | InMemory, examples: Examples, weights: Path | None, built: files.Built) -> DefenseRef:
    if isinstance(item, InMemory):
        from bench.catalogue import in_memory

        return in_memory.defense_ref(item, examples.spec)
    if item.is_file:
        return files.defense(item, built)
    if item.is_peer:
        return borrowed.defense_ref(item, examples, weights)
    inner = resolve.held(item)
    behind = None if inner is None else _defense(inner, examples, weights, built)
    return resolve.defense(item, examples.dataset, weights, behind)


def _attack(
    item: Request | InMemory, dataset: str, spec: ImageSpec, weights: Path | None, built: files.Built
) -> tuple[AttackEntry, AttackRef]:
    if isinstance(item, InMemory):
        from bench.catalogue import in_memory

        return in_memory.attack_ref(item, spec)
    if item.is_file:
        return files.attack(item, built)
    return resolve.attack(item, dataset, weights)


def defenses(names: str, examples: Examples, weights: Path | None = None) -> list[DefenseRef]:
    """Return references to the defenses of a list of names, as `Selection.defense_refs` does."""
    return Selection.of(names, NO_ATTACKS, ()).defense_refs(examples, weights)


def _distinct(refs: list[DefenseRef]) -> list[DefenseRef]:
    _require_distinct([ref.label for ref in refs], "defense")
    return refs


def _require_distinct(labels: Sequence[str], kind: str) -> None:
    """Check labels once more, because two files of one name in different folders have the same label."""
    for label in labels:
        if labels.count(label) > 1:
            raise BenchError(f"two {kind}s are both called {label!r}: rename one of the files")
