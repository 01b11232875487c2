"""A file from the network, on a server that we make up: whole, or not there at all."""

import io
import urllib.request

import pytest

from bench.defenses.adapters.download import fetch
from bench.errors import BenchError


@pytest.fixture
def server(monkeypatch):
    """Answer every request with some bytes, or fail after them."""

    def answer(content, error=None):
        class Answer(io.BytesIO):
            def read(self, size=-1):
                found = super().read(size)
                if error is not None and not found:
                    raise error
                return found

        monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Answer(content))

    return answer


def test_what_was_sent_is_there_and_folders_are_made(server, tmp_path):
    content = bytes(range(256)) * 1000
    server(content)

    fetch("https://somewhere/file", tmp_path / "a" / "b" / "file.pt")

    assert (tmp_path / "a" / "b" / "file.pt").read_bytes() == content
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file.pt"]


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>too many downloads", b"\n  <HTML>", b"<html lang=en>"])
def test_a_web_page_is_no_file(server, tmp_path, page):
    server(page)

    with pytest.raises(BenchError, match="the server sent a web page, not the file"):
        fetch("https://somewhere/file", tmp_path / "file.pt")

    assert list(tmp_path.iterdir()) == []


def test_a_line_that_breaks_leaves_nothing_and_takes_nothing_away(server, tmp_path):
    """The file that was there before stays as it is."""
    (tmp_path / "file.pt").write_bytes(b"old")
    server(b"half of", error=ConnectionResetError())

    with pytest.raises(ConnectionResetError):
        fetch("https://somewhere/file", tmp_path / "file.pt")

    assert [path.name for path in tmp_path.iterdir()] == ["file.pt"]
    assert (tmp_path / "file.pt").read_bytes() == b"old"
