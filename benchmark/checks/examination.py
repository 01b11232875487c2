"""The checks of a run: when each runs, on what, and where its findings are stored.

Before any attack every defense is examined once (S01-S17); if a finding blocks, its cells are not
computed. After the attacks, A01-A14 take their findings from the stored verdicts, from the probes, and
from the stored images judged again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.catalogue import identity, versions
from bench.catalogue.guests import guest
from bench.catalogue.loading import load_defense
from bench.catalogue.refs import DefenseRef
from bench.checks.after import probes, replay
from bench.checks.after.agreement import after
from bench.checks.after.group import DefenseUnderThreat
from bench.datasets.examples import Examples
from bench.harness.executors import pick_device
from bench.harness.pace import UNKNOWN, Pace
from bench.machine.isolation import Call, Elsewhere, each_apart
from bench.results.cell import Cell, Planned, Slice
from bench.results.finding import Finding, worst
from bench.results.outcome import Done
from bench.results.store import Store
from bench.threats import ThreatModel
from bench.types import Defense

# Images outside the slice, for the check that nothing was looked up (S16).
HELD_OUT = 128
# The usual Linf eps of CIFAR-10, for runs without a Linf threat model.
_DEFAULT_EPS = 8 / 255
# More passes than all checks before any attack take together.
_PASSES = 40_000

Findings = tuple[Finding, ...]


@dataclass
class Bill:
    """The cost of a run's checks, in seconds of one worker."""

    preflight: float = 0.0
    probes: float = 0.0
    replay: float = 0.0

    @property
    def total(self) -> float:
        return self.preflight + self.probes + self.replay

    def beside(self, attacks: float) -> str:
        """Say what the checks cost beside attacks that took so many seconds of one worker."""
        spent = f"preflight {self.preflight:.1f} s, probes {self.probes:.1f} s, replay {self.replay:.1f} s"
        share = 100 * self.total / (self.total + attacks)
        return f"checks: {spent}: {share:.1f} % of this run's {self.total + attacks:.0f} s of work"


@dataclass(frozen=True)
class ExaminedImages:
    """The slice of a run, and images of the same dataset outside it."""

    examples: Examples
    held_out: Examples | None = None

    def few(self) -> ExaminedImages:
        """Return as many of them as any check looks at."""
        # Not at the top: it imports torch.
        from bench.checks.before.labels import MOST

        def first(part: Examples) -> Examples:
            return part.part(0, min(MOST, len(part)))

        return ExaminedImages(first(self.examples), None if self.held_out is None else first(self.held_out))


@dataclass(frozen=True)
class Examined:
    """What the checks before any attack have found.

    Attributes:
        broken: how the defense ended the process that examined it, or that it hangs; empty where it did neither.
    """

    findings: tuple[Finding, ...]
    broken: str = ""


