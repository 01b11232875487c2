"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), as torchvision stores them or as image folders.

Both layouts hold the same images under the same ids, so they give the same examples in the same
order and the same digest. Pickled batches are checked by MD5 and read without executing them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.datasets import batches
from bench.datasets.archives import ARCHIVES, Archive, missing
from bench.datasets.folder import refuse_other_names, scan, subfolders
from bench.datasets.listing import Listing, Rows, held_out
from bench.errors import BenchError

# The official names, written out: the meta files that hold them may be missing, and are pickles, too.
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
    """CIFAR-10 or CIFAR-100.

    Attributes:
        classes: the official names, whose alphabetical order is that of the official labels.
        labels: the key of these labels in a batch.
        files: the batches of each part in their order, with the MD5 that torchvision expects.
    """

    name: str
    classes: tuple[str, ...]
    labels: str
    files: Mapping[str, tuple[tuple[str, str], ...]]

    @property
    def archive(self) -> Archive:
        return ARCHIVES[self.name]


# The MD5 of every file, as in torchvision's `CIFAR10` and `CIFAR100`.
_FILES_TEN = {
    "train": (
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ),
    "test": (("test_batch", "40351d587109b95175f43aff81a1287e"),),
}
_FILES_HUNDRED = {
    "train": (("train", "16019d7e3df5f24257cddd939b257f8d"),),
    "test": (("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
}

CIFARS = {
    "cifar10": Cifar("cifar10", tuple(_TEN.split()), "labels", _FILES_TEN),
    "cifar100": Cifar("cifar100", tuple(_HUNDRED.split()), "fine_labels", _FILES_HUNDRED),
}


def place(dataset: Cifar, part: str, data: Path) -> Path | None:
    """Return where `part` (`train` or `test`) of a dataset lies below `data`; `None` where it is missing."""
    # The published archive first: only it has the published order, which corruptions in .npy files follow.
    unpacked = data / dataset.archive.folder
    if unpacked.is_dir():
        return unpacked
    own = data / dataset.name / part
    if own.is_dir():
        return own
    # A bare test/ or train/ may be of any dataset: only the class names tell.
    bare = data / part
    return bare if _names(bare) == list(dataset.classes) else None


def listing(dataset: Cifar, split: str, data: Path) -> tuple[Listing, Rows]:
    """List the images of a split, and return the order of its rows with them.

    `test` is the official test set; `validation` is a fixed, balanced 2,000 of the official training
    images, and `train` the other 48,000.
    """
    part = "test" if split == "test" else "train"
    where = place(dataset, part, data)
    if where is None:
        places = f"{dataset.archive.folder}/, {dataset.name}/{part}/CLASS/ and {part}/CLASS/"
        raise missing(dataset.name, part, data, places)
    unpacked = where.name == dataset.archive.folder
    found = _from_batches(dataset, part, where) if unpacked else _from_folder(dataset, where)
    return found, (found.order() if part == "test" else held_out(found, split))


def _names(folder: Path) -> list[str]:
    return [path.name for path in subfolders(folder)]


def _from_folder(dataset: Cifar, folder: Path) -> Listing:
    refuse_other_names(folder, _names(folder), dataset.classes, dataset.name)
    found = scan(folder, mode="RGB")

    def decode(rows: Sequence[int]) -> NDArray[np.uint8]:
        pixels = found.decode(rows)
        if pixels.shape[1:] != (3, 32, 32):
            size = f"{pixels.shape[3]}x{pixels.shape[2]}"
            raise BenchError(f"images in {folder} are {size}, those of {dataset.name} are 32x32: use imagefolder:PATH")
        return pixels

    return Listing(found.ids, found.y, found.classes, decode)


def _from_batches(dataset: Cifar, part: str, folder: Path) -> Listing:
    """Read the batches of one part; the other part may be missing."""
    try:
        read = [
            batches.read(folder / file, md5, labels=dataset.labels, classes=len(dataset.classes))
            for file, md5 in dataset.files[part]
        ]
    except batches.DamagedError as error:
        raise BenchError(f"{error}: unpack {dataset.archive.file} into {folder.parent} again") from None
    pixels = np.concatenate([batch.pixels for batch in read])
    y = np.concatenate([batch.labels for batch in read])
    names = [name for batch in read for name in batch.names]
    ids = [f"{dataset.classes[label]}/{name}" for label, name in zip(y, names, strict=False)]
    # A batch without file names, or with names that repeat, still needs stable ids.
    if len(set(ids)) != len(y):
        ids = [f"{part}-{index:05d}" for index in range(len(y))]

    def decode(rows: Sequence[int]) -> NDArray[np.uint8]:
        return pixels[list(rows)]

    return Listing(ids, y, dataset.classes, decode)
