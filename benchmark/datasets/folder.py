"""Image folders in the layout of torchvision's `ImageFolder`: one folder per class.

Classes sort alphabetically into labels. The id of an image is its path below the split without the
suffix, such as `airplane/aeroplane_s_000002`, so the same images as PNG or WebP have the same ids.
Hidden files and files that are not images are skipped.
"""

from __future__ import annotations

import os
import re
import struct
import unicodedata
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.datasets.framing import PLAIN, Framing
from bench.datasets.listing import Listing
from bench.errors import BenchError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"})

# Control characters, lone surrogates (a name that is no UTF-8), line and paragraph separators.
_FORBIDDEN = ("Cc", "Cs", "Zl", "Zp")
# A few bytes may say that they are an image of gigabytes.
_MOST_PIXELS = 1 << 26
_GRAY = ("1", "L", "LA", "La")
# `1`, `class10`, `3-dog`.
_NUMBERED = re.compile(r"(?P<before>[^0-9]*)(?P<number>[0-9]+)[^0-9]*")
# Modes that Pillow converts to RGB without loss of bits; 16-bit and float modes are missing on purpose.
_COLOR = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr")


def subfolders(folder: Path) -> list[Path]:
    """List the visible folders directly below `folder`, alphabetically; none where `folder` does not exist."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    # macOS puts `__MACOSX` into the archives it makes; it would pass for a class.
    found = [folder / name for name in names if name[0] != "." and name != "__MACOSX"]
    return sorted(found, key=lambda path: unicodedata.normalize("NFC", path.name))


def refuse_other_names(folder: Path, names: Sequence[str], classes: Sequence[str], dataset: str) -> None:
    """Refuse class folders that are not those of the dataset: a label is a position in their alphabetical order."""
    odd = sorted(set(names) ^ set(classes))
    if odd:
        what = f"holds {odd[0]!r}, no class of" if odd[0] in names else f"lacks the class folder {odd[0]!r} of"
        raise BenchError(f"{folder} {what} {dataset}: use --dataset imagefolder:PATH for other images")


def out_of_number(names: Sequence[str]) -> tuple[str, str] | None:
    """Find two class names that sort as text against the order of their numbers: `10` before `2`.

    `None` where both orders agree, or where the classes are not numbered: each by one number, after the same letters.
    """
    found = [_NUMBERED.fullmatch(name) for name in names]
    numbered = [match for match in found if match is not None]
    if len(numbered) < len(names) or len({match["before"] for match in numbered}) > 1:
        return None
    return next(((a.string, b.string) for a, b in pairwise(numbered) if int(a["number"]) > int(b["number"])), None)


def scan(folder: Path, *, mode: str | None = None, framing: Framing = PLAIN) -> Listing:
    """List the images of a folder of class folders; only the header of the first one is read.

    Args:
        folder: holds one folder per class.
        mode: `"L"` (one channel) or `"RGB"`; by default that of the first image.
        framing: how every image is resized and cropped; without it all must have the size of the first.

    Raises:
        BenchError: no folder, fewer than two classes, a class without images, or two images with one id.
    """
    if not folder.is_dir():
        raise BenchError(f"{folder} is not a folder: name one that holds a folder of images per class")
    groups = [(path, _images(path)) for path in subfolders(folder)]
    if not groups:
        raise BenchError(f"{folder} holds no class folders: put the images of each class into a folder of its own")
    for path, files in groups:
        if not files:
            raise BenchError(f"class folder {path} holds no image ({_kinds()}): add some or remove the folder")
    if len(groups) == 1:
        raise BenchError(f"{folder} holds one class only, {groups[0][0].name!r}: a classifier needs two or more")
    paths = [path for _, files in groups for path in files]
    ids = [_id(path, folder) for path in paths]
    _refuse_twins(ids, paths)
    y = np.repeat(np.arange(len(groups)), [len(files) for _, files in groups]).astype(np.int64)
    names = [unicodedata.normalize("NFC", path.name) for path, _ in groups]

    def decode(rows: Sequence[int]) -> NDArray[np.uint8]:
        return _decode([paths[row] for row in rows], paths[0], mode, framing)

    return Listing(ids, y, names, decode)


def first_size(folder: Path, framing: Framing = PLAIN) -> tuple[int, int, int]:
    """Return `(channels, height, width)` of the first image below a folder of class folders, after framing."""
    for path in subfolders(folder):
        for first in _images(path)[:1]:
            mode, size = _header(first)
            width, height = framing.size(size, first)
            return (1 if mode == "L" else 3), height, width
    raise BenchError(
        f"{folder} holds no images in class folders: put the images of each class into a folder of its own"
    )


def _images(folder: Path) -> list[Path]:
    """List the images at any depth below a class folder, in a fixed order."""
    found = []
    for place, inner, files in os.walk(folder):
        # In place: `os.walk` descends into what is left of this list.
        inner[:] = [name for name in inner if name[0] != "."]
        found += [Path(place, name) for name in files if name[0] != "." and Path(name).suffix.lower() in SUFFIXES]
    return sorted(found, key=lambda path: unicodedata.normalize("NFC", path.as_posix()))


def _id(path: Path, folder: Path) -> str:
    # macOS may hand out decomposed letters where Linux keeps composed ones.
    name = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
    if not name.isprintable() and any(unicodedata.category(letter) in _FORBIDDEN for letter in name):
        raise BenchError(f"file name {str(path)!r} holds control characters or is not UTF-8: rename it")
    return name


def _refuse_twins(ids: Sequence[str], paths: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for name, path in zip(ids, paths, strict=True):
        if name in seen:
            raise BenchError(f"{seen[name]} and {path} differ by suffix only: rename or remove one of them")
        seen[name] = path


def _kinds() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))


def _decode(paths: Sequence[Path], first: Path, mode: str | None, framing: Framing) -> NDArray[np.uint8]:
    """Decode and frame images, uint8 `[n, C, H, W]`; the folder's first image sets their size and mode."""
    own_mode, size = _header(first)
    mode = mode or own_mode
    width, height = framing.size(size, first)
    pixels = np.empty((len(paths), 1 if mode == "L" else 3, height, width), dtype=np.uint8)
    for row, path in enumerate(paths):
        image = _pixels(path, mode, framing, first, size)
        pixels[row] = image.transpose(2, 0, 1) if image.ndim == 3 else image
    return pixels