@dataclass
class Examination:
    """The checks of one run.

    Attributes:
        device: as the user named it: `auto`, `cpu`, `cuda`, ...
        pace: how long a pass of each defense takes.
    """

    store: Store
    aside: Store
    images: ExaminedImages
    device: str
    pace: Pace = UNKNOWN
    bill: Bill = field(default_factory=Bill)

    def before(self, defenses: Sequence[DefenseRef], threats: Iterable[ThreatModel]) -> list[Examined]:
        """Run S01-S17 for defenses, several at once, or return the stored findings of each."""
        examples = self.images.examples
        part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
        eps = noise_of(threats)
        held_out = self.images.held_out.digest if self.images.held_out else ""
        found: dict[str, Examined] = {}
        keys, calls = {}, []
        for defense in defenses:
            key = identity.of_text(defense.digest, part.digest, held_out, self.device, eps, versions.of_checks())
            stored = self.store.preflight(defense, part, key)
            # A block may have come from an error of the machine, so it is examined again, as a failed cell is.
            if stored is not None and worst(stored) != "block":
                found[defense.label] = Examined(stored)
                continue
            keys[defense.label] = key
            args = (defense, self.images.few(), eps, self.device)
            calls.append(
                Call(_examined, args, guest(defense), self.pace.limit_of(_PASSES, defense.digest), tag=defense)
            )
        for answer in each_apart(calls):
            defense = answer.call.tag
            if isinstance(answer.error, Elsewhere):
                found[defense.label] = Examined((), f"it cannot be examined: {answer.error}")
                continue
            findings, seconds = answer.result()
            self.bill.preflight += seconds
            self.store.keep_preflight(defense, part, findings, keys[defense.label])
            found[defense.label] = Examined(findings)
        return [found[defense.label] for defense in defenses]

    def after(self, plan: Sequence[Planned], beside: Sequence[probes.Probe]) -> None:
        """Run A01-A14 for every defense under every threat model of a plan, and store the findings."""
        groups = probes.groups(plan, beside, self.store, self.aside, self.images.examples.spec.classes)
        keys = {id(group): self._key(group) for group in groups}
        fresh = [group for group in groups if self.store.checks(group.cell, keys[id(group)]) is None]
        began = time.perf_counter()
        replayed = self._replayed(fresh)
        self.bill.replay += time.perf_counter() - began
        for group in fresh:
            # A13 comes from another place than the rest, so the ids have to be sorted.
            findings = [*after(group), *(replayed[id(group)] or self._replayed_before(group))]
            self.store.keep_checks(group.cell, sorted(findings, key=lambda found: found.id), keys[id(group)])

    def _key(self, group: DefenseUnderThreat) -> str:
        # By the counts themselves: findings hold as long as the numbers they were drawn from.
        table = [(each.attack.label, each.attack.digest, each.counts.tolist()) for each in group.table]
        beside = [(role, each.counts.tolist()) for role, each in sorted(group.probes.items())]
        asked = [attack.label for attack in group.asked]
        return identity.of_text(group.cell.defense.digest, table, beside, asked, versions.of_checks())

    def _replayed(self, groups: Sequence[DefenseUnderThreat]) -> dict[int, list[Finding]]:
        """Run A13 for each group, all in one fresh process, because starting it takes seconds."""
        stored: list[replay.Stored] = []
        owners: list[int] = []
        for group in groups:
            for cell in self._cells(group):
                found = self._stored(cell)
                if found is not None:
                    stored.append(found)
                    owners.append(id(group))
        changed = replay.replay(stored, pick_device(self.device), self._limit(stored)) if stored else []
        findings: dict[int, list[Finding]] = {id(group): [] for group in groups}
        for owner in findings:
            mine = [index for index, other in enumerate(owners) if other == owner]
            if mine:
                judged = sum(len(stored[index].x_adv) for index in mine)
                defense = stored[mine[0]].cell.defense
                findings[owner] = [replay.finding([changed[index] for index in mine], judged, defense)]
        return findings

    def _replayed_before(self, group: DefenseUnderThreat) -> list[Finding]:
        """Return the stored A13 of a group whose images are gone, as they are from published results."""
        return [found for found in self.store.checks(group.cell) or () if found.id == "A13"]

    def _limit(self, stored: Sequence[replay.Stored]) -> float:
        """Return the seconds after which judging these images again is called hung."""
        passes = sum(len(each.x_adv) * each.cell.draws for each in stored)
        return max(self.pace.limit_of(passes, each.cell.defense.digest) for each in stored)

    def _cells(self, group: DefenseUnderThreat) -> list[Cell]:
        return [replace(group.cell, attack=each.attack) for each in group.table if not each.is_composite]

    def _stored(self, cell: Cell) -> replay.Stored | None:
        outcome, kept = self.store.find(cell), self.store.images(cell)
        if kept is None or not isinstance(outcome, Done):
            return None
        return replay.Stored(cell, self.images.examples.part(0, len(kept.x_adv)), kept.x_adv, outcome)


def _examined(defense: DefenseRef, images: ExaminedImages, eps: float, device: str) -> tuple[Findings, float]:
    """In a process of its own: load and examine a defense; return the findings and the seconds."""
    began = time.perf_counter()
    findings = examine(load_defense(defense, images.examples.spec), images, eps, pick_device(device))
    return findings, time.perf_counter() - began


def examine(defense: Defense, images: ExaminedImages, eps: float, device: str) -> tuple[Finding, ...]:
    """Run S01-S17 for a loaded defense, with the accuracy that its card declares."""
    # Not at the top: a run whose findings are all stored never needs torch.
    from bench.checks.before.preflight import preflight

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
    """Return the standard accuracy that a card declares on this dataset, and the number of its images."""
    # A card is anybody's JSON, so nothing about its shape is certain.
    facts: Any = defense.card.facts
    told, data = facts.get("standard_accuracy"), facts.get("data")
    if not isinstance(told, dict) or not isinstance(data, dict) or data.get("dataset") != examples.dataset:
        return None, None
    return told.get("value"), told.get("n")


def noise_of(threats: Iterable[ThreatModel]) -> float:
    """Return the size of the noise in the examination: the largest Linf eps, or a default without one."""
    return max((float(threat.eps) for threat in threats if threat.family == "Linf"), default=_DEFAULT_EPS)
