"""Figures as files: PDF and PGF for LaTeX, SVG, and PNG for everything else."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.machine.system import write_whole
from bench.report.figures import pgf
from bench.report.figures.style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What tells the time or the version of matplotlib: without it the same results give the same bytes.
_NOT_TOLD = {
    ".pdf": ("CreationDate", "Creator", "Producer"),
    ".png": ("Software",),
    ".svg": ("Date", "Creator", "Format", "Type"),
}
SUFFIXES = (*_NOT_TOLD, ".pgf")

# Dots per inch of a PNG file, enough for print.
_DPI = 300


def require_suffix(path: Path, option: str = "--out") -> None:
    """Raise a BenchError unless figures can be written to a file of this name, which this option gave."""
    if path.suffix.lower() not in SUFFIXES:
        raise BenchError(f"{option} {str(path)!r} is no file for a figure: end its name in {', '.join(SUFFIXES)}")


def save(figure: Figure, path: Path | str) -> Path:
    """Write a figure in the format that its suffix names, whole or not at all; the same figure gives the same bytes.

    PDF holds its fonts as TrueType. SVG has its letters as outlines: it looks alike everywhere. PNG has 300 dots per
    inch and a white ground. PGF needs no LaTeX to be written (`bench.report.figures.pgf`).

    Returns:
        The path.

    Raises:
        BenchError: another suffix, a folder that cannot be written, or PGF of a figure that holds images.
    """
    path = Path(path)
    require_suffix(path)
    with styled():
        content = _content(figure, path.suffix.lower())
    try:
        write_whole(path, content)
    except OSError as error:
        raise BenchError(f"{str(path)!r} cannot be written ({error.strerror}): name another file") from error
    return path


def _content(figure: Figure, suffix: str) -> bytes:
    import matplotlib as mpl

    # Type 3 fonts, matplotlib's default, are refused by most conferences.
    mpl.rcParams.update(
        {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "atop-bench", "pgf.rcfonts": False}
    )
    if suffix == ".pgf":
        try:
            return pgf.drawn(figure).encode()
        except ValueError as error:
            raise BenchError("a PGF file cannot hold images of pixels: take .pdf instead") from error
    file = io.BytesIO()
    looks: dict[str, Any] = {"dpi": _DPI, "facecolor": "white"} if suffix == ".png" else {}
    figure.savefig(file, format=suffix[1:], metadata=dict.fromkeys(_NOT_TOLD[suffix]), **looks)
    return file.getvalue()
