"""Imagenette (Howard, fast.ai, 2019): ten easy classes of ImageNet, as torchvision stores them.

`imagenette2-160/{train,val}/WNID/*.JPEG` holds 9,469 + 3,925 images whose shorter side is 160 pixels,
`imagenette2-320` the same with 320. `val/` is the test set; validation is held out of `train/`.

`imagenette-160` is the center 160x160 of them, so nothing is resampled. `imagenette-320` is resized and
cropped to 256x256, the images that AToP (arXiv:2401.16352) was trained and evaluated on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.datasets.archives import ARCHIVES, missing
from bench.datasets.folder import refuse_other_names, scan, subfolders
from bench.datasets.framing import PLAIN, Framing
from bench.datasets.listing import Listing, Rows, held_out

# The folders (WordNet ids) and their classes, in the order of the labels.
CLASSES: Mapping[str, str] = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


@dataclass(frozen=True)
class Imagenette:
    """Imagenette at one of its two sizes.

    Attributes:
        side: the side, in pixels, to which its images are resized and cropped by default.
    """

    name: str
    side: int


IMAGENETTES = {
    "imagenette-160": Imagenette("imagenette-160", 160),
    "imagenette-320": Imagenette("imagenette-320", 256),
}


def framed(dataset: Imagenette, asked: Framing) -> tuple[Framing, int]:
    """Return the framing of a dataset's images, always to a square, and the side of that square."""
    resize = asked.resize or dataset.side
    # A user who asks for a smaller resize alone gets a square of that side: crops cannot be larger.
    side = asked.crop or min(dataset.side, resize)
    return Framing(resize, side), side


def label(dataset: Imagenette, asked: Framing) -> str:
    """Return the name of these images in a path: another framing is another dataset.

    A crop that follows from `resize` alone is not repeated: `imagenette-160[resize=64]` and
    `imagenette-160[resize=64,crop=64]` are the same images, `imagenette-160-resize64`.
    """
    framing, side = framed(dataset, asked)
    if framing == Framing(dataset.side, dataset.side):
        return dataset.name
    whole = side == min(dataset.side, framing.resize or dataset.side)
    return f"{dataset.name}{(replace(framing, crop=None) if whole else framing).slug}"


def place(dataset: Imagenette, part: str, data: Path) -> Path | None:
    """Return where `part` (`train` or `test`) lies below `data`; `None` where it is missing."""
    folder = data / ARCHIVES[dataset.name].folder / ("val" if part == "test" else "train")
    return folder if folder.is_dir() else None


def listing(dataset: Imagenette, split: str, data: Path, asked: Framing = PLAIN) -> tuple[Listing, Rows]:
    """List the images of a split, and return the order of its rows with them.

    Raises:
        BenchError: the images are missing, or not in the folders of the ten classes.
    """
    framing, _ = framed(dataset, asked)
    part = "test" if split == "test" else "train"
    folder = place(dataset, part, data)
    if folder is None:
        unpacked = ARCHIVES[dataset.name].folder
        raise missing(dataset.name, part, data, f"{unpacked}/{'val' if part == 'test' else 'train'}/")
    # A subset or another ImageNet folder would shift every label.
    refuse_other_names(folder, [path.name for path in subfolders(folder)], tuple(CLASSES), dataset.name)
    found = replace(scan(folder, mode="RGB", framing=framing), classes=tuple(CLASSES.values()))
    return found, (found.order() if part == "test" else held_out(found, split))
