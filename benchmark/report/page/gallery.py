"""The gallery of the page: clean image, adversarial image and their difference, as PNG within the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# For the whole page, of base64 text: it stays small enough to be sent around, whatever the size of the images.
BUDGET = 600_000
# Images of one cell.
MOST = 4
# How far a small image may be enlarged, in pixels of the screen.
_SIDE = 80
# Larger images are reduced to it: a page is no place for their every pixel.
_LARGEST = 112


@dataclass(frozen=True, eq=False)
class Pictures:
    """Kept images of one cell, the first of its slice.

    Attributes:
        defense, attack, threat: the names of its cell.
        anchor: the first 16 digits of its key.
        clean, adversarial: float32 `[k, C, H, W]` in [0, 1].
        labels: int64 `[k]`.
        predictions: of `clean` and `adversarial`, int64 `[2, k]`; -1 if not known.
    """

    defense: str
    attack: str
    threat: str
    anchor: str
    clean: NDArray[np.float32]
    adversarial: NDArray[np.float32]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]


@dataclass(frozen=True)
class Triple:
    """One image in three pictures, each a data URI.

    Attributes:
        number: its place in the slice, from 1.
        magnified: by how much the difference is; 0 where both images are the same.
        broken: whether the defense is right on the clean image and wrong on the other, as far as is known.
    """

    number: int
    clean: str
    adversarial: str
    difference: str
    magnified: float
    label: int
    said: int
    said_then: int
    broken: bool


@dataclass(frozen=True)
class Shelf:
    """The images of one cell.

    Attributes:
        defense, attack, threat, anchor: as of `Pictures`.
        side: the width at which they are shown, in pixels of the screen.
        reduced: whether they have more pixels than are shown.
        triples: the images.
    """

    defense: str
    attack: str
    threat: str
    anchor: str
    side: int
    reduced: bool
    triples: tuple[Triple, ...]


def shelves(pictures: Sequence[Pictures], budget: int = BUDGET) -> list[Shelf]:
    """Return the shelves whose images fit the budget together, in the given order.

    Every shelf gets the same number of images, at most four, so that a large image takes none of the others away.

    Args:
        pictures: of the cells to show.
        budget: bytes of all data URIs.
    """
    for each in range(MOST, 0, -1):
        found = [_shelf(part, each) for part in pictures]
        if sum(map(_size, found)) <= budget:
            return found
    # Not even one image of each: the first cells only.
    kept: list[Shelf] = []
    for part in pictures:
        shelf = _shelf(part, 1)
        if sum(map(_size, [*kept, shelf])) > budget:
            break
        kept.append(shelf)
    return kept


def _size(shelf: Shelf) -> int:
    return sum(len(each.clean) + len(each.adversarial) + len(each.difference) for each in shelf.triples)


def _shelf(part: Pictures, count: int) -> Shelf:
    height, width = part.clean.shape[2:]
    side = min(_LARGEST, width * max(1, _SIDE // max(height, width)))
    triples = tuple(_triple(part, index) for index in range(min(count, len(part.clean))))
    return Shelf(part.defense, part.attack, part.threat, part.anchor, side, max(height, width) > _LARGEST, triples)


def _triple(part: Pictures, index: int) -> Triple:
    clean, adversarial = part.clean[index].astype(np.float64), part.adversarial[index].astype(np.float64)
    difference = adversarial - clean
    largest = float(np.abs(difference).max())
    # Gray is no change; the largest change of any channel reaches black or white.
    shown = 0.5 + (difference / (2 * largest) if largest else difference)
    label, (said, then) = int(part.labels[index]), (int(answer) for answer in part.predictions[:, index])
    return Triple(
        index + 1,
        png(clean),
        png(adversarial),
        png(shown),
        round(1 / (2 * largest), 1) if largest else 0.0,
        label,
        said,
        then,
        said == label and then not in (label, -1),
    )


def png(image: NDArray[np.float64]) -> str:
    """Return an image `[C, H, W]` in [0, 1] as the data URI of a PNG: gray for one channel, color for three.

    Other numbers of channels have no color; their mean is shown.
    """
    from PIL import Image

    if len(image) not in (1, 3):
        image = image.mean(axis=0, keepdims=True)
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    shown = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    # The mean of the pixels that fall together.
    shown.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX)
    file = io.BytesIO()
    shown.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
