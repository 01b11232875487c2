"""Files that a user asks for, held against what is there before anything is read or computed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.errors import BenchError

# The documents of a results folder end so; one more, or another in the place of one, and it cannot be read any more.
_DOCUMENTS = (".json", ".safetensors")


def require_files(named: Mapping[str, Path | None], results: Iterable[Path | None] = ()) -> None:
    """Raise a BenchError unless these files can be written, each to a place of its own.

    Args:
        named: by the option that names it, such as `--csv`; one that is `None` was not asked for.
        results: the results folders that are read.
    """
    given = {option: path for option, path in named.items() if path is not None}
    places: dict[Path, str] = {}
    for option, path in given.items():
        if path.is_dir() or not path.name:
            example = str(path / f"NAME{_usual(option)}")
            raise BenchError(f"{option} {str(path)!r} is a folder: name a file, such as {example!r}")
        if option != "--summary" and path.is_symlink():
            raise BenchError(f"{option} {str(path)!r} is a link to {str(path.resolve())!r}: name the file itself")
        if option != "--summary" and path.exists() and not path.is_file():  # added to, the others are replaced
            raise BenchError(f"{option} {str(path)!r} is a device or a pipe, no file: name a file")
        _require_room(option, path, path.absolute().parent)
        if path.suffix in _DOCUMENTS:
            _require_outside(option, path, results)
        other = places.setdefault(path.resolve(), option)
        if other != option:
            raise BenchError(f"{other} and {option} name the same file {str(path)!r}: name two")


def require_folder(option: str, path: Path | None, results: Iterable[Path | None] = ()) -> None:
    """Raise a BenchError unless files can be written to a folder; it need not be there yet.

    Args:
        option: that names it.
        path: the folder; `None` if it was not asked for.
        results: the results folders that are read, if what is written would be taken for a document of theirs.
    """
    if path is None:
        return
    _require_room(option, path, path.absolute())
    _require_outside(option, path, results)


def require_page(path: Path) -> None:
    """Raise a BenchError unless the name of a page says that it is HTML."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise BenchError(f"--html {str(path)!r} is no name for a page: end it in .html")


def _require_room(option: str, path: Path, folder: Path) -> None:
    """Raise a BenchError if what is to be written to is no folder, or one that cannot be written."""
    # Not `exists`, which does not see a link that leads nowhere.
    above = next((each for each in (folder, *folder.parents) if os.path.lexists(each)), folder)
    if not above.is_dir():
        raise BenchError(f"{option} {str(path)!r}: {above.name!r} is a file: name another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise BenchError(f"{option} {str(path)!r}: {str(above)!r} may not be written: name another folder")


def _require_outside(option: str, path: Path, results: Iterable[Path | None]) -> None:
    place = path.resolve()
    for folder in results:
        if folder is not None and (place == folder.resolve() or folder.resolve() in place.parents):
            said = (
                f"{option} {str(path)!r} lies in the results folder {str(folder)!r}, which could not be read any more"
            )
            raise BenchError(f"{said}: name another place")


def _usual(option: str) -> str:
    """Return the suffix that files of an option have: `--html`, `--csv`; of others any will do."""
    return {"--html": ".html", "--csv": ".csv", "--junit": ".xml", "--badge": ".svg", "--out": ".pdf"}.get(
        option, ".md"
    )
