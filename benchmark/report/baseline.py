"""What a new baseline would change, cell by cell, for somebody who has to agree to it; and what a baseline holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from bench.report.columns import draw_table, prose
from bench.report.gate import Owner, Place, _by_place
from bench.report.plain import flat
from bench.results.cell import Cell, Result
from bench.results.finding import Finding
from bench.results.outcome import Done, Failed, Skipped, Verdicts
from bench.results.pairing import only, pairs_of
from bench.results.stats import smallest_detectable_drop, wilson

Kind = Literal["added", "removed", "changed", "same"]

_HEAD = ("cell", "n", "baseline", "new", "change", "images that differ", "", "what else changes")


@dataclass(frozen=True)
class Change:
    """What becomes of one number of a baseline.

    Attributes:
        title: the cell, or the standard accuracy of a defense.
        kind: `changed` if any image is judged otherwise or something else below differs; `same` if nothing does.
        old: accuracy in the baseline, in [0, 1]; `None` if there is none.
        new: likewise in the new one.
        n: images of the new one, or of the old one if the cell is removed.
        differing: how many of the images both have are judged otherwise; `None` if none can be compared.
        facts: what else changes: digests, versions, parameters, images.
    """

    title: str
    kind: Kind
    old: float | None = None
    new: float | None = None
    n: int = 0
    differing: int | None = None
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Difference:
    """What an update of a baseline changes.

    Attributes:
        changes: every cell of either side that is not skipped on both.
        unfinished: a line for each cell of the new one that nobody could be held to.
        written: whether the baseline has been replaced.
        refused: why an update would not be written, and the remedy; empty if it would be.
    """

    changes: tuple[Change, ...]
    unfinished: tuple[str, ...] = ()
    written: bool = False
    refused: str = ""

    def __repr__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Return the difference as a table of what changes, and a line that counts what does not."""
        shown = [change for change in self.changes if change.kind != "same"]
        parts = (
            [draw_table(_HEAD, [_row(each) for each in shown], width, right=range(1, 6), text=(7,))] if shown else []
        )
        counts = {
            kind: sum(change.kind == kind for change in self.changes)
            for kind in ("added", "removed", "changed", "same")
        }
        told = [*(f"unfinished: {flat(why)}" for why in self.unfinished)]
        told.append(", ".join(f"{count} {kind}" for kind, count in counts.items()))
        return "\n\n".join([*parts, prose("\n".join(told), width)])

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data; accuracies are shares in [0, 1]."""
        return asdict(self)


def difference(old: Sequence[Result], new: Sequence[Result], unfinished: Sequence[str] = ()) -> Difference:
    """Return what changes if `new` takes the place of `old`.

    Raises:
        BenchError: one of them holds two results for one place, so it could not be a baseline.
    """
    before, after = _by_place(_wholly(old), "baseline"), _by_place(_wholly(new), "candidate")
    changes: list[Change] = []
    clean: set[Owner] = set()
    for place in dict.fromkeys((*before, *after)):
        was, now = before.get(place), after.get(place)
        one = now or was
        if one is None or all(each is None or isinstance(each.outcome, Skipped) for each in (was, now)):
            continue
        if place[:3] not in clean:
            clean.add(place[:3])
            # Any finished cell will do: the clean verdicts do not depend on the attack.
            pair = (_any_done(before, place[:3]), _any_done(after, place[:3]))
            name = f"{one.cell.defense.label}, standard accuracy"
            changes += [_changed(name, *pair, "clean")] if any(pair) else []
        changes.append(_changed(one.cell.title, was, now, "adversarial"))
    return Difference(tuple(changes), tuple(unfinished))


def _wholly(results: Sequence[Result]) -> list[Result]:
    """Return the results with a block of any cell on all cells of its defense: none of them is a number then."""
    blocks: dict[tuple[str, str], tuple[Finding, ...]] = {}
    for result in results:
        if result.blocked:
            found = tuple(finding for finding in result.findings if finding.verdict == "block")
            blocks.setdefault((result.cell.slice.dataset, result.cell.defense.label), found)
    owners = [(result, (result.cell.slice.dataset, result.cell.defense.label)) for result in results]
    return [replace(each, findings=(*each.findings, *blocks.get(owner, ()))) for each, owner in owners]


def _any_done(results: Mapping[Place, Result], owner: Owner) -> Result | None:
    mine = [result for place, result in results.items() if place[:3] == owner]
    return next((result for result in mine if _done(result) is not None), None)


def _changed(title: str, was: Result | None, now: Result | None, which: str) -> Change:
    old, new = _done(was), _done(now)
    accuracies = [None if each is None else _accuracy(each, which) for each in (old, new)]
    count = new or old
    differing = None
    if was and now and old and new and old.draws == new.draws:
        pairs = pairs_of(was.cell.slice, now.cell.slice)
        if len(pairs[0]):
            one, other = (getattr(only(each, pair), which) for each, pair in zip((old, new), pairs, strict=True))
            differing = int(np.not_equal(one, other).sum())
    kind, facts = _kind(was, now, which)
    if kind == "same" and (differing != 0 or accuracies[0] != accuracies[1]):
        kind = "changed"
    return Change(title, kind, accuracies[0], accuracies[1], len(count) if count else 0, differing, facts)


def _kind(was: Result | None, now: Result | None, which: str) -> tuple[Kind, tuple[str, ...]]:
    """Return what becomes of a place, and what else changes there."""
    if was is None or isinstance(was.outcome, Skipped):
        return "added", _state(now)
    if now is None or isinstance(now.outcome, Skipped):
        return "removed", _state(was)
    compared = _compared(was.cell, now.cell, which)
    states = [", ".join(_state(each)) or "done" for each in (was, now)]
    told = [f"{name} {one} -> {other}" for name, (one, other) in compared.items() if one != other]
    told += [" -> ".join(states)] if states[0] != states[1] else []
    return ("changed" if told else "same"), tuple(told)


def _compared(old: Cell, new: Cell, which: str) -> Mapping[str, tuple[object, object]]:
    facts: dict[str, tuple[object, object]] = {
        "defense": (old.defense.digest[:8], new.defense.digest[:8]),
        "protocol": (old.protocol or "unset", new.protocol or "unset"),
        "images": (f"{old.slice.n} ({old.slice.digest[:8]})", f"{new.slice.n} ({new.slice.digest[:8]})"),
        "seed": (old.seed, new.seed),
        "draws": (old.draws, new.draws),
    }
    if which == "clean":
        return facts
    facts |= {
        "attack": (old.attack.digest[:8], new.attack.digest[:8]),
        "searched in": (old.searched_in, new.searched_in),
    }
    one, other = old.attack.config, new.attack.config
    parameters = sorted({*one, *other})
    return facts | {f"attack.{key}": (one.get(key, "unset"), other.get(key, "unset")) for key in parameters}


def _state(result: Result | None) -> tuple[str, ...]:
    """Return what a cell is if it is not done."""
    if result is not None and result.blocked:
        return ("blocked",)
    if result is None or isinstance(result.outcome, Done):
        return ()
    return (
        ("missing",) if result.outcome is None else ("failed",) if isinstance(result.outcome, Failed) else ("skipped",)
    )


def _done(result: Result | None) -> Verdicts | None:
    """Return verdicts that may be shown as a number: none of a defense that a check blocks."""
    if result is None or result.blocked or not isinstance(result.outcome, Done):
        return None
    return result.outcome.verdicts


def _accuracy(verdicts: Verdicts, which: str) -> float:
    return float(getattr(verdicts, which).mean()) / verdicts.draws


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _row(change: Change) -> tuple[str, ...]:
    moved = ""
    if change.old is not None and change.new is not None:
        moved = f"{100 * (change.new - change.old):+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")
    differing = "" if change.differing is None else str(change.differing)
    facts = flat("; ".join(change.facts))
    accuracies = (_percent(change.old), _percent(change.new), moved)
    return (flat(change.title), str(change.n or ""), *accuracies, differing, change.kind, facts)


def described(results: Sequence[Result], made_by: Mapping[str, int], width: int | None, *, alpha: float = 0.01) -> str:
    """Return what a baseline holds as text: its numbers, what made them, and how small a drop they can show."""
    rows: list[tuple[str, ...]] = []
    sizes: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for place, result in _by_place(_wholly(results), "baseline").items():
        if isinstance(result.outcome, Skipped):
            continue
        verdicts = _done(result)
        if verdicts is not None and place[:3] not in seen:
            seen.add(place[:3])
            rows.append(_number(f"{result.cell.defense.label}, standard accuracy", verdicts, "clean"))
            sizes.append(len(verdicts))
        if verdicts is None:
            rows.append((flat(result.cell.title), "", "", "".join(_state(result)).upper()))
        else:
            rows.append(_number(result.cell.title, verdicts, "adversarial"))
            sizes.append(len(verdicts))
    table = draw_table(("cell", "n", "accuracy", "95 % interval"), rows, width, right=range(1, 4))
    lines = [f"{count} cells by {flat(who)}" for who, count in made_by.items()]
    if sizes:
        drop = smallest_detectable_drop(min(sizes), alpha / len(sizes), min_effect=0.01)
        lines.append(
            f"{len(sizes)} cells: a gate would catch drops of {100 * drop:.1f} points or more 80 % of the time"
        )
    return "\n\n".join([table, prose("\n".join(lines), width)])


def _number(title: str, verdicts: Verdicts, which: str) -> tuple[str, ...]:
    share, n = _accuracy(verdicts, which), len(verdicts)
    low, high = wilson(min(n, share * n), n)
    return (flat(title), str(n), _percent(share), f"[{100 * low:.1f}, {100 * high:.1f}]")
