"""Files of other people, read within bounds: how large they are is asked before any of it is held in memory.

A checkpoint, an archive, a document or a study may come from anybody. None of them is ever executed: tensors are read
from torch files by torch's restricted unpickler, and by nothing else in this package.
"""

from __future__ import annotations

import json
import re
import stat
import tomllib
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

# Bytes that no honest file of its kind reaches.
MOST_SETTINGS = 1 << 20  # a study, a recipe, a card
MOST_DOCUMENT = 64 << 20  # of a results folder: the ids of a million images
MOST_WEIGHTS = 8 << 30
# Levels of tables within tables.
DEEPEST = 32

# Arrays of numbers shrink by less when they are compressed; beneath the second number it does not matter.
_RATIO, _FREE = 100, 64 << 20
# torch compresses nothing, but several tensors may share their numbers.
_SHARED, _SMALL = 4, 1 << 20
# Older ones run code that a file holds, in spite of `weights_only`: CVE-2025-32434, CVE-2026-24747.
_TORCH = (2, 10)


def require_modest(path: Path, most: int, what: str) -> None:
    """Raise a BenchError if a path leads to a device or a pipe, or to a file of more than `most` bytes.

    A path that leads nowhere passes, because who reads it can say better what is missing.
    """
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return
    if stat.S_ISDIR(facts.st_mode):
        return
    if not stat.S_ISREG(facts.st_mode):
        raise BenchError(f"{what} {str(path)!r} is a device or a pipe, no file: name a file")
    if facts.st_size > most:
        raise BenchError(f"{what} {str(path)!r} has {facts.st_size:,} bytes, at most {most:,} are read: name another")


def json_of(text: str | bytes) -> Any:  # noqa: ANN401  (whatever it holds)
    """Parse JSON.

    Raises:
        ValueError: it is none, or is nested too deeply.
    """
    try:
        return _shallow(json.loads(text))
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} levels deep") from None


def toml_of(text: str, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: it is none, or is nested too deeply.
    """
    try:
        found: dict[str, Any] = _shallow(tomllib.loads(text, parse_float=parse_float))
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} levels deep") from None
    return found


def _shallow(data: Any) -> Any:  # noqa: ANN401
    level = [data]
    for _ in range(DEEPEST):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [each for several in inner for each in several]
        if not level:
            return data
    raise RecursionError


def require_modest_zip(path: Path, what: str, ratio: int = _RATIO, free: int = _FREE) -> None:
    """Raise a BenchError if a zip archive unpacks to far more than it has bytes; of its members nothing is read.

    Args:
        path: the archive; one that cannot be read as such passes, because who reads it says what is wrong.
        what: it is, for the message.
        ratio: of what it unpacks to, to what it has, from which on it is refused.
        free: bytes that it may unpack to in any case.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return
    size = path.stat().st_size
    if declared > max(free, ratio * size):
        raise BenchError(
            f"{what} {str(path)!r} would unpack from {size:,} to {declared:,} bytes: it is no honest archive, save the "
            "arrays again"
        )


def tensors(path: Path, what: str) -> Any:  # noqa: ANN401  (containers of tensors, text and numbers)
    """Read a file that torch saved, without executing anything in it; nothing else in this package calls `torch.load`.

    Args:
        path: the file.
        what: it is, for the message.

    Raises:
        BenchError: this torch cannot be trusted with it, or it would fill far more memory than it has bytes.
        Exception: it is damaged, or holds more than tensors; what torch raises.
    """
    import torch

    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < _TORCH:
        raise BenchError(
            f"{what} {str(path)!r}: torch {torch.__version__} may run code that such a file holds: "
            f"pip install 'torch>={'.'.join(map(str, _TORCH))}', or save it as safetensors"
        )
    require_modest(path, MOST_WEIGHTS, what)
    require_modest_zip(path, what, _SHARED, _SMALL)
    # Not `torch.load`, which `bench.defenses.adapters.pickles` replaces while a library reads its own files by it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TorchScript, which is code, and refused next
        found = torch.serialization.load(path, map_location="cpu", weights_only=True)
    size = path.stat().st_size
    declared = 0
    for tensor in _tensors(found):
        if tensor.is_meta:
            raise BenchError(f"{what} {str(path)!r} holds a tensor without numbers (device meta): save them, too")
        declared += tensor.numel() * tensor.element_size()
    # A tensor of one number may say that it repeats it a billion times: whatever copies it would fill the memory.
    if declared > max(_SMALL, _SHARED * size):
        raise BenchError(
            f"{what} {str(path)!r} declares tensors of {declared:,} bytes and has {size:,}: save them with "
            ".contiguous()"
        )
    return found


def _tensors(found: Any) -> list[Tensor]:  # noqa: ANN401
    """Return every tensor in containers of them, each container looked at once."""
    import torch

    seen: set[int] = set()
    told: list[Tensor] = []
    waiting = [found]
    while waiting:
        each = waiting.pop()
        if isinstance(each, torch.Tensor):
            told.append(each)
        elif id(each) not in seen and isinstance(each, Mapping | list | tuple | set):
            seen.add(id(each))
            waiting += each.values() if isinstance(each, Mapping) else each
    return told
