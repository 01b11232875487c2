"""A file from the network, on a server that we make up: whole, or not there at all."""

import io
import urllib.request

import pytest

from bench.defenses.adapters.download import fetch
from bench.errors import BenchError


@pytest.fixture
def server(monkeypatch):
    """Answer every request with some bytes, or fail after them."""

    def answer(content, error=None, leads_to=None):
        class Answer(io.BytesIO):
            def geturl(self):
                return leads_to or "https://somewhere/else"

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


def test_no_address_leads_from_https_to_one_without(server, tmp_path):
    server(b"weights", leads_to="http://somewhere/file")

    with pytest.raises(BenchError, match="it leads to http://somewhere/file, which is not encrypted"):
        fetch("https://somewhere/file", tmp_path / "file.pt")

    assert list(tmp_path.iterdir()) == []


def test_a_file_without_end_is_cut_off_and_removed(server, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.defenses.adapters.download.MOST_WEIGHTS", 1000)
    server(bytes(1001))

    with pytest.raises(BenchError, match="more than 1,000 bytes"):
        fetch("https://somewhere/file", tmp_path / "file.pt")

    assert list(tmp_path.iterdir()) == []
