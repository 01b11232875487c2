"""Downloads of datasets; nothing else in `bench.datasets` uses the network."""

from __future__ import annotations

import errno
import hashlib
import http.client
import shutil
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from bench.datasets import unpacking
from bench.datasets.archives import ARCHIVES, Archive
from bench.datasets.load import data_folder
from bench.datasets.names import FOLDER_PREFIX
from bench.errors import BenchError, one_line, unknown
from bench.machine.system import whole


def download(name: str, data: Path | None = None) -> tuple[Path, bool]:
    """Download the archive of a dataset, check its size and SHA-256, and unpack it.

    An archive that is in the data folder already, whoever put it there, is unpacked and not fetched
    again. The unpacked folder appears under its name whole, or not at all.

    Returns:
        The folder of the dataset, and whether it is new.

    Raises:
        BenchError: the name has no download, there is no network, the file is not the published one, or
            the data folder cannot be written.
    """
    archive = _archive(name)
    folder = data_folder(data)
    target = folder / archive.folder
    if target.is_dir():
        return target, False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder} cannot be made ({one_line(error)}): name another folder with --data") from None
    _fetch(name, archive, folder)
    _unpack(archive, folder)
    return target, True


def archive_of(name: str, folder: Path) -> Path:
    """Return the archive that a dataset in a folder was unpacked from."""
    return folder.parent / ARCHIVES[name].file


def _archive(name: str) -> Archive:
    if name == "digits":
        raise BenchError("dataset 'digits' comes with scikit-learn: there is nothing to download")
    if name.startswith(FOLDER_PREFIX):
        raise BenchError(f"dataset {name!r} is a folder of yours: name one of {', '.join(ARCHIVES)} to download")
    if name not in ARCHIVES:
        raise unknown("dataset to download", name, ARCHIVES)
    return ARCHIVES[name]


_PATIENCE = 20  # seconds without an answer
_PIECE = 1 << 20


def _fetch(name: str, archive: Archive, folder: Path) -> None:
    """Have the published archive in the folder: as it lies there, else from the network, whole or not at all."""
    target = folder / archive.file
    try:
        if target.is_file() and target.stat().st_size == archive.size:
            with target.open("rb") as file:
                if _sha256(_pieces(file)) == archive.sha256:
                    return
        request = urllib.request.Request(archive.url, headers={"User-Agent": "atop-bench"})  # noqa: S310  (https)
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            if archive.url.startswith("https:") and not answer.geturl().startswith("https:"):
                raise ValueError(f"it leads to {answer.geturl()}, which is not encrypted")
            with whole(target) as file:
                sha = hashlib.sha256()
                left = archive.size
                for piece in _pieces(answer):
                    left -= len(piece)
                    if left < 0:
                        raise ValueError(f"what is there is longer than the {archive.size:,} bytes of the archive")
                    sha.update(piece)
                    file.write(piece)
                if left or sha.hexdigest() != archive.sha256:
                    raise ValueError("what is there is not the published archive: its SHA-256 is another one")
    except (OSError, ValueError, http.client.HTTPException) as error:
        _let_pass_no_space(error)
        raise BenchError(
            f"{name} cannot be downloaded from {archive.url} ({one_line(error)}): put {archive.file} "
            f"(md5 {archive.md5}) into {folder} and repeat the command; --dataset digits needs no files"
        ) from None


def _pieces(file: BinaryIO) -> Iterable[bytes]:
    return iter(lambda: file.read(_PIECE), b"")


def _sha256(pieces: Iterable[bytes]) -> str:
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
    return sha.hexdigest()


def _unpack(archive: Archive, folder: Path) -> None:
    """Unpack under a temporary name and move the result: a folder under its own name is complete."""
    beside = Path(tempfile.mkdtemp(prefix=f".{archive.folder}.", suffix=".part", dir=folder))
    try:
        unpacking.unpack(folder / archive.file, archive.folder, beside / "content")
        (beside / "content" / archive.folder).replace(folder / archive.folder)
    except (unpacking.Refused, tarfile.TarError, EOFError, OSError) as error:
        _let_pass_no_space(error)
        raise BenchError(f"{folder / archive.file} cannot be unpacked ({one_line(error)}): remove it") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _let_pass_no_space(error: Exception) -> None:
    """Raise the error again if the disk is full: the command line reports that for all commands."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise error
