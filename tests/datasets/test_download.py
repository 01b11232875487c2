"""`bench download`, from archives on disk: what is fetched, checked, unpacked, and said without a network."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.datasets import archives
from bench.datasets.archives import ARCHIVES, Archive
from bench.datasets.download import download
from bench.errors import BenchError

NAME = "imagenette-160"


def known(file: Path, url: str, folder: str = "imagenette2-160") -> Archive:
    """The published archive that a file is."""
    content = file.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return Archive(url, md5, hashlib.sha256(content).hexdigest(), len(content), folder)


def packed(file: Path, folder: str) -> None:
    """An archive of one file in a folder."""
    with tarfile.open(file, "w:gz") as archive:
        member = tarfile.TarInfo(f"{folder}/val/a.txt")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"image"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """An archive behind a URL of this machine."""
    (tmp_path / "web").mkdir()
    packed(tmp_path / "web" / "imagenette2-160.tgz", "imagenette2-160")
    monkeypatch.setenv("no_proxy", "*")
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/imagenette2-160.tgz"
        monkeypatch.setitem(archives.ARCHIVES, NAME, known(tmp_path / "web" / "imagenette2-160.tgz", url))
        yield ARCHIVES[NAME]
        server.shutdown()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise urllib.error.URLError("[Errno -2] Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def test_a_download_is_checked_unpacked_and_said(published: Archive, tmp_path: Path, capsys: Any) -> None:
    """The folder appears under its name; nothing else but the archive stays."""
    data = tmp_path / "my data"

    status = main(["download", NAME, "--data", str(data)])

    out = capsys.readouterr().out
    assert status == 0
    assert (data / "imagenette2-160" / "val" / "a.txt").read_text() == "image"
    assert sorted(path.name for path in data.iterdir()) == ["imagenette2-160", "imagenette2-160.tgz"]
    assert f"bench run --dataset {NAME} --data '{data}'" in out


def test_what_is_there_is_left_alone(published: Archive, tmp_path: Path, offline: None) -> None:
    """Nobody's files are written over, and no network is asked."""
    (tmp_path / "imagenette2-160").mkdir()

    assert download(NAME, tmp_path) == (tmp_path / "imagenette2-160", False)
    assert list((tmp_path / "imagenette2-160").iterdir()) == []


def test_without_a_network_one_line_says_which_file_belongs_where(tmp_path: Path, offline: None, capsys: Any) -> None:
    """URL, reason, file, MD5, folder, and what needs no files."""
    status = main(["download", "cifar10", "--data", str(tmp_path)])

    err = capsys.readouterr().err
    assert status == 2
    assert err == (
        "bench: cifar10 cannot be downloaded from https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz "
        "(URLError: <urlopen error [Errno -2] Name or service not known>): put cifar-10-python.tar.gz "
        f"(md5 c58f30108f718f92721af3b95e74349a) into {tmp_path} and repeat the command; "
        "--dataset digits needs no files\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_archive_put_there_by_hand_is_unpacked_without_a_network(
    published: Archive, tmp_path: Path, offline: None
) -> None:
    """What the line above asks for is enough."""
    (tmp_path / published.file).write_bytes((tmp_path / "web" / published.file).read_bytes())

    folder, is_new = download(NAME, tmp_path)

    assert is_new
    assert (folder / "val" / "a.txt").is_file()


def test_another_file_than_the_published_one_is_never_unpacked(
    published: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its SHA-256 and its size tell, and nothing of it stays."""
    for other, why in (
        (replace(published, sha256="0" * 64), "not the published archive"),
        (replace(published, size=published.size + 1), "not the published archive"),
        (replace(published, size=published.size - 1), "longer than"),
    ):
        monkeypatch.setitem(archives.ARCHIVES, NAME, other)

        with pytest.raises(BenchError, match=rf"cannot be downloaded from http:.*{why}.*\(md5 "):
            download(NAME, tmp_path / "data")

        assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("harm", ["no archive", "another folder"])
def test_an_archive_that_does_not_unpack_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    """A folder that is there is complete."""
    file = tmp_path / "imagenette2-160.tgz"
    packed(file, "elsewhere")
    if harm == "no archive":
        file.write_bytes(file.read_bytes()[:-30])
    monkeypatch.setitem(archives.ARCHIVES, NAME, known(file, f"http://localhost/{file.name}"))

    with pytest.raises(BenchError, match=rf"^{file} cannot be unpacked \(.*\): remove it$"):
        download(NAME, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "comes with scikit-learn: there is nothing to download"),
        ("imagefolder:pets", "is a folder of yours: name one of cifar10, cifar100, imagenette-160, imagenette-320"),
        ("imagenette", "unknown dataset to download 'imagenette': did you mean imagenette-320 or imagenette-160?"),
    ],
)
def test_what_cannot_be_downloaded_is_one_line(tmp_path: Path, name: str, message: str) -> None:
    """Status 2 at the command line."""
    with pytest.raises(BenchError, match=message.replace("?", r"\?")):
        download(name, tmp_path)
