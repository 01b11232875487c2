"""Images from archives, which may arrive over several calls: `cifar10-test.zip`, `cifar10-train-0.zip`, ...

An archive `DATASET-ANYTHING.zip` of CIFAR holds `SPLIT/CLASS/IMAGE`, and `imagenette-ANYTHING.zip` holds
`imagenette2-160/SPLIT/WNID/IMAGE`. It is unpacked once, below the folder for `bench run --data`, and not needed
afterwards.
"""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.errors import BenchError
from bench.machine.reading import require_modest_zip


@dataclass(frozen=True)
class Place:
    """Where the images of a dataset lie below the folder of the datasets.

    Attributes:
        folder: holds the splits.
        named: whether the members of its archives begin with that folder.
        splits: folders of its splits.
    """

    folder: str
    named: bool
    splits: tuple[str, str]


# By the first word of an archive's name.
PLACES = {
    "cifar10": Place("cifar10", False, ("train", "test")),
    "cifar100": Place("cifar100", False, ("train", "test")),
    "imagenette": Place("imagenette2-160", True, ("train", "val")),
}


def lay_out(archives: Path | None, data: Path) -> dict[str, int]:
    """Unpack new archives; return the number of images of each dataset and split that are now below `data`.

    Raises:
        BenchError: the folder does not exist, or an archive is no zip file.
    """
    if archives is not None:
        if not archives.is_dir():
            raise BenchError(f"--archives {str(archives)!r} is no folder: name one that holds DATASET-*.zip")
        for archive in sorted(archives.glob("*.zip")):
            _unpack(archive, data)
    counts = {}
    for dataset, place in PLACES.items():
        for split in place.splits:
            count = sum(1 for _ in (data / place.folder / split).glob("*/*"))
            if count:
                counts[f"{dataset} {split}"] = count
    return counts


def _unpack(archive: Path, data: Path) -> None:
    place = PLACES.get(archive.name.partition("-")[0])
    if place is None:
        return
    # A marker with the size of the archive: a truncated copy that was sent again is unpacked again.
    done = data / f".{archive.name}.{archive.stat().st_size}"
    if done.exists():
        return
    try:
        require_modest_zip(archive, "archive")
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                if member.is_dir():
                    continue
                parts = PurePosixPath(member.filename).parts
                inside = parts[0] == place.folder if place.named else parts[0] != "/"
                if not inside or ".." in parts or "\\" in member.filename:
                    raise BenchError(f"archive {archive}: {member.filename!r} does not lie in {place.folder}")
                target = (data / place.folder).joinpath(*parts[1 if place.named else 0 :])
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as content, target.open("wb") as out:
                    shutil.copyfileobj(content, out)
    except (zipfile.BadZipFile, OSError) as error:
        raise BenchError(f"archive {archive} cannot be unpacked ({error}): copy it again") from None
    done.touch()
