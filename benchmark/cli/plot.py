"""The commands `bench plot` and `bench images`: figures and images of stored verdicts, as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.results import Results
from bench.errors import BenchError, unknown
from bench.report.figures import files, style
from bench.report.outputs import require_files, require_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[Results, str, str, str], "Figure"]

_KINDS: Mapping[str, Draw] = {
    "matrix": lambda results, width, judge, study: results.plot_matrix(judge, width=width),
    "forest": lambda results, width, judge, study: results.plot_forest(judge, width=width),
    "curves": lambda results, width, judge, study: results.plot_curves(width=width),
    "ladder": lambda results, width, judge, study: results.plot_ladder(study or "ladder", width=width),
    "cost": lambda results, width, judge, study: results.plot_cost(width=width),
}


def require_figure(kind: str, out: Path, width: str, judge: str, study: str, results: Path) -> None:
    """Raise a BenchError unless such a figure can be drawn, before anything is read."""
    if kind not in _KINDS:
        raise unknown("figure", kind, _KINDS)
    style.inches(width)
    if judge and kind not in ("matrix", "forest"):
        raise BenchError(f"--judge {judge!r} makes no sense for {kind}: it is for matrix and forest")
    if study and kind != "ladder":
        raise BenchError(f"--study {study!r} makes no sense for {kind}: it is for ladder")
    files.require_suffix(out)
    require_files({"--out": out}, [results])


def plot(results: Results, kind: str, out: Path, width: str, judge: str, study: str) -> int:
    """Write the figure; of several sets of images one each, named after them."""
    groups = results.groups()
    # All are drawn before the first is written: a group that cannot be drawn leaves no half of an answer.
    drawn = [(_KINDS[kind](group, width, judge, study), _name(out, group, len(groups) > 1)) for group in groups]
    for figure, path in drawn:
        print(f"{kind}  {files.save(figure, path)}")
    return 0


def _name(out: Path, group: Results, several: bool) -> Path:
    cell = group[0].cell
    words = (cell.slice.dataset, cell.slice.split, f"n{cell.slice.n}", f"seed{cell.seed}")
    told = "-".join("".join(char if char.isalnum() or char in "-_." else "+" for char in word) for word in words)
    return out.with_name(f"{out.stem}-{told}{out.suffix}") if several else out


def require_images(out: Path, **_: object) -> None:
    """Raise a BenchError unless images can be written to such a folder, before anything is read."""
    require_folder("--out", out)


def images(results: Results, defense: str, attack: str, out: Path) -> int:
    """Write the images of one cell."""
    for path in results.save_images(out, defense, attack):
        print(f"images  {path}")
    return 0
