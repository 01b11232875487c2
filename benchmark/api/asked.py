"""What is asked for: a request that is resolved and checked, before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.catalogue import study as studies
from bench.catalogue.options import RunOptions, variable
from bench.catalogue.selection import Selection
from bench.catalogue.study import Study
from bench.checks.after import probes
from bench.checks.examination import HELD_OUT
from bench.datasets.examples import Examples
from bench.datasets.load import beyond, load, order_of_classes
from bench.errors import BenchError, unknown
from bench.harness import controls, corruptions, matrix, precision
from bench.harness.executors import choose, cores, require_jobs
from bench.harness.recognition import Recognized, recognized
from bench.harness.run import leaves
from bench.harness.share import Portion, Share
from bench.harness.task import Executor
from bench.harness.watcher import Watcher
from bench.machine.isolation import Workers
from bench.machine.system import keep_freed
from bench.results.cell import Cell, Planned
from bench.results.store import Store

# Seconds that loading a defense may take where --timeout does not say; it may download weights.
LOADING = 600.0
# The share of a run's passes that its probes may take; None for as much as they need.
_SHARES: Mapping[str, float | None] = {"auto": probes.BUDGET, "all": None}


@dataclass(frozen=True)
class Asked:
    """A valid request; nothing is computed yet.

    Attributes:
        options: of the run.
        known: the cells, whose keys cover the answers of users' code.
        examples: the images.
        held_out: other images of the same dataset; `None` if there are none.
        store: where verdicts are kept.
        watcher: receives progress.
    """

    options: RunOptions
    known: Recognized
    examples: Examples
    held_out: Examples | None
    store: Store
    watcher: Watcher

    @property
    def study(self) -> Study | None:
        return studies.read(self.options.study) if self.options.study else None

    def portion(self, plan: Sequence[Planned]) -> Portion | None:
        """Return the tasks of this call, stored or not, of those of a plan; `None` where it is not one share of many.

        Args:
            plan: whatever is blocked or broken in it here counts, too: the shares must be the same on every machine.
        """
        if not self.options.shard:
            return None
        whole = [replace(each, blocked=False, broken="") for each in plan]
        return Share.parse(self.options.shard).portion((*leaves(whole), *self.beside(whole, self.probes(whole))))

    def beside(self, plan: Sequence[Planned], probed: Sequence[probes.Probe]) -> list[Cell]:
        """Return the cells that a run computes and no table shows: the controls of a study, and probes."""
        study = self.study
        return [*(controls.controls(plan, study) if study else ()), *(probe.cell for probe in probed)]

    def probes(self, plan: Sequence[Planned]) -> list[probes.Probe]:
        """Return the probes of the checks after the attacks."""
        if self.options.checks == "none":
            return []
        return probes.plan(plan, self.examples, share=_SHARES[self.options.checks])

    def executor(self, cells: Iterable[Cell]) -> Executor:
        """Choose the executor for the shards of these cells: a single cell of many keeps all processes busy."""
        shards, asked = sum(len(cell.shards) for cell in cells), self.options
        return choose(asked.executor, asked.device, asked.jobs, shards, asked.ray_address, self.watcher.say)

    def in_formats(self, *, measure: bool = True) -> precision.Settled:
        """Return the cells with the format of their queries; `measure`: whether a defense may be timed for that."""

        def place() -> tuple[str, int]:
            executor = self.executor(each.cell for each in self.known.plan)
            keep_freed()  # formats are timed here as the workers will run them
            return executor.device, executor.threads

        return precision.settled(
            self.known.plan,
            self.examples,
            self.store,
            precision=self.options.precision,
            place=place,
            measure=measure,
        )


def workers(options: RunOptions) -> Workers | None:
    """Return the processes in which others' code is loaded, examined and run; `None` where all is done in this one."""
    if options.executor == "local":
        return None
    count = min(options.jobs or cores(), cores())
    return Workers(count, max(1, cores() // count), options.timeout or LOADING, "torch")


def resolve(
    options: RunOptions,
    watcher: Watcher,
    selection: Selection | None = None,
    examples: Examples | None = None,
    held_out: Examples | None = None,
    *,
    unloaded: bool = False,
) -> Asked:
    """Resolve and check a request, before anything is computed.

    Args:
        options: of the run.
        watcher: who is told what a user should know.
        selection: what is asked for, where the options do not spell it.
        examples: the images, where the options do not name them.
        held_out: others of the same dataset, beside these.
        unloaded: whether users' files are only named, and none of their code is executed.

    Raises:
        BenchError: the first name, parameter or number that is invalid.
    """
    _require_choices(options)
    store = Store(options.results)
    if selection is None:
        selection = Selection.parse(options.defenses, options.attacks, options.threat, options.eps, options.dataset)
    selection = replace(selection, unloaded=unloaded)
    if examples is None:
        watcher.step(f"reading the images of {options.dataset}")
        examples = load(options.dataset, "test", n=options.n, data=options.data)
        if options.checks != "none":
            # Only the checks look at other images than those of the table.
            held_out = beyond(options.dataset, options.n, HELD_OUT, data=options.data)
        note = order_of_classes(options.dataset)
        if note is not None:
            watcher.say(f"note: {note}")
    how: dict[str, int] = {"seed": options.seed, "draws": options.draws, "batch": options.batch}
    plan = matrix.build(selection, examples, **how, weights=options.weights)
    if options.corruptions is not None:
        shifted = corruptions.ShiftRequest(options.corruptions, options.data)
        plan += corruptions.build(shifted, selection.defense_refs(examples, options.weights), examples, **how)
    if not plan:
        raise BenchError("--attacks none leaves nothing to do: name attacks, or --corruptions FOLDER")
    known = recognized(matrix.labeled(plan, options.label), store)
    for label in known.changed:
        watcher.say(f"note: {label}: the same file, other answers than before: computed anew")
    return Asked(options, known, examples, held_out, store, watcher)


def _require_choices(options: RunOptions) -> None:
    if options.precision not in precision.PRECISIONS:
        raise BenchError(f"--precision {options.precision!r} is unknown: give {' or '.join(precision.PRECISIONS)}")
    if options.checks not in (*_SHARES, "none"):
        raise BenchError(f"--checks {options.checks!r} is unknown: give auto, all or none")
    if options.timeout < 0:
        raise BenchError(f"--timeout {options.timeout} is out of range: give seconds, or 0 for the usual limit")
    # From the environment the address may stay for runs that need no cluster.
    if options.ray_address not in ("", os.environ.get(variable("ray_address"))) and options.executor != "ray":
        raise BenchError(
            f"--ray-address {options.ray_address!r} needs --executor ray: add it, or leave the address out"
        )
    require_jobs(options.jobs)
    waived(options)
    if options.shard:
        Share.parse(options.shard)
        if options.precision != "float32":
            raise BenchError(
                f"--precision {options.precision} with --shard {options.shard}: each machine would choose its own "
                "format, and their shares would not fit together; leave out --precision"
            )


def waived(options: RunOptions) -> set[str]:
    """Return the ids of the checks in spite of which cells are computed."""
    named = {name.strip().upper() for name in options.despite.split(",") if name.strip()}
    if named:
        from bench.checks.before.preflight import IDS

        for name in sorted(named - set(IDS)):
            raise unknown("check in --despite", name, IDS)
    return named
