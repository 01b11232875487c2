"""Framing: images of any size become one size by resizing the shorter side and cropping the center.

Both steps are torchvision's `Resize` and `CenterCrop` on PIL images: the evaluation transforms of
ImageNet, and of AToP (arXiv:2401.16352) on ImageNette. Pillow resamples 8-bit images with fixed-point
weights, so the same decoded image gives the same pixels on every machine. Where a JPEG decoder gives
other pixels, the digest of the examples differs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets.names import FOLDER_PREFIX
from bench.errors import BenchError, unknown

if TYPE_CHECKING:
    from PIL.Image import Image

# A longer side is a typing error that would fill the memory.
LARGEST = 4096

_KEYS = ("resize", "crop")
_BRACKETS = re.compile(r"(?P<name>.+)\[(?P<parameters>[^\[\]]*)\]", re.DOTALL)


@dataclass(frozen=True)
class Framing:
    """The resizing and cropping of every image of a dataset.

    Attributes:
        resize: the length, in pixels, to which the shorter side is scaled, keeping the aspect ratio;
            bilinear with antialiasing. `None` leaves the size unchanged.
        crop: the side, in pixels, of the square that is then cut out of the center; `None` for none.
    """

    resize: int | None = None
    crop: int | None = None

    def __post_init__(self) -> None:
        for key in _KEYS:
            side = getattr(self, key)
            if side is not None and not 1 <= side <= LARGEST:
                raise BenchError(f"{key}={side} is out of range: give 1 to {LARGEST} pixels")
        if self.crop and self.resize and self.crop > self.resize:
            raise BenchError(f"crop={self.crop} is larger than resize={self.resize}: give resize={self.crop} or more")

    @property
    def slug(self) -> str:
        """Return the suffix that the framing adds to a dataset's name in a path: `-resize256-crop224`."""
        return "".join(f"-{key}{side}" for key in _KEYS if (side := getattr(self, key)) is not None)

    def size(self, size: tuple[int, int], path: Path) -> tuple[int, int]:
        """Return the `(width, height)` that framing gives an image of `size`.

        Raises:
            BenchError: the image at `path` is smaller than the crop.
        """
        width, height = self._resized(size)
        if self.crop is None:
            return width, height
        if min(width, height) < self.crop:
            raise BenchError(
                f"image {path} is {width}x{height}, smaller than crop={self.crop}: add resize={self.crop} or more"
            )
        return self.crop, self.crop

    def apply(self, image: Image) -> Image:
        """Resize and crop an image with 8 bits per channel that is at least as large as the crop."""
        from PIL.Image import Resampling

        wanted = self._resized(image.size)
        if image.size != wanted:
            image = image.resize(wanted, Resampling.BILINEAR)
        if self.crop is not None:
            # round() as torchvision does it: halves go to the even neighbor.
            left, top = (round((side - self.crop) / 2) for side in image.size)
            image = image.crop((left, top, left + self.crop, top + self.crop))
        return image

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.resize is None:
            return size
        # The longer side is rounded down, as torchvision's `Resize` does.
        width, height = size
        if width <= height:
            return self.resize, self.resize * height // width
        return self.resize * width // height, self.resize


PLAIN = Framing()


def split(name: str) -> tuple[str, Framing]:
    """Split a dataset's name into the bare name and the framing that its parameters ask for.

    Brackets without `=`, and those of a folder that exists, belong to the name.

    Raises:
        BenchError: a parameter is unknown or not a number of pixels.
    """
    match = _BRACKETS.fullmatch(name)
    if match is None or "=" not in match["parameters"] or _is_folder(name):
        return name, PLAIN
    sides: dict[str, int] = {}
    for pair in match["parameters"].split(","):
        key, equals, text = (part.strip() for part in pair.partition("="))
        if key not in _KEYS:
            raise unknown(f"parameter of dataset {match['name']!r}", key, _KEYS)
        if not equals or re.fullmatch("[0-9]{1,9}", text) is None:
            raise BenchError(f"parameter {pair.strip()!r} of dataset {match['name']!r}: give pixels, as in resize=256")
        if key in sides:
            raise BenchError(f"parameter {key!r} of dataset {match['name']!r} is given twice: give it once")
        sides[key] = int(text)
    return match["name"].rstrip(), Framing(**sides)


def _is_folder(name: str) -> bool:
    if not name.startswith(FOLDER_PREFIX):
        return False
    try:
        return Path(name.removeprefix(FOLDER_PREFIX)).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # too long for a name, a null character, nobody's home
        return False
