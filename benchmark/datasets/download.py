"""Downloads of datasets; nothing else in `bench.datasets` uses the network."""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

from bench.datasets.archives import ARCHIVES, Archive
from bench.datasets.load import data_folder
from bench.datasets.names import FOLDER_PREFIX
from bench.errors import BenchError, one_line, unknown


def download(name: str, data: Path | None = None) -> tuple[Path, bool]:
    """Download the archive of a dataset through torchvision, check its MD5 and unpack it.

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


def _fetch(name: str, archive: Archive, folder: Path) -> None:
    # Not at the top: torchvision imports torch, and listing what can be downloaded must not.
    from bench import _compat

    tools: Any = _compat.torchvision().datasets.utils
    try:
        tools.download_url(archive.url, str(folder), archive.file, archive.md5)
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        _let_pass_no_space(error)
        raise BenchError(
            f"{name} cannot be downloaded from {archive.url} ({one_line(error)}): put {archive.file} "
            f"(md5 {archive.md5}) into {folder} and repeat the command; --dataset digits needs no files"
        ) from None


def _unpack(archive: Archive, folder: Path) -> None:
    """Unpack under a temporary name and move the result: a folder under its own name is complete."""
    beside = folder / f".{archive.folder}.{os.getpid()}.part"
    try:
        with tarfile.open(folder / archive.file) as file:
            # The MD5 says that this is the published archive; the filter is a second guard where Python has it.
            safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            file.extractall(beside, **safe)  # noqa: S202
        (beside / archive.folder).replace(folder / archive.folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        _let_pass_no_space(error)
        raise BenchError(f"{folder / archive.file} cannot be unpacked ({one_line(error)}): remove it") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _let_pass_no_space(error: Exception) -> None:
    """Raise the error again if the disk is full: the command line reports that for all commands."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise error
