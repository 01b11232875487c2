"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), as torchvision stores them or as image folders.

Both layouts hold the same images under the same ids, so they give the same examples in the same
order and the same digest. Nothing is ever downloaded.
"""

from __future__ import annotations

import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.datasets.folder import scan, subfolders
from bench.datasets.listing import Listing, Rows, held_out
from bench.errors import BenchError

_TEN = "airplane automobile bird cat deer dog frog horse ship truck"
_HUNDRED = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)


@dataclass(frozen=True)
class Cifar:
    """One of the two datasets.

    Attributes:
        classes: the official names, which sort alphabetically into the official labels.
        batches: torchvision's folder.
        torchvision: the name of its class in `torchvision.datasets`.
        archive: what to unpack to get that folder.
    """

    name: str
    classes: tuple[str, ...]
    batches: str
    torchvision: str
    archive: str


CIFARS = {
    "cifar10": Cifar("cifar10", tuple(_TEN.split()), "cifar-10-batches-py", "CIFAR10", "cifar-10-python.tar.gz"),
    "cifar100": Cifar("cifar100", tuple(_HUNDRED.split()), "cifar-100-python", "CIFAR100", "cifar-100-python.tar.gz"),
}


def place(dataset: Cifar, part: str, data: Path) -> Path | None:
    """Where `part` (`train` or `test`) of a dataset lies below `data`; `None` where it is missing."""
    batches = data / dataset.batches
    if batches.is_dir():
        return batches
    own = data / dataset.name / part
    if own.is_dir():
        return own
    # A bare test/ or train/ may be of any dataset: only the class names tell.
    bare = data / part
    return bare if _names(bare) == list(dataset.classes) else None


def listing(dataset: Cifar, split: str, data: Path) -> tuple[Listing, Rows]:
    """The images of a split and the order of its rows.

    `test` is the official one; `validation` is a fixed, balanced 2,000 of the official training
    images, and `train` the other 48,000.
    """
    part = "test" if split == "test" else "train"
    where = place(dataset, part, data)
    if where is None:
        raise BenchError(
            f"no {dataset.name} {part} images in {data} (looked for {dataset.batches}/, {dataset.name}/{part}/CLASS/ "
            f"and {part}/CLASS/): set --data or $BENCH_DATA to the folder that holds them, or use --dataset digits"
        )
    found = _from_batches(dataset, part, where) if where.name == dataset.batches else _from_folder(dataset, where)
    return found, (found.order() if part == "test" else held_out(found, split))


def _names(folder: Path) -> list[str]:
    return [path.name for path in subfolders(folder)]


def _from_folder(dataset: Cifar, folder: Path) -> Listing:
    names = _names(folder)
    if names != list(dataset.classes):
        odd = sorted(set(names) ^ set(dataset.classes))[0]
        what = f"holds {odd!r}, no class of" if odd in names else f"lacks the class folder {odd!r} of"
        raise BenchError(f"{folder} {what} {dataset.name}: use --dataset imagefolder:PATH for other images")
    found = scan(folder, mode="RGB")

    def decode(rows: Sequence[int]) -> NDArray[np.uint8]:
        pixels = found.decode(rows)
        if pixels.shape[1:] != (3, 32, 32):
            size = f"{pixels.shape[3]}x{pixels.shape[2]}"
            raise BenchError(f"images in {folder} are {size}, those of {dataset.name} are 32x32: use imagefolder:PATH")
        return pixels

    return Listing(found.ids, found.y, found.classes, decode)


def _from_batches(dataset: Cifar, part: str, folder: Path) -> Listing:
    """Read torchvision's folder through torchvision, which checks the MD5 of every file first."""
    from bench import repairs

    kind = getattr(repairs.torchvision().datasets, dataset.torchvision)
    check = repairs.torchvision().datasets.utils.check_integrity
    for name, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]:
        file = folder / name
        if not check(str(file), md5):
            state = "is damaged" if file.is_file() else "is missing"
            raise BenchError(
                f"{file} {state} (expected md5 {md5}): unpack {dataset.archive} into {folder.parent} again"
            )
    batches = kind(str(folder.parent), train=part == "train", download=False)
    images: NDArray[np.uint8] = batches.data
    y = np.array(batches.targets, dtype=np.int64)
    files = kind.train_list if part == "train" else kind.test_list
    names = [name for file, _ in files for name in _file_names(folder / file)]
    ids = [f"{dataset.classes[label]}/{name}" for label, name in zip(y, names, strict=False)]
    if len(set(ids)) != len(y):
        ids = [f"{part}-{index:05d}" for index in range(len(y))]

    def decode(rows: Sequence[int]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(images[list(rows)].transpose(0, 3, 1, 2))

    return Listing(ids, y, dataset.classes, decode)


def _file_names(batch: Path) -> list[str]:
    """The original file names in a batch, which torchvision leaves aside.

    They are read off the opcodes of the pickle: nothing in the file is executed.
    """
    with batch.open("rb") as file:
        return [
            arg.removesuffix(".png")
            for _, arg, _ in pickletools.genops(file)
            if isinstance(arg, str) and arg.endswith(".png") and len(arg) < 256
        ]
