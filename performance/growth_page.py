"""What `growth.py` writes: tables, power laws, a picture, and what follows from them for a large study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

# Cells of the sweep over images, 4 x 5: of one alone, reading the images would be the most of it.
_TOGETHER = 20
_VARIED = {
    "images": f"images of each of {_TOGETHER} cells of one shard",
    "cells": "cells of 128 images, up to 60 defenses x 100 attacks",
    "shards": "shards of one cell of 10,000 images",
    "workers": "processes that attack one cell of 2,048 images (digits, `at`, PGD with 100 steps, 16 shards)",
}
_PHASES = {
    "run": "nothing is stored: all is planned, made up and written",
    "resume": "everything is stored",
    "table": "`bench table`",
    "attack": "a real attack",
}
_MB = 1e6
# A study on paper: ImageNet-1k at 224 pixels in float32, and the images of each cell that are kept (at least four).
_DEFENSES, _ATTACKS, _GPUS, _BATCH, _KEPT = 100, 60, 64, 100, 4
_IMAGE = 3 * 224 * 224 * 4
_USUAL, _WHOLE = 5_000, 50_000

Points = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Line:
    """`y = start + slope * x` through measured points, by least squares; neither is below 0."""

    start: float
    slope: float

    @classmethod
    def through(cls, points: Points, name: str) -> Line:
        x, y = (np.array([point[key] for point in points]) for key in ("at", name))
        slope, start = np.polyfit(x, y, 1)
        return cls(max(float(start), 0.0), max(float(slope), 0.0))

    def over(self, count: int) -> Line:
        """Return the line of one of so many together."""
        return Line(self.start / count, self.slope / count)


def exponent(points: Points, name: str) -> float:
    """Return the exponent of the power law through measured points, by least squares of logarithms."""
    told = [(math.log(point["at"]), math.log(point[name])) for point in points if point[name] > 0]
    if len(told) < 2:
        return math.nan
    x, y = zip(*told, strict=True)
    return float(np.polyfit(x, y, 1)[0])


def write(found: Mapping[str, Any], path: Path) -> None:
    """Write `GROWTH.md` and the picture beside the numbers in `path`."""
    picture = path.with_suffix(".svg")
    if any(name in found for name in _VARIED):
        _draw(found, picture)
    parts = [
        "# Growth\n",
        "Written by `python performance/growth.py`; how it measures is in [README.md](README.md), every number in "
        f"`{path.name}`. Nothing is attacked except in the last sweep: verdicts are made up at once, so that only our "
        "own work is left. Times and memory are those of a phase, without the start of Python and its imports.\n",
        f"![CPU time of each sweep over what is varied, both in logarithms.]({picture.name})\n",
        *(_sweep(name, found[name]) for name in _VARIED if name in found),
        *([_commands(found["command"])] if "command" in found else []),
        *([_study(found)] if {"images", "cells", "shards", "disk"} <= set(found) else []),
        "## Machine and versions\n",
        "\n".join(f"- {key}: {value}" for key, value in found.get("machine", {}).items()) + "\n",
    ]
    path.with_name("GROWTH.md").write_text("\n".join(parts), encoding="utf-8")


def _sweep(name: str, phases: Mapping[str, Points]) -> str:
    text = [f"## {name.capitalize()}\n", f"Varied: {_VARIED[name]}.\n"]
    for phase, points in _in_order(phases):
        headers = [name, "CPU", "wall", "memory"] + (["documents"] if "bytes" in points[0] else [])
        lines = []
        for point in points:
            told = [f"{point['at']:,}", f"{point['cpu']:.3f} s", f"{point['wall']:.3f} s", _megabytes(point["memory"])]
            lines.append([*told, _megabytes(point["bytes"])] if "bytes" in point else told)
        last = points[-2:]
        laws = f"CPU grows as {name}^{exponent(points, 'cpu'):.2f}, from the last point but one to the last as "
        laws += f"{name}^{exponent(last, 'cpu'):.2f}; wall time as {name}^{exponent(points, 'wall'):.2f}; "
        laws += f"memory at the end as {name}^{exponent(last, 'memory'):.2f}."
        text += [f"{phase} ({_PHASES[phase]}):\n", _table(lines, headers), laws + "\n"]
    return "\n".join(text)


def _in_order(phases: Mapping[str, Points]) -> list[tuple[str, Points]]:
    return [(phase, phases[phase]) for phase in _PHASES if phase in phases]


def _commands(found: Mapping[str, Any]) -> str:
    lines = [
        (label, f"{took['cpu']:.2f} s", f"{took['wall']:.2f} s", _megabytes(took["peak"]))
        for label, took in (
            ("planned and run, with made-up verdicts", found["prepare"]),
            ("`bench run`, everything stored", found["run"]),
            ("`bench table`", found["table"]),
        )
    ]
    told = f"20 defenses x 60 columns: {found['cells']:,} cells of 128 digits. The last two are whole processes.\n"
    return "\n".join(("## Commands\n", told, _table(lines, ("", "CPU", "wall", "peak of memory"))))


def _study(found: Mapping[str, Any]) -> str:
    """Return what the measured lines come to in a study that nobody here can run."""
    cells, wait = _DEFENSES * _ATTACKS, found["disk"]["seconds"]

    def cost(phase: str, name: str) -> Callable[[int, int], float]:
        """Return what a phase takes for so many images per cell in so many shards."""
        each = {sweep: Line.through(found[sweep][phase], name) for sweep in ("images", "cells", "shards")}
        image = each["images"].over(_TOGETHER).slope
        shard = each["shards"].slope if phase == "run" else 0.0  # a finished cell has none
        return lambda n, shards: cells * (each["cells"].slope + n * image + shards * shard)

    size = Line.through(found["images"]["run"], "bytes").over(_TOGETHER)
    busy = Line.through(found["shards"]["run"], "cpu").slope + wait
    rows: list[tuple[str, Callable[[int, int], str]]] = [
        ("cells", lambda _n, _s: f"{cells:,}"),
        ("shards", lambda _n, s: f"{cells * s:,}"),
        ("documents at the end", lambda _n, _s: f"{cells:,}, {_bytes(cells * size.start + cells * _n * size.slope)}"),
        ("kept images", lambda _n, _s: _bytes(cells * _KEPT * _IMAGE)),
        ("driver, CPU of the whole run", lambda n, s: _span(cost("run", "cpu")(n, s))),
        ("driver, waits for the disk", lambda _n, s: _span(cells * (2 + (s if s > 1 else 0)) * wait)),
        ("a later resume, CPU", lambda n, s: _span(cost("resume", "cpu")(n, s))),
        ("a table, CPU", lambda n, s: _span(cost("table", "cpu")(n, s))),
        ("driver, memory for verdicts", lambda n, s: _bytes(cost("resume", "memory")(n, s))),
        ("driver, memory for the images", lambda n, _s: _bytes(n * _IMAGE)),
        ("images sent, where each task brings its own", lambda n, _s: _bytes(cells * n * _IMAGE)),
        ("images sent, where each of 64 nodes gets them once", lambda n, _s: _bytes(_GPUS * n * _IMAGE)),
    ]
    lines = [(label, *(told(n, n // _BATCH) for n in (_USUAL, _WHOLE))) for label, told in rows]
    return "\n".join(
        (
            "## A study of ImageNet-1k, on paper\n",
            f"{_DEFENSES} defenses x {_ATTACKS} attacks in shards of {_BATCH} images of 3 x 224 x 224 on {_GPUS} GPUs. "
            "Straight lines through the points above, carried on; nothing of it was run.\n",
            _table(lines, ("", f"{_USUAL:,} images", f"{_WHOLE:,} images")),
            f"One shard keeps the driver busy for {busy * 1e3:.1f} ms, {wait * 1e3:.1f} ms of them for the disk: "
            f"{_GPUS} GPUs wait for it only if their shards take less than {_GPUS * busy:.2f} s each.\n",
        )
    )


def _table(lines: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True) + "\n"


def _megabytes(count: float) -> str:
    return f"{count / _MB:.1f} MB"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / _MB:.0f} MB"


def _span(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.1f} s"


def _draw(found: Mapping[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    # Text stays text, and the same numbers give the same bytes.
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9, "font.family": "sans-serif"}
    sweeps = [name for name in _VARIED if name in found]
    figure, axes = plt.subplots(1, len(sweeps), figsize=(3.1 * len(sweeps), 3.0), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], sweeps, strict=True):
        for (phase, points), marker in zip(_in_order(found[name]), "os^", strict=False):
            shown = "wall" if name == "workers" else "cpu"
            label = f"{phase}: {name}^{exponent(points, shown):.2f}"
            x, y = ([point[key] for point in points] for key in ("at", shown))
            axis.loglog(x, y, marker=marker, markersize=4, linewidth=1.2, label=label)
        axis.set_xlabel(name)
        axis.set_ylabel("seconds of wall time" if name == "workers" else "seconds of CPU")
        if name == "workers":  # a few numbers close together, where logarithms have no ticks
            axis.set_yscale("linear")
            axis.set_ylim(bottom=0)
            axis.set_xticks(x, [str(each) for each in x])
        axis.minorticks_off()
        axis.grid(visible=True, which="major", color="0.85", linewidth=0.6)
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
