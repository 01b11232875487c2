"""`results/FOLDER/page.toml`: what the README of a folder of results shows, and in which words.

    title = "CIFAR-10"
    note = "Markdown; every number is a placeholder: {{ accuracy('atop', 'blind', 'Linf:8/255') }}"

    [[tables]]                  # at least one
    columns = ["standard", "autoattack", "blind@Linf"]      # as of bench table --columns
    defenses = "at,atop"        # which rows; all of them if left out
    [[compared]]                # two defenses, image by image
    a = "atop"
    b = "at"
    columns = "standard,autoattack,stadv"
    [[claims]]                  # what a study claims
    study = "atop-claims"       # a name, or a TOML file of the repository
    results = "cifar10-claims"  # the folder of its verdicts; this one if left out

Every part may have a `title` and a `note`, and `n` where the folder holds results for several numbers of images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from bench.catalogue.toml_file import read_toml
from bench.errors import BenchError, brief, unknown

ROOT = Path(__file__).resolve().parents[3]
NAME = "page.toml"


@dataclass(frozen=True)
class Shown:
    """A table of defenses by attacks.

    Attributes:
        columns: names as of `bench table --columns`; or of a worst case over some attacks only, with its own head:
            `{ head = "unseen, as published", attacks = "blind", column = "worst-unseen" }`.
        defenses: labels of the rows.
    """

    columns: list[Any]
    defenses: str = ""
    title: str = ""
    note: str = ""
    n: int = 0


@dataclass(frozen=True)
class Pair:
    """Two defenses that are compared in some of their numbers; each is named as in `columns` of a table."""

    a: str
    b: str
    columns: str
    title: str = ""
    note: str = ""
    n: int = 0


@dataclass(frozen=True)
class Tested:
    """The claims of a study on the verdicts of a folder."""

    study: str
    results: str = ""
    title: str = ""
    note: str = ""
    n: int = 0


@dataclass(frozen=True)
class Page:
    """What a README shows.

    Attributes:
        folder: the results.
        title: its heading.
        note: the text below the commands.
        study: the study whose run measured it; by default the commands name defenses and attacks.
        networks: the text above the table of networks.
    """

    folder: Path
    title: str
    note: str = ""
    study: str = ""
    networks: str = ""
    tables: tuple[Shown, ...] = ()
    compared: tuple[Pair, ...] = ()
    claims: tuple[Tested, ...] = ()

    @property
    def root(self) -> Path:
        """Return the repository."""
        return self.folder.parent.parent

    def verdicts_of(self, tested: Tested) -> Path:
        """Return the folder whose verdicts test some claims."""
        return self.folder.parent / (tested.results or self.folder.name)


_PARTS: Mapping[str, type] = {"tables": Shown, "compared": Pair, "claims": Tested}
_TEXTS = ("title", "note", "study", "networks")
_NOUNS = {str: "text", int: "a whole number", list: "a list"}


def pages(root: Path = ROOT) -> list[Page]:
    """Return the page of every folder of results that has a `page.toml`, by name."""
    return [read(path) for path in sorted((root / "results").glob(f"*/{NAME}"))]


def read(path: Path) -> Page:
    """Read one `page.toml`.

    Raises:
        BenchError: no TOML, an unknown or missing key, a value of another type, or a number that was typed by hand.
    """
    held = read_toml(path, "page", "docs/results-folder.md says what it holds")
    for key in held:
        if key not in (*_TEXTS, *_PARTS):
            raise unknown(f"key of {_name(path)}", key, (*_TEXTS, *_PARTS))
    texts = {key: _of(path, key, held[key], str) for key in _TEXTS if key in held}
    if not texts.get("title"):
        raise BenchError(f"{_name(path)} has no title: name what the folder holds")
    parts = {
        key: tuple(_part(path, f"{key}[{at}]", row, kind) for at, row in enumerate(_of(path, key, held[key], list)))
        for key, kind in _PARTS.items()
        if key in held
    }
    if not parts.get("tables"):
        raise BenchError(f"{_name(path)} has no [[tables]]: say which columns its README shows")
    page = Page(path.parent, **texts, **parts)
    _require_no_numbers(path, page)
    return page


Part = TypeVar("Part")


def _part(path: Path, where: str, row: object, kind: type[Part]) -> Part:
    if not isinstance(row, dict):
        raise BenchError(f"{_name(path)}: {where} is {brief(row)}, not a table: write [[{where.partition('[')[0]}]]")
    types = {"str": str, "int": int, "list[Any]": list}
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    for key in row:
        if key not in known:
            raise unknown(f"key of {where} in {_name(path)}", key, known)
    for key, each in known.items():
        if each.default is MISSING and key not in row:
            raise BenchError(f"{_name(path)}: {where} has no {key}: it needs {key} = ...")
    return kind(**{key: _of(path, f"{where}.{key}", value, types[str(known[key].type)]) for key, value in row.items()})


def _of(path: Path, key: str, value: Any, kind: type) -> Any:  # noqa: ANN401  (checked here)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BenchError(f"{_name(path)}: {key} = {brief(value)} must be {_NOUNS[kind]}")
    return value


# What may hold digits without being a number that was measured: placeholders, code, links, names such as L2 or 8/255.
_EXEMPT = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|`[^`]*`|\]\([^)]*\)|\[arXiv:[\d.]+", re.S)
_NUMBER = re.compile(r"(?<![\w/:.,-])[+-]?\d[\d,.]*(?![\w/-])")


def _require_no_numbers(path: Path, page: Page) -> None:
    """Raise a BenchError if a text holds a number that nothing computes: it would stay when the verdicts change."""
    for part in (page, *page.tables, *page.compared, *page.claims):
        for text in (part.note, getattr(part, "networks", "")):
            found = _NUMBER.search(_EXEMPT.sub(" x ", text))
            if found:
                raise BenchError(
                    f"{_name(path)}: the number {found[0]!r} is typed by hand: write a placeholder such as "
                    "{{ accuracy('at', 'autoattack', 'Linf:8/255') }}, or `code` if nothing measured it"
                )


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
