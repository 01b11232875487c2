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
        md5: its MD5, as torchvision expects it; people know the file by it.
        sha256: its SHA-256, which decides whether it is the file.
        size: its bytes.
        folder: the folder it unpacks to.
    """

    url: str
    md5: str
    sha256: str
    size: int
    folder: str

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas/"

# SHA-256 and size as Keras and fastai's users have them of the same files.
ARCHIVES: Mapping[str, Archive] = {
    "cifar10": Archive(
        f"{_TORONTO}cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        170_498_071,
        "cifar-10-batches-py",
    ),
    "cifar100": Archive(
        f"{_TORONTO}cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        169_001_437,
        "cifar-100-python",
    ),
    "imagenette-160": Archive(
        f"{_FASTAI}imagenette2-160.tgz",
        "e793b78cc4c9e9a4ccc0c1155377a412",
        "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5",
        99_003_388,
        "imagenette2-160",
    ),
    "imagenette-320": Archive(
        f"{_FASTAI}imagenette2-320.tgz",
        "3df6f0d01a2c9592104656642f5e78a3",
        "569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c",
        341_663_724,
        "imagenette2-320",
    ),
}


def missing(name: str, part: str, data: Path, places: str) -> BenchError:
    """Return the error for a part of a dataset whose images are in none of the `places` below `data`."""
    archive = ARCHIVES[name]
    return BenchError(
        f"no {name} {part} images in {data} (looked for {places}): set --data or $BENCH_DATA to the folder that holds "
        f"them, run bench download {name} --data {shlex.quote(str(data))}, unpack {archive.file} (md5 {archive.md5}) "
        "there by hand, or use --dataset digits"
    )
