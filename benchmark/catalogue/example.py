"""Complete example files, from which users start a defense or an attack of their own."""

from __future__ import annotations

from pathlib import Path

from bench.errors import unknown

_FOLDER = Path(__file__).parent / "examples"


def example(kind: str) -> str:
    """Return the example of an `attack` or a `defense`: a file that can be saved and run.

    Raises:
        BenchError: there is no example of this kind.
    """
    kinds = [path.stem for path in _FOLDER.glob("*.py")]
    if kind not in kinds:
        raise unknown("example", kind, kinds)
    return (_FOLDER / f"{kind}.py").read_text(encoding="utf-8")
