"""The run of a matrix: compute the cells that the store lacks, and store every shard as soon as it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.datasets.examples import Examples
from bench.errors import is_no_gradient
from bench.harness.pace import UNKNOWN, Pace
from bench.harness.provenance import provenance
from bench.harness.reservations import Reservations, Unreserved, clear
from bench.harness.share import Portion
from bench.harness.task import Executor
from bench.harness.underway import Underway
from bench.harness.watcher import Watcher
from bench.results.cell import Cell, Planned, Result
from bench.results.outcome import Done, Failed, worst_case
from bench.results.store import Store

# Seconds to wait for another run's lock between two looks for its result.
_PATIENCE = 1.0


@dataclass(frozen=True)
class Work:
    """The work that a plan lacks.

    Attributes:
        cells: cells to compute, neither skipped nor stored; a failed one is tried again.
        composites: cells to derive from their parts once those are done.
    """

    cells: tuple[Cell, ...]
    composites: tuple[Planned, ...]

    def admitted(self, plan: Sequence[Planned]) -> Work:
        """The part of it that a plan still wants, in which checks may have blocked some cells."""
        wanted = {cell.key for each in plan if each.wanted for cell in (each.cell, *each.parts)}
        return Work(
            tuple(cell for cell in self.cells if cell.key in wanted),
            tuple(each for each in self.composites if each.cell.key in wanted),
        )

    def within(self, portion: Portion, store: Store) -> Work:
        """The part of it that is in a portion; what is derived from several cells is in none."""
        return Work(tuple(open_in(portion, self.cells, store)), ())


def pending(plan: Sequence[Planned], store: Store) -> Work:
    """Find the work that is missing; a part that two cells need is computed once."""
    wanted = [planned for planned in plan if planned.wanted]
    open_ = [planned for planned in wanted if not isinstance(store.find(planned.cell), Done)]
    return Work(tuple(lacking(leaves(open_), store)), tuple(planned for planned in open_ if planned.parts))


def leaves(plan: Sequence[Planned]) -> list[Cell]:
    """Return the cells that a plan has computed: parts instead of what is derived from them, nothing skipped."""
    wanted = (planned for planned in plan if planned.skip is None)
    return [cell for planned in wanted for cell in planned.parts or (planned.cell,)]


def run(
    plan: Sequence[Planned],
    examples: Examples,
    store: Store,
    executor: Executor,
    watcher: Watcher,
    beside: Sequence[Cell] = (),
    aside: Store | None = None,
    work: Work | None = None,
    pace: Pace = UNKNOWN,
    portion: Portion | None = None,
) -> list[Result]:
    """Compute what is missing and return every cell of the plan with its outcome.

    What was finished stays finished whatever stops the run; the same call again computes the rest.

    Args:
        plan: the cells of the table.
        examples: their images.
        store: where verdicts are kept.
        executor: where shards are computed.
        watcher: who is told of progress.
        beside: missing cells that no table shows, computed along with the others, on a beginning of `examples`.
        aside: where the verdicts of those are kept.
        work: what the plan lacks, where that is known already.
        pace: how long tasks take, as far as it is known.
        portion: the only shards to compute, where other machines compute the rest; worst cases are not derived then.
    """
    # Before hours of work, not after them.
    store.require_writable()
    for each in (store, store.aside()):
        clear(each)
    store.remember(examples)
    store.ask(plan)
    work = pending(plan, store) if work is None else work
    for planned in plan:
        if planned.broken:
            store.fail(planned.cell, planned.broken)
    keys = {cell.key for cell in work.cells}
    if portion is None:
        asked = sum(planned.wanted for planned in plan)
        stored = asked - sum(planned.cell.key in keys for planned in plan) - len(work.composites)
    else:
        stored = len({cell.key for cell in leaves([each for each in plan if each.wanted]) if portion.of(cell)} - keys)
    shelves = {cell.key: store for cell in work.cells}
    extra = [cell for cell in beside if cell.key not in keys] if aside is not None else []
    shelves |= {cell.key: aside for cell in extra if aside is not None}
    watcher.begin(work.cells, stored, extra)
    if portion is not None:
        # No two shares have a task in common, so none waits for another.
        claims = Unreserved(shelves)
        Underway((*work.cells, *extra), examples, shelves, claims, watcher, pace, portion).compute(executor)
        return [store.result(planned) for planned in plan]
    _compute((*work.cells, *extra), examples, shelves, executor, watcher, pace)
    for planned in work.composites:
        _derive(planned, store)
    return [store.result(planned) for planned in plan]


def lacking(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Return the cells that are not finished, each once."""
    once = {cell.key: cell for cell in cells}
    return [cell for cell in once.values() if not isinstance(store.find(cell), Done)]


def open_in(portion: Portion, cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Return those of some unfinished cells of which a portion lacks shards, or which only have to be joined."""
    found = []
    for cell in cells:
        mine = portion.of(cell)
        there = store.shards(cell) if mine else {}
        if mine and (len(there) == len(cell.shards) or not set(mine) <= set(there)):
            found.append(cell)
    return found


def _compute(
    cells: Sequence[Cell],
    examples: Examples,
    shelves: Mapping[str, Store],
    executor: Executor,
    watcher: Watcher,
    pace: Pace,
) -> None:
    """Compute every cell that no other run computes; then wait for those runs, and compute what they left undone."""
    with Reservations(shelves) as claims:
        Underway(cells, examples, shelves, claims, watcher, pace).compute(executor)
        if claims.elsewhere:
            watcher.wait(list(claims.elsewhere.values()))
        while claims.elsewhere:
            cell = next(iter(claims.elsewhere.values()))
            outcome = shelves[cell.key].find(cell)
            if isinstance(outcome, Done):
                del claims.elsewhere[cell.key]
                watcher.end(cell, outcome)
            elif claims.take(cell, _PATIENCE):
                Underway([cell], examples, shelves, claims, watcher, pace).compute(executor)


def _derive(planned: Planned, store: Store) -> None:
    """Derive and store a cell that is the worst case of others."""
    outcomes = [store.find(part) for part in planned.parts]
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    unable = tuple(
        part.attack.label
        for part, outcome in zip(planned.parts, outcomes, strict=True)
        if isinstance(outcome, Failed) and is_no_gradient(outcome.error)
    )
    # A part without a gradient is left out and named in the evidence, as a cascade does; any other failure counts.
    if done and len(done) + len(unable) == len(outcomes):
        worst = worst_case(done)
        known = replace(worst, evidence=replace(worst.evidence, unable=unable))
        store.finish(planned.cell, [known], provenance(planned.cell, 0.0))
        return
    failed = next(index for index, outcome in enumerate(outcomes) if not isinstance(outcome, Done))
    part, outcome = planned.parts[failed], outcomes[failed]
    error = outcome.error if isinstance(outcome, Failed) else "it is missing"
    store.fail(planned.cell, f"{part.attack.label}: {error}")
