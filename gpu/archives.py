"""Images from archives, which may arrive over several calls: `cifar10-test.zip`, `cifar10-train-0.zip`, ...

An archive `DATASET-ANYTHING.zip` holds `SPLIT/CLASS/IMAGE`. It is unpacked once, below the folder for
`bench run --data`, and not needed afterwards.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from bench.errors import BenchError
from bench.machine.reading import require_modest_zip

DATASETS = ("cifar10", "cifar100")


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
    for dataset in DATASETS:
        for split in ("train", "test"):
            count = sum(1 for _ in (data / dataset / split).glob("*/*"))
            if count:
                counts[f"{dataset} {split}"] = count
    return counts


def _unpack(archive: Path, data: Path) -> None:
    dataset = archive.name.partition("-")[0]
    if dataset not in DATASETS:
        return
    # A marker with the size of the archive: a truncated copy that was sent again is unpacked again.
    done = data / f".{archive.name}.{archive.stat().st_size}"
    if done.exists():
        return
    try:
        require_modest_zip(archive, "archive")
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                place = PurePosixPath(member.filename)
                if member.is_dir():
                    continue
                if place.is_absolute() or ".." in place.parts or "\\" in member.filename:
                    raise BenchError(f"archive {archive}: {member.filename!r} does not lie in it")
                target = (data / dataset).joinpath(*place.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as content, target.open("wb") as out:
                    shutil.copyfileobj(content, out)
    except (zipfile.BadZipFile, OSError) as error:
        raise BenchError(f"archive {archive} cannot be unpacked ({error}): copy it again") from None
    done.touch()
