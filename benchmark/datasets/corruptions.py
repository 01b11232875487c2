"""Common corruptions (Hendrycks and Dietterich, ICLR 2019, arXiv:1903.12261) of test images.

Two layouts are read. CIFAR-10-C and CIFAR-100-C as published: `NAME.npy` holds the test images at
severity 1, then at severity 2 and so on, and `labels.npy` lies in the same folder. Folders of images as
in ImageNet-C: `NAME/SEVERITY/CLASS/FILE`, each file under the path of the image it was made from. Nobody
chooses these images to fool a defense: they are a shift of the data, never an attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.datasets.cifar import CIFARS, listing
from bench.datasets.examples import Examples
from bench.datasets.folder import opened
from bench.datasets.load import data_folder
from bench.errors import BenchError, unknown

SEVERITIES = (1, 2, 3, 4, 5)
_LABELS = "labels"
# Tried after the id as it is: ImageNet-C keeps JPEG names, and ids have no suffix.
_SUFFIXES = (".png", ".jpg", ".jpeg", ".JPEG")


def names(folder: Path) -> list[str]:
    """List the corruptions that a folder holds, in alphabetical order.

    Raises:
        BenchError: there is no such folder, or it has neither layout.
    """
    if not folder.is_dir():
        raise BenchError(
            f"--corruptions {str(folder)!r} is no folder: name the one that holds NAME.npy or NAME/SEVERITY/"
        )
    found = {path.stem for path in folder.glob("*.npy")} - {_LABELS}
    found |= {path.parent.name for path in folder.glob("*/1") if path.is_dir()}
    if not found:
        raise BenchError(
            f"--corruptions {str(folder)!r} holds no NAME.npy and no NAME/SEVERITY/CLASS/FILE: see bench doctor"
        )
    return sorted(found)


@dataclass(frozen=True)
class Shift:
    """One corruption, at all severities.

    Attributes:
        folder: the folder of all corruptions.
        name: `fog`, for `fog.npy` or `fog/`.
        data: the folder below which CIFAR itself lies, whose order a `.npy` file follows; empty for
            the default of `data_folder`.
    """

    folder: str
    name: str
    data: str = ""

    def images(self, examples: Examples, severity: int) -> NDArray[np.float32]:
        """Read the corrupted versions of some test images, float32 `[B, C, H, W]` in [0, 1], in their order.

        Raises:
            BenchError: a file is missing or damaged, or was made from other images.
        """
        if severity not in SEVERITIES:
            raise unknown("severity", str(severity), [str(each) for each in SEVERITIES])
        file = Path(self.folder) / f"{self.name}.npy"
        pixels = self._rows(file, examples, severity) if file.is_file() else self._files(examples, severity)
        if pixels.shape != examples.x.shape:
            raise BenchError(f"{self.name} in {self.folder} has images {pixels.shape[1:]}, not {examples.x.shape[1:]}")
        images: NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
        return images

    def _rows(self, file: Path, examples: Examples, severity: int) -> NDArray[np.uint8]:
        stored, labels = _open(file), _open(file.with_name(f"{_LABELS}.npy"))
        place = _places(examples, Path(self.data) if self.data else None)
        size = len(place)
        if stored.ndim != 4 or stored.dtype != np.uint8 or len(stored) != size * len(SEVERITIES):
            raise BenchError(
                f"{file} holds {stored.dtype}{list(stored.shape)}, not uint8[{size * len(SEVERITIES)}, H, W, C]"
            )
        rows = np.array([place[name] for name in examples.ids]) + size * (severity - 1)
        # Equal labels are the only evidence that the rows are in the published order.
        if len(labels) < len(stored) or not np.array_equal(np.asarray(labels)[rows], examples.y):
            raise BenchError(
                f"the labels beside {file} are not those of {examples.dataset}: is it made from other images?"
            )
        return np.ascontiguousarray(stored[rows].transpose(0, 3, 1, 2))

    def _files(self, examples: Examples, severity: int) -> NDArray[np.uint8]:
        root = Path(self.folder) / self.name / str(severity)
        gray = examples.x.shape[1] == 1
        pixels = []
        for name in examples.ids:
            file = _file(root, name)
            try:
                with opened(file) as image:
                    values = np.asarray(image.convert("L" if gray else "RGB"))
            except OSError as error:
                raise BenchError(f"{file} is no image ({error}): unpack the corruptions again") from error
            pixels.append(values[None] if gray else values.transpose(2, 0, 1))
        try:
            return np.stack(pixels)
        except ValueError:
            raise BenchError(f"{root} holds images of several sizes: make them all {examples.x.shape[2:]}") from None


def _open(file: Path) -> NDArray[np.generic]:
    """Map an array on disk into memory; never a pickle, which could execute code."""
    try:
        found: NDArray[np.generic] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        state = "is damaged" if file.is_file() else "is missing"
        raise BenchError(f"{file} {state}: unpack the corruptions again") from error
    return found


def _file(root: Path, name: str) -> Path:
    """Return the file of an id's corrupted image, whatever its image format."""
    found = [path for suffix in ("", *_SUFFIXES) if (path := root / f"{name}{suffix}").is_file()]
    if not found:
        raise BenchError(f"{root} holds no {name}: every test image needs its corrupted version there")
    return found[0]


def _places(examples: Examples, data: Path | None) -> dict[str, int]:
    """Return the position of each test image in the published order, by id."""
    if examples.dataset not in CIFARS or examples.split != "test":
        raise BenchError(
            f"NAME.npy follows the test images of cifar10 or cifar100, not {examples.dataset} {examples.split}"
        )
    cifar = CIFARS[examples.dataset]
    folder = data_folder(data)
    # An image folder of CIFAR will not do: its order is alphabetical.
    if not (folder / cifar.archive.folder).is_dir():
        raise BenchError(
            f"NAME.npy follows the order of {cifar.archive.folder}/, which {folder} lacks: "
            f"unpack {cifar.archive.file} there"
        )
    found, _ = listing(cifar, "test", folder)
    return _index(found.ids)


def _index(ids: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(ids)}
