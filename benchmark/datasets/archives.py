"""The published archives of the datasets, and the error that names them where images are missing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError


@dataclass(frozen=True)
class Archive:
    """The published file of a dataset.

    Attributes:
        url: where its authors publish it.
        md5: its MD5, as torchvision expects it.
        folder: the folder it unpacks to.
    """

    url: str
    md5: str
    folder: str

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas/"

# MD5 defends against truncated and mixed-up files only; the examples' own SHA-256 is what a verdict is keyed by.
ARCHIVES: Mapping[str, Archive] = {
    "cifar10": Archive(f"{_TORONTO}cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", "cifar-10-batches-py"),
    "cifar100": Archive(f"{_TORONTO}cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", "cifar-100-python"),
    "imagenette-160": Archive(f"{_FASTAI}imagenette2-160.tgz", "e793b78cc4c9e9a4ccc0c1155377a412", "imagenette2-160"),
    "imagenette-320": Archive(f"{_FASTAI}imagenette2-320.tgz", "3df6f0d01a2c9592104656642f5e78a3", "imagenette2-320"),
}


def missing(name: str, part: str, data: Path, places: str) -> BenchError:
    """Return the error for a part of a dataset whose images are in none of the `places` below `data`."""
    archive = ARCHIVES[name]
    return BenchError(
        f"no {name} {part} images in {data} (looked for {places}): set --data or $BENCH_DATA to the folder that holds "
        f"them, run bench download {name} --data {shlex.quote(str(data))}, unpack {archive.file} (md5 {archive.md5}) "
        "there by hand, or use --dataset digits"
    )
