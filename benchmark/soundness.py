"""When which check runs, on what, and where its findings are kept.

Before any attack every defense is examined once (S01-S17); a finding that blocks keeps its cells from
being computed. After the attacks the findings of A01-A14 are drawn from the stored verdicts, from the
probes computed beside them, and from the stored images judged again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench import fingerprint, probes, replay, versions
from bench.cell import Cell, DefenseRef, Planned, Slice
from bench.checks.after import after
from bench.checks.finding import Finding, worst
from bench.checks.group import Group
from bench.datasets.examples import Examples
from bench.executors import pick_device
from bench.executors.task import load_defense
from bench.outcome import Done
from bench.store import Store
from bench.types import Defense, ThreatModel

# Images outside the slice, for the check that nothing was looked up (S16).
HELD_OUT = 128
_DEFAULT_EPS = 8 / 255


@dataclass
class Bill:
    """What the checks of a run cost, in seconds of one worker."""

    preflight: float = 0.0
    probes: float = 0.0
    replay: float = 0.0

    @property
    def total(self) -> float:
        return self.preflight + self.probes + self.replay


@dataclass(frozen=True)
class Images:
    """The slice a run is about, and images of the same dataset that are not in it."""

    examples: Examples
    held_out: Examples | None = None


@dataclass
class Examination:
    """The checks of one run.

    Attributes:
        device: as the user named it: `auto`, `cpu`, `cuda`, ...
    """

    store: Store
    aside: Store
    images: Images
    device: str
    bill: Bill = field(default_factory=Bill)

    def before(self, defense: DefenseRef, threats: Iterable[ThreatModel]) -> tuple[Finding, ...]:
        """S01-S17 for a defense; what is stored already is not done again."""
        examples = self.images.examples
        part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
        eps = noise_of(threats)
        held_out = self.images.held_out.digest if self.images.held_out else ""
        key = fingerprint.of_text(defense.digest, part.digest, held_out, self.device, eps, versions.of_checks())
        stored = self.store.preflight(defense, part, key)
        # What blocked may have been an error of the machine: it is asked again, as a failed cell is.
        if stored is not None and worst(stored) != "block":
            return stored
        began = time.perf_counter()
        findings = examine(load_defense(defense, examples.spec), self.images, eps, pick_device(self.device))
        self.bill.preflight += time.perf_counter() - began
        self.store.keep_preflight(defense, part, findings, key)
        return findings

    def after(self, plan: Sequence[Planned], beside: Sequence[probes.Probe]) -> None:
        """A01-A14 for every defense under every threat model of a plan, kept in the store."""
        groups = probes.groups(plan, beside, self.store, self.aside, self.images.examples.spec.classes)
        keys = {id(group): self._key(group) for group in groups}
        fresh = [group for group in groups if self.store.checks(group.cell, keys[id(group)]) is None]
        began = time.perf_counter()
        replayed = self._replayed(fresh)
        self.bill.replay += time.perf_counter() - began
        for group in fresh:
            findings = [*after(group), *(replayed[id(group)] or self._replayed_before(group))]
            self.store.keep_checks(group.cell, sorted(findings, key=lambda found: found.id), keys[id(group)])

    def _key(self, group: Group) -> str:
        table = [(each.attack.label, each.attack.digest, each.counts.tolist()) for each in group.table]
        beside = [(role, each.counts.tolist()) for role, each in sorted(group.probes.items())]
        asked = [attack.label for attack in group.asked]
        return fingerprint.of_text(group.cell.defense.digest, table, beside, asked, versions.of_checks())

    def _replayed(self, groups: Sequence[Group]) -> dict[int, list[Finding]]:
        """A13 for each group, all in one fresh process."""
        stored: list[replay.Stored] = []
        owners: list[int] = []
        for group in groups:
            for cell in self._cells(group):
                found = self._stored(cell)
                if found is not None:
                    stored.append(found)
                    owners.append(id(group))
        changed = replay.replay(stored, pick_device(self.device)) if stored else []
        findings: dict[int, list[Finding]] = {id(group): [] for group in groups}
        for owner in findings:
            mine = [index for index, other in enumerate(owners) if other == owner]
            if mine:
                judged = sum(len(stored[index].x_adv) for index in mine)
                findings[owner] = [replay.finding([changed[index] for index in mine], judged)]
        return findings

    def _replayed_before(self, group: Group) -> list[Finding]:
        """What was found when there were images: they may be gone, as from results that are published."""
        return [found for found in self.store.checks(group.cell) or () if found.id == "A13"]

    def _cells(self, group: Group) -> list[Cell]:
        return [replace(group.cell, attack=each.attack) for each in group.table if not each.is_composite]

    def _stored(self, cell: Cell) -> replay.Stored | None:
        outcome, x_adv = self.store.find(cell), self.store.images(cell)
        if x_adv is None or not isinstance(outcome, Done):
            return None
        return replay.Stored(cell, self.images.examples.part(0, len(x_adv)), x_adv, outcome)


def examine(defense: Defense, images: Images, eps: float, device: str) -> tuple[Finding, ...]:
    """S01-S17 for a loaded defense, held against what its card declares."""
    from bench.checks.preflight import preflight

    declared, n = _declared(defense, images.examples)
    return preflight(
        defense,
        images.examples,
        images.held_out,
        eps=eps,
        declared_accuracy=declared,
        declared_n=n,
        device=device,
    )


def _declared(defense: Defense, examples: Examples) -> tuple[float | None, int | None]:
    """The standard accuracy a card declares on the dataset at hand, and on how many images."""
    facts: Any = defense.card.facts
    told, data = facts.get("standard_accuracy"), facts.get("data")
    if not isinstance(told, dict) or not isinstance(data, dict) or data.get("dataset") != examples.dataset:
        return None, None
    return told.get("value"), told.get("n")


def noise_of(threats: Iterable[ThreatModel]) -> float:
    """The size of the noise defenses are examined with: that of the Linf threat model, where there is one."""
    return max((float(threat.eps) for threat in threats if threat.family == "Linf"), default=_DEFAULT_EPS)