def _header(path: Path) -> tuple[str, tuple[int, int]]:
    """Read the mode, `"L"` or `"RGB"`, and `(width, height)` of an image without decoding its pixels."""
    image = opened(path)
    with image:
        return _mode(image, path), image.size


def opened(path: Path) -> Image:
    """Open an image of modest size; its pixels are not decoded yet.

    Raises:
        BenchError: it cannot be read, or says that it has more pixels than any image to classify.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of sizes that are refused below
            image = Image.open(path)
        if image.width * image.height > _MOST_PIXELS:
            image.close()
            raise ValueError(f"it says that it has {image.width} x {image.height} pixels, no image to classify has")
        return image
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> BenchError:
    if type(error).__name__ == "UnidentifiedImageError":
        reason = "not an image" if path.stat().st_size else "0 bytes"
    else:
        reason = " ".join(str(error).split()) or type(error).__name__
    return BenchError(f"image {path} cannot be read ({reason}): replace or remove it")


def _mode(image: Image, path: Path) -> str:
    if image.mode in _GRAY:
        return "L"
    if image.mode in _COLOR:
        return "RGB"
    raise BenchError(f"image {path} has mode {image.mode}, not 8 bits per channel: convert it to 8-bit gray or RGB")


def _pixels(path: Path, mode: str, framing: Framing, first: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode one image to uint8 `[H, W]` or `[H, W, 3]`; of an animation, the first frame."""
    from PIL import Image

    with opened(path) as image:
        if framing.size(image.size, path) != framing.size(size, first):
            raise _uneven(path, image.size, first, size, framing)
        if _mode(image, path) == "RGB" and mode == "L":
            raise BenchError(f"image {path} is in color where {first} is gray: convert one of them")
        try:
            # Converted before it is resized: colors can be averaged, indices into a palette cannot.
            return np.asarray(framing.apply(_opaque(image, path).convert(mode)))
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
            raise _unreadable(path, error) from None


def _uneven(path: Path, size: tuple[int, int], first: Path, other: tuple[int, int], framing: Framing) -> BenchError:
    side = framing.resize or min(other)
    return BenchError(
        f"image {path} is {size[0]}x{size[1]} where {first} is {other[0]}x{other[1]}: make them one size, as with "
        f"--dataset 'imagefolder:PATH[resize={side},crop={side}]'"
    )


def _opaque(image: Image, path: Path) -> Image:
    """Return the image without its alpha channel; refuse an image with real transparency.

    An alpha channel that is opaque everywhere carries nothing. Behind real transparency the
    background's color would be our choice, and part of the image.
    """
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        lowest, _ = image.getchannel("A").getextrema()
        if lowest != 255:
            raise BenchError(f"image {path} is partly transparent: flatten it onto a background")
    return image
