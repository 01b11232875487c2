"""Archives of others: adversarial examples made elsewhere, verified and judged by the defense itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.arguments import checked
from bench.api.asked import Asked, workers
from bench.api.fill import admitted, appraised, examination, watched
from bench.api.results import Results
from bench.catalogue.options import RunOptions, settled
from bench.catalogue.selection import NO_ATTACKS, Selection
from bench.checks.after import archives as checks
from bench.checks.examination import HELD_OUT
from bench.datasets import foreign, imported
from bench.datasets.examples import Examples
from bench.datasets.load import beyond, load, published_order
from bench.errors import BenchError
from bench.harness import imports, pairing
from bench.harness.executors import pick_device
from bench.harness.matrix import labeled
from bench.harness.recognition import recognized
from bench.harness.run import pending
from bench.harness.run import run as compute
from bench.harness.watcher import Watcher
from bench.machine.isolation import isolated
from bench.results.cell import Cell, Planned
from bench.results.store import Store
from bench.threats import ThreatModel

# What an import takes no option for, with what to give instead.
_INSTEAD = {
    "defenses": "defense",
    "attacks": "file",
    "study": "bench.run",
    "eps": "threat",
    "corruptions": "bench.run",
    "precision": "nothing: an archive is never searched",
    "shard": "nothing: an archive is judged in one go",
}


@checked
def import_archive(
    file: str | os.PathLike[str],
    defense: str,
    threat: str | ThreatModel,
    *,
    source: str = "",
    name: str = "",
    watcher: Watcher | None = None,
    **options: Any,  # noqa: ANN401  (see `RunOptions`)
) -> Results:
    """Judge adversarial examples that others made against a defense, by the defense itself.

    The examples become cells of the results folder, in columns `import:NAME`, and count into the best known accuracy of
    this defense; they are in no other worst case and in no rank. The folder keeps the examples that it needs.

    Args:
        file: `.pt`, `.pth`, `.npz`, `.npy` or an archive of a results folder, in the forms of docs/archives.md.
        defense: the one defense they were made against, as for `bench run`.
        threat: the Lp threat model they were made under: `Linf:8/255`.
        source: who made them, for tables: `"Smith 2026, arXiv:2601.00001"`.
        name: what to call them; by default after the file.
        watcher: as for `bench.run`.
        **options: of `bench.run`: `dataset`, `data`, `n`, `seed`, `draws`, `batch`, `device`, `weights`, `results`,
            `checks`, `despite`, `label`, `executor`, `jobs`.

    Returns:
        Every stored cell of this defense on these images, that of the archive included.

    Raises:
        BenchError: the file cannot be read, does not fit the images, or leaves the threat model, with the rule that a
            run would name; nothing was stored.
    """
    for given, other in _INSTEAD.items():
        if given in options:
            raise BenchError(f"an import takes no {given}: give {other}")
    chosen, text = settled({**options, "threat": str(threat), "shard": ""}), imports.source_of(source)
    request = _Request(Path(file), defense, imports.label_of(name, Path(file)), text, chosen)
    with isolated(workers(chosen)):
        return watched(watcher, lambda who: _import(request, who))


@dataclass(frozen=True)
class _Request:
    file: Path
    defense: str
    label: str
    source: str
    options: RunOptions


def _import(request: _Request, watcher: Watcher) -> Results:
    options = request.options
    selection = Selection.parse(request.defense, NO_ATTACKS, options.threat, "", options.dataset)
    threat = _one_threat(selection, options.threat)
    found = foreign.read(request.file)
    labels = [_label(request, each.attack) for each in found]
    imports.require_distinct([each.attack for each in found], labels, request.file)
    watcher.step(f"reading the images of {options.dataset}")
    examples = load(options.dataset, "test", n=options.n, data=options.data)
    order = published_order(options.dataset, "test", data=options.data)
    watcher.step("verifying the archive")
    verified = [
        pairing.paired(each, label, examples, order, threat, request.file)
        for each, label in zip(found, labels, strict=True)
    ]
    asked = _asked(request, selection, verified, examples, watcher)
    plan, store = asked.known.plan, asked.store
    stored = store.planned()
    for planned in plan:
        imports.required_apart(planned, stored)
    work = pending(plan, store)
    asked.executor(work.cells)  # a device that is not there is a mistake in the request
    plan, pace = appraised(plan, work.cells, asked)
    store.require_writable()
    asked.known.remember(store)
    for each in verified:
        imported.write(options.results, each.label.removeprefix(imported.PREFIX), each.x_adv, each.fingerprints)
        watcher.say(f"{each.label}: {len(each.rows)} of {len(examples)} images covered; {', '.join(each.how)}")
    examined = examination(asked, pace)
    allowed = plan if examined is None else admitted(plan, examined, asked)
    executor = asked.executor(work.cells)
    compute(allowed, examples, store, executor, watcher, work=work.admitted(allowed), pace=pace)
    if examined is not None:
        cells = [planned.cell for planned in allowed if not planned.blocked]
        checks.after(cells, store, examples, pick_device(options.device))
    return Results(tuple(each for each in store.results() if _beside(each.cell, plan[0].cell)), store, examples)


def _label(request: _Request, attack: str) -> str:
    name = request.label.removeprefix(imported.PREFIX)
    return imports.label_of(name, request.file, attack)


def _one_threat(selection: Selection, text: str) -> ThreatModel:
    if not text:
        raise BenchError("--threat is missing: name the threat model the archive was made under, such as Linf:8/255")
    if len(selection.threats) != 1:
        raise BenchError(f"--threat {text!r} names {len(selection.threats)}: an archive was made under one, name it")
    threat = selection.threats[0]
    pairing.require_provable(threat)
    return threat


def _asked(
    request: _Request,
    selection: Selection,
    verified: list[pairing.Paired],
    examples: Examples,
    watcher: Watcher,
) -> Asked:
    """Return the request of the cells of an archive, one per attack in it."""
    options, store = request.options, Store(request.options.results)
    refs = selection.defense_refs(examples, options.weights)
    if len(refs) != 1:
        raise BenchError(f"--defense {request.defense!r} names {len(refs)}: an archive was made against one, name it")
    plan: list[Planned] = [
        imports.build(
            each,
            refs[0],
            selection.threats[0],
            examples,
            folder=options.results,
            source=request.source,
            seed=options.seed,
            draws=options.draws,
            batch=options.batch,
        )
        for each in verified
    ]
    known = recognized(labeled(plan, options.label), store)
    held_out = None
    if options.checks != "none":
        held_out = beyond(options.dataset, options.n, HELD_OUT, data=options.data)
    return Asked(options, known, examples, held_out, store, watcher)


def _beside(cell: Cell, archived: Cell) -> bool:
    """Return whether a cell stands in the row of an archive."""
    return (
        all(getattr(cell, name) == getattr(archived, name) for name in ("slice", "seed", "draws"))
        and cell.defense.label == archived.defense.label
    )
