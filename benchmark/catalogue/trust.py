"""Code in a file that nobody typed: a study of somebody else, or a variable of the environment, may name one.

Who types `--defenses ./mine.py:build` has chosen that file, and it runs. A file that is only named by another one runs
after its digest was typed once, with `--trust`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.catalogue.identity import of_file, of_text
from bench.catalogue.request import Request, parse_list
from bench.errors import BenchError

# Enough for nobody to write another file with the same beginning.
_SHORTEST = 16


def require_trusted(text: str, kind: str, origin: str, trusted: Iterable[str]) -> None:
    """Raise a BenchError for the first file of code in a list that nobody has typed, nor its digest.

    Args:
        text: a list of defenses or attacks.
        kind: which of both.
        origin: who names them, for the message: `study 'theirs.toml'`.
        trusted: the digests that were typed.

    Raises:
        BenchError: a file is not trusted, or does not exist, or a digest is none.
    """
    known = tuple(each.strip().lower() for each in trusted if each.strip())
    for each in known:
        if len(each) < _SHORTEST or set(each) - set("0123456789abcdef"):
            raise BenchError(f"--trust {each!r} is no SHA-256 of code: give the one that the refusal names")
    for path in _files(parse_list(text, kind)):
        digest = of_code(path)
        if not any(digest.startswith(each) for each in known):
            raise BenchError(
                f"{origin} names {str(path)!r}, which is code and was not run: read it, then add --trust {digest}"
            )


def of_code(path: Path) -> str:
    """Return the SHA-256 of a file of code; of it and the modules beside it that it imports, if there are any."""
    from bench.catalogue.user_file import read_along  # brings torch

    own, along = of_file(path), read_along(path)
    return of_text(own, along) if along else own


def _files(requests: Iterable[Request]) -> list[Path]:
    return [Path(request.name.partition(":")[0]) for request in requests if request.is_file]
