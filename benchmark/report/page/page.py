"""Assemble the page: one HTML file that asks the network for nothing, under a policy that forbids it to."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.catalogue.study import Study
from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.report import claims, curves, ladder, published
from bench.report.leaderboard import ABOUT_RANKS
from bench.report.page import drawings
from bench.report.page.cells import CellRow, cell_rows, script
from bench.report.page.checks import Checked, checked
from bench.report.page.gallery import BUDGET, Pictures, Shelf, shelves
from bench.report.page.matrix import Matrix, interval, matrix, shades
from bench.report.page.provenance import Provenance, provenance
from bench.report.page.standings import Standings, standings
from bench.report.plain import flat
from bench.report.tables import ENOUGH
from bench.results import frame
from bench.results.accuracy import defense_rows
from bench.results.cell import Result
from bench.results.comparison import POWER
from bench.results.housekeeping import RunRecord
from bench.results.judging import Accuracy
from bench.results.ranking import ALPHA
from bench.results.stats import smallest_detectable_drop
from bench.threats import show_fraction

_LIBRARIES = ("jinja2", "itables", "matplotlib")
_TEMPLATES = Path(__file__).parent / "templates"
# Names of a list in the header.
_NAMED = 12
# Of CSV text: more is compressed, so that a large study still fits into one small page.
_PLAIN = 200_000


@dataclass(frozen=True)
class Section:
    """What the page says of one set of images.

    Attributes:
        results: their cells, with one seed.
        ladders: of a study with rungs.
        pictures: the kept images to show.
        unpictured: why there are none; empty where nothing is to be said.
        left_out: columns of stored attacks that the results are without.
    """

    results: tuple[Result, ...]
    ladders: tuple[ladder.Ladder, ...] = ()
    pictures: tuple[Pictures, ...] = ()
    unpictured: str = ""
    left_out: int = 0


@dataclass(frozen=True)
class PageData:
    """Everything that the page is made from.

    Attributes:
        sections: one for each set of images and seed.
        runs: that filled the folder, the oldest first.
        made: by key, what the documents of the finished cells say of their making.
        study: the study that the results are read as, if any.
        version: of the package that makes the page.
    """

    sections: tuple[Section, ...]
    runs: tuple[RunRecord, ...] = ()
    made: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    study: Study | None = None
    version: str = ""


@dataclass(frozen=True)
class CurveTable:
    """Robust accuracy against eps in one family: sizes, and a line for each defense under each attack."""

    family: str
    sizes: tuple[str, ...]
    lines: tuple[tuple[curves.Curve, tuple[Accuracy | None, ...]], ...]


@dataclass(frozen=True)
class View:
    """A section as its template reads it."""

    id: str
    title: str
    facts: tuple[tuple[str, str], ...]
    matrix: Matrix
    standings: Standings
    lines: tuple[Mapping[str, str], ...]
    cells: tuple[CellRow, ...]
    curves: tuple[CurveTable, ...]
    ladders: tuple[ladder.Ladder, ...]
    claims: tuple[claims.ClaimResult, ...]
    published: tuple[published.Beside, ...]
    shelves: tuple[Shelf, ...]
    unpictured: str
    checked: tuple[Checked, ...]
    provenance: Provenance
    drawings: Mapping[str, drawings.Drawing]


def require_libraries() -> None:
    """Raise a BenchError unless the libraries of the page are installed."""
    if any(importlib.util.find_spec(name) is None for name in _LIBRARIES):
        raise BenchError("the page needs jinja2, itables and matplotlib: pip install 'atop-bench[report]'")


def render(data: PageData) -> bytes:
    """Return the page; the same results give the same bytes.

    Raises:
        BenchError: a library of the extra `report` is missing.
    """
    require_libraries()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.filters |= {"percent": _percent, "interval": _interval, "p": "{:.2g}".format}
    own = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    code = script(own)
    views = [_view(f"s{number}", section, data) for number, section in enumerate(data.sections, 1)]
    text = environment.get_template("page.html.j2").render(
        title=_title(data),
        version=data.version,
        views=views,
        runs=data.runs,
        dates=_dates(data.runs),
        csv=_download(frame.encoded(line for view in views for line in view.lines)),
        about={"ranks": ABOUT_RANKS, "ladder": ladder.ABOUT, "claims": claims.ABOUT, "published": published.ABOUT},
        contents=_contents,
        verdict=ladder.verdict,
        policy=_policy(code),
        # Ours, not a user's: the only text that enters the page as it is, with the drawings.
        style=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8") + _shades()),  # noqa: S704
        script=Markup(code),  # noqa: S704
    )
    return text.encode()


def _view(name: str, section: Section, data: PageData) -> View:
    results = section.results
    part = results[0].cell.slice
    found = curves.curves(results)
    study = data.study
    lines = tuple(frame.rows(results))
    return View(
        name,
        f"{flat(part.dataset)} {flat(part.split)}, n = {part.n}, seed {results[0].cell.seed}",
        _facts(results),
        matrix(results, section.left_out),
        standings(results),
        lines,
        tuple(cell_rows(results, lines)),
        tuple(_tables(found)),
        section.ladders,
        tuple(claims.comparisons(results, study)) if study else (),
        tuple(published.beside(results, study)) if study else (),
        tuple(shelves(section.pictures, BUDGET // len(data.sections))),
        section.unpictured,
        tuple(checked(results)),
        provenance(results, data.made),
        drawings.drawn(results, found, section.ladders),
    )


def unblocked(results: Sequence[Result]) -> tuple[Result, ...]:
    """Return the cells of defenses that no check blocks: all that may enter a figure, a curve or a comparison."""
    keys = {each.cell.key for row in defense_rows(results) if not row.blocks for each in row.results.values()}
    return tuple(result for result in results if result.cell.key in keys)


def _contents(view: View) -> list[tuple[str, str]]:
    """Return the parts that a section has: the end of their anchors, and their titles."""
    parts: list[tuple[str, str, object]] = [
        ("matrix", "Defenses by attacks", True),
        ("ranks", "Leaderboard", True),
        ("ladders", "Ladders", view.ladders),
        ("claims", "Claims", view.claims),
        ("published", "Published values", view.published),
        ("forest", "Intervals", view.drawings.get("forest")),
        ("curves", "Accuracy against eps", view.curves),
        ("cost", "Cost", view.drawings.get("cost")),
        ("gallery", "Adversarial images", view.shelves or view.unpictured),
        ("cells", "Every cell", True),
        ("checks", "Checks", True),
        ("provenance", "Provenance", True),
    ]
    return [(name, title) for name, title, there in parts if there]


def _facts(results: Sequence[Result]) -> tuple[tuple[str, str], ...]:
    cells = [result.cell for result in results]
    part = cells[0].slice
    defenses = dict.fromkeys(cell.defense.label for cell in cells)
    attacked = [cell for cell in cells if cell.attack.access != ACCESS and not cell.threat.is_shift]
    attacks = dict.fromkeys(cell.attack.label for cell in attacked)
    threats = dict.fromkeys(str(cell.threat) for cell in attacked)
    drop = smallest_detectable_drop(part.n, ALPHA / 2, POWER)
    told = {
        "images": f"the first {part.n} of {part.dataset} {part.split}"
        + (f"; fewer than {ENOUGH}: smoke numbers, not comparable with a leaderboard" if part.n < ENOUGH else ""),
        "seed": str(cells[0].seed),
        f"{len(defenses)} defense{'s' * (len(defenses) != 1)}": _named(list(defenses)),
        f"{len(attacks)} attack{'s' * (len(attacks) != 1)}": _named(list(attacks)),
        "threat models": ", ".join(threats),
        "smallest difference that can be resolved": f"{100 * drop:.1f} points at best, between two defenses "
        f"on {part.n} images (exact paired test, two-sided, level 5 %, power 80 %)"
        if drop < 1
        else f"none: {part.n} images are too few to separate two defenses",
    }
    return tuple((name, flat(text)) for name, text in told.items() if text)


def _named(names: Sequence[str]) -> str:
    """Return a list that a reader takes in at a glance; the matrix has all names."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED + 2 else ""
    return ", ".join(names[:_NAMED] if more else names) + more


