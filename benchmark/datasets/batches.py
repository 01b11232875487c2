"""The pickled batches that CIFAR is published in, read without executing anything.

A pickle is a program. Our stand-ins answer the few calls that rebuild an array of bytes; a file that
asks for any other call is refused.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHAPE = (3, 32, 32)

# The errors that reading a truncated or foreign pickle can raise.
_BROKEN = (
    *(pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError, ValueError),
    *(MemoryError, OverflowError, RecursionError),
)


@dataclass(frozen=True)
class Batch:
    """One file of CIFAR-10 or CIFAR-100.

    Attributes:
        pixels: uint8 `[n, 3, 32, 32]`.
        labels: int64 `[n]`.
        names: the original file names without suffix; fewer than `n` where the batch has none.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: Sequence[str]


class DamagedError(Exception):
    """A batch cannot be read; the message says which and why."""


def read(file: Path, md5: str, *, labels: str, classes: int) -> Batch:
    """Read a batch and check its MD5.

    Args:
        file: a dictionary with `data` and the labels, pickled by Python 2 or 3.
        md5: that of the published file, in hexadecimal.
        labels: the key of the labels: `labels` or `fine_labels`.
        classes: the number of classes.

    Raises:
        DamagedError: the file is missing, has another MD5, or is not a batch of such images.
    """
    if not file.is_file():
        raise DamagedError(f"{file} is missing (expected md5 {md5})")
    content = file.read_bytes()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DamagedError(f"{file} is damaged (expected md5 {md5})")
    try:
        return parse(content, labels=labels, classes=classes)
    except DamagedError as error:
        raise DamagedError(f"{file} {error}") from None


def parse(content: bytes, *, labels: str, classes: int) -> Batch:
    """Parse the content of a batch, with the arguments and errors of `read`."""
    try:
        # Python 2 pickled text as bytes, so keys and file names come as bytes, too.
        found = _Reader(io.BytesIO(content), encoding="bytes").load()
        entries = {_text(key): value for key, value in found.items()}
        pixels = entries["data"].pixels().reshape(-1, *_SHAPE)
        y = np.array(entries[labels], dtype=np.int64)
        names = [_text(name).removesuffix(".png") for name in entries.get("filenames", ())]
    except _BROKEN as error:
        raise DamagedError(f"is no batch of images ({_reason(error)})") from None
    if y.shape != (len(pixels),) or (len(y) and not 0 <= y.min() <= y.max() < classes):
        raise DamagedError(f"is no batch of images (it needs one label below {classes} for each of {len(pixels)})")
    return Batch(pixels, y, names)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}".rstrip(": ")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class _Kind:
    """A stand-in for `numpy.dtype`: the code of a type, such as `u1`."""

    def __init__(self, code: str | bytes, *rest: object) -> None:
        self.code = _text(code)

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and alignment, which single bytes do not have."""


class _Pixels:
    """A stand-in for `numpy.ndarray`: shape, type and bytes as they were pickled."""

    def __init__(self, *rest: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def pixels(self) -> NDArray[np.uint8]:
        _, shape, kind, is_fortran, content = self.state
        if kind.code != "u1":
            raise ValueError(f"its images are {kind.code}, not bytes")
        # Checked before the reshape: a forged shape must not ask for memory that its bytes do not fill.
        if len(shape) != 2 or shape[1] != math.prod(_SHAPE) or len(content) != math.prod(shape):
            raise ValueError(f"its images are {list(shape)}, not [n, {math.prod(_SHAPE)}]")
        found: NDArray[np.uint8] = np.frombuffer(content, np.uint8)
        return found.reshape((int(shape[0]), int(shape[1])), order="F" if is_fortran else "C")


def _encoded(text: str, encoding: str | bytes) -> bytes:
    """Encode text as `codecs.encode` does, by which Python 3 writes bytes into pickles that Python 2 can read."""
    if _text(encoding) not in ("latin1", "latin-1"):
        raise ValueError(f"unknown encoding {encoding!r}")
    return text.encode("latin-1")


# numpy 2 renamed `core` to `_core`; pickles carry the name of the numpy that wrote them.
_STAND_INS = {
    "numpy.core.multiarray._reconstruct": _Pixels,
    "numpy._core.multiarray._reconstruct": _Pixels,
    "numpy.ndarray": _Pixels,
    "numpy.dtype": _Kind,
    "_codecs.encode": _encoded,
}


class _Reader(pickle.Unpickler):
    """An unpickler that rebuilds plain containers, and arrays of bytes by the stand-ins."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  (whatever the pickle names)
        try:
            return _STAND_INS[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs") from None
