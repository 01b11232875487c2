"""Fetch a dataset where there is a network; nothing else in this package ever does."""

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

    An archive that lies in the data folder already, whoever put it there, is unpacked and not fetched
    again. What was unpacked appears under its name at once and whole, or not at all.

    Returns:
        The folder of the dataset, and whether it is new.

    Raises:
        BenchError: nothing can be downloaded under that name, there is no network, the file is another
            than the published one, or the data folder cannot be written.
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


def _archive(name: str) -> Archive:
    if name == "digits":
        raise BenchError("dataset 'digits' comes with scikit-learn: there is nothing to download")
    if name.startswith(FOLDER_PREFIX):
        raise BenchError(f"dataset {name!r} is a folder of yours: name one of {', '.join(ARCHIVES)} to download")
    if name not in ARCHIVES:
        raise unknown("dataset to download", name, ARCHIVES)
    return ARCHIVES[name]


def _fetch(name: str, archive: Archive, folder: Path) -> None:
    from bench import repairs

    tools: Any = repairs.torchvision().datasets.utils
    try:
        tools.download_url(archive.url, str(folder), archive.file, archive.md5)
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        _let_pass_no_space(error)
        raise BenchError(
            f"{name} cannot be downloaded from {archive.url} ({one_line(error)}): put {archive.file} "
            f"(md5 {archive.md5}) into {folder} and repeat the command; --dataset digits needs no files"
        ) from None


def _unpack(archive: Archive, folder: Path) -> None:
    """Unpack beside the place and move: a folder that is there is complete."""
    beside = folder / f".{archive.folder}.{os.getpid()}.part"
    try:
        with tarfile.open(folder / archive.file) as file:
            # Its MD5 is that of the published file; the filter is there where Python has it.
            safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            file.extractall(beside, **safe)  # noqa: S202
        (beside / archive.folder).replace(folder / archive.folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        _let_pass_no_space(error)
        raise BenchError(f"{folder / archive.file} cannot be unpacked ({one_line(error)}): remove it") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _let_pass_no_space(error: Exception) -> None:
    """A full disk is told as such, in one place for all commands."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise error
