"""Collect what the page of stored results is made from: cells, ladders, kept images, runs, provenance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench import __version__
from bench.api.images import images_of
from bench.api.results import Results
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.datasets.names import OWN
from bench.errors import BenchError
from bench.machine.system import write_whole
from bench.report.ladder import Ladder
from bench.report.page.gallery import Pictures
from bench.report.page.page import PageData, Section, render, require_libraries, unblocked
from bench.results import housekeeping
from bench.results.cell import Result
from bench.results.outcome import Done
from bench.results.store import Store

# Cells in the gallery of one set of images; more would be a wall of pictures.
_SHELVES = 12


def report(results: Results, path: str | os.PathLike[str], name: str = "") -> Path:
    """Write the page of some results; see `Results.report`."""
    require_libraries()
    path = Path(path)
    # Asked before anything is drawn, so that a wrong path costs no time.
    if path.is_dir():
        raise BenchError(f"{str(path)!r} is a folder: name a file, such as {str(path / 'report.html')!r}")
    if not results:
        raise BenchError("no cells to report: run some, or choose others with --defenses, --attacks and --threat")
    content = render(page_data(results.under(name) if name else results))
    try:
        write_whole(path, content)
    except OSError as error:
        raise BenchError(f"{str(path)!r} cannot be written ({error.strerror}): name another file") from error
    return path


def page_data(results: Results) -> PageData:
    """Return everything that the page says about some results."""
    root = results.store.root
    runs = tuple(housekeeping.runs(root)) if root.is_dir() else ()
    done = [result.cell for result in results if isinstance(result.outcome, Done)]
    made = {cell.key: results.store.provenance(cell) for cell in done}
    return PageData(tuple(map(_section, results.groups())), runs, made, results.study, __version__)


def _section(group: Results) -> Section:
    open_ = unblocked(group.cells)
    ladders: Sequence[Ladder] = ()
    if group.study is not None and group.study.rungs:
        ladders = group.ladders()
    pictures, why = _pictures(open_, group.store, group.data)
    return Section(group.cells, tuple(ladders), pictures, why, group.left_out)


def _pictures(results: Sequence[Result], store: Store, data: Examples | None) -> tuple[tuple[Pictures, ...], str]:
    """Return the kept images to show, and why there are none.

    Of each defense under each threat family, it is the strongest attack that counts: it is shown.
    """
    kept = [each for each in results if isinstance(each.outcome, Done) and store.images(each.cell) is not None]
    strongest: dict[tuple[str, str], Result] = {}
    for each in sorted(kept, key=_held):
        strongest.setdefault((each.cell.defense.label, each.cell.threat.family), each)
    keys = {each.cell.key for each in strongest.values()}
    chosen = [each for each in kept if each.cell.key in keys][:_SHELVES]
    if not chosen:
        return (), ""
    try:
        data = data or _images(chosen[0])
        found = [images_of([each], store, data) for each in chosen]
    except BenchError as error:
        return (), str(error)
    return tuple(
        Pictures(cell.defense.label, cell.attack.label, str(cell.threat), cell.key[:16], *images)
        for cell, images in found
    ), ""


def _images(result: Result) -> Examples | None:
    """Return the images of a cell, read once for all cells; `None` where they lie in no dataset."""
    part = result.cell.slice
    return None if part.dataset == OWN else load(part.dataset, part.split, n=part.n)


def _held(result: Result) -> int:
    """Return how many draws were right under attack."""
    assert isinstance(result.outcome, Done)  # noqa: S101  (for the type checker)
    return int(result.outcome.verdicts.adversarial.sum())