def _tables(found: Sequence[curves.Curve]) -> list[CurveTable]:
    tables = []
    for family in dict.fromkeys(curve.family for curve in found):
        rows = [curve for curve in found if curve.family == family]
        sizes = sorted({eps for curve in rows for eps in curve.points})
        lines = tuple((curve, tuple(map(curve.points.get, sizes))) for curve in rows)
        tables.append(CurveTable(family, tuple(map(_size, sizes)), lines))
    return tables


def _size(eps: Fraction) -> str:
    short = show_fraction(eps)
    return short if len(short) <= 6 else f"{float(eps):.4g}"


def _harmless(value: object) -> object:
    """Return what the page writes of a value: text of others without control characters, before it is escaped."""
    # `Markup` is text, too: ours, which is not to be folded into one line.
    return flat(value) if type(value) is str else value


def _percent(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.value:.1f}"


def _interval(accuracy: Accuracy) -> str:
    return interval(*accuracy.interval)


def _title(data: PageData) -> str:
    if data.study is not None:
        return flat(data.study.title)
    datasets = dict.fromkeys(section.results[0].cell.slice.dataset for section in data.sections)
    return f"Robust accuracy on {flat(', '.join(datasets))}"


def _dates(runs: Sequence[RunRecord]) -> str:
    days = sorted({run.when[:10] for run in runs if run.when})
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""


@dataclass(frozen=True)
class Download:
    """A file within the page: its name, what it is for a reader, and its data URI."""

    name: str
    size: str
    uri: str


def _download(table: bytes) -> Download:
    if len(table) <= _PLAIN:
        kind, name, content = "text/csv;charset=utf-8", "leaderboard.csv", table
    else:
        # Without a time, which gzip would write into its header.
        kind, name, content = "application/gzip", "leaderboard.csv.gz", gzip.compress(table, 9, mtime=0)
    uri = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return Download(name, f"{max(1, round(len(content) / 1000)):,} kB", uri)


def _policy(code: str) -> str:
    """Return the Content-Security-Policy: no request at all, and no script but the one with this digest."""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    rules = {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}'",
        # Drawings have their style in attributes.
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _shades() -> str:
    """Return the rules that color the levels of the matrix, in light, in the dark and on paper."""
    rules = {
        mode: "".join(f".h{at}{{background:{it}}}" for at, it in enumerate(shades(mode))) for mode in ("light", "dark")
    }
    return f"\n{rules['light']}\n@media screen and (prefers-color-scheme:dark){{{rules['dark']}}}\n"
