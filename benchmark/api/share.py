"""One share of a run, for one of several machines that do not talk to each other: `bench run --shard I/N`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.api.asked import Asked, resolve, workers
from bench.api.fill import fill, watched
from bench.api.results import Results
from bench.catalogue.options import settled
from bench.errors import BenchError
from bench.harness.run import leaves
from bench.harness.watcher import Watcher
from bench.machine.isolation import isolated
from bench.results.outcome import Done, Failed


@dataclass(frozen=True)
class ShareDone:
    """What has become of one share.

    Attributes:
        share: such as `2/3`.
        tasks: shards of cells, those of the checks included, that belong to it.
        stored: of them, those with verdicts in this folder now.
        finished: cells of the table that it has shards of, and that are finished.
        open: likewise, and that other shares have to complete.
        failed: the cells of it that failed, those of the checks not included, by title, each with its error.
        blocked: cells of the table that a check kept this share from computing its part of.
        results: every cell of the run; most are missing as long as the shares are not together.
    """

    share: str
    tasks: int
    stored: int
    finished: int
    open: int
    failed: tuple[tuple[str, str], ...]
    blocked: int
    results: Results

    @property
    def done(self) -> bool:
        """Return whether all of its part of the table is computed."""
        return not self.failed and not self.blocked


def run_share(watcher: Watcher | None = None, **options: Any) -> ShareDone:  # noqa: ANN401  (fields of `RunOptions`)
    """Compute one share of a matrix; the same call resumes.

    All shares together compute every task once, whatever is stored where: into one folder, or into one each, which
    `merge` brings together. Checks after the attacks, worst cases that are derived from other cells and the table are
    left to a `run` without `shard` on the folder of all.

    Args:
        watcher: as for `run`.
        **options: as for `run`, with `shard`.

    Raises:
        BenchError: a mistake in the request; nothing was computed.
    """
    chosen = settled(options)
    if not chosen.shard:
        raise BenchError("no share is named: give shard, such as shard='2/3'")

    def work(who: Watcher) -> ShareDone:
        asked = resolve(chosen, who)
        return _told(asked, fill(asked))

    with isolated(workers(chosen)):
        return watched(watcher, work)


def _told(asked: Asked, results: Results) -> ShareDone:
    """Count what is stored of a share."""
    # The formats that the run has settled are stored.
    plan = asked.in_formats(measure=False).plan
    portion = asked.portion(plan)
    assert portion is not None  # noqa: S101  (the caller named a share)
    table = {cell.key: cell for cell in leaves(plan) if portion.of(cell)}
    beside = {cell.key: cell for cell in asked.beside(plan, asked.probes(plan)) if portion.of(cell)}
    stored, finished, failed = 0, 0, []
    for cell in {**beside, **table}.values():
        shown = cell.key in table
        store = asked.store if shown else asked.store.aside()
        outcome = store.find(cell)
        mine = portion.of(cell)
        stored += len(mine) if isinstance(outcome, Done) else len(set(mine) & set(store.shards(cell)))
        finished += shown and isinstance(outcome, Done)
        failed += [(cell.title, outcome.error)] if shown and isinstance(outcome, Failed) else []
    labels = {each.cell.defense.label for each in results if each.blocked and each.outcome is None}
    blocked = sum(cell.defense.label in labels for cell in table.values())
    open_ = len(table) - finished - len(failed) - blocked
    return ShareDone(asked.options.shard, len(portion), stored, finished, open_, tuple(failed), blocked, results)
