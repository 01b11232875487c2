"""Files of the hub, on a client that we make up: from the cache where they are there, and of a commit that is told."""

import sys
from types import SimpleNamespace

import pytest

from bench.defenses.adapters import snapshots
from bench.errors import BenchError

CACHED = "/cache/models--me--net/snapshots/abc123/model.safetensors"


@pytest.fixture
def hub(monkeypatch):
    """A client; returns what it was asked, and how it answers: `{local_files_only: path or error}`."""
    asked, answers = [], {}

    def hf_hub_download(repo, file, revision=None, local_files_only=False):
        asked.append((repo, file, revision, local_files_only))
        answer = answers[local_files_only]
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = SimpleNamespace(
        hf_hub_download=hf_hub_download,
        constants=SimpleNamespace(HF_HUB_OFFLINE=False, ENDPOINT="https://hub.invalid"),
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    monkeypatch.setattr(snapshots.urllib.request, "getproxies", lambda: {"https": "proxy"})
    return SimpleNamespace(asked=asked, answers=answers, constants=client.constants)


def test_what_is_in_the_cache_is_taken_as_it_is(hub, capsys):
    """The network is not asked for a newer one."""
    hub.answers[True] = CACHED

    path, commit = snapshots.fetch("me/net", "model.safetensors", "v2")

    assert (str(path), commit) == (CACHED, "abc123")
    assert hub.asked == [("me/net", "model.safetensors", "v2", True)]
    assert capsys.readouterr().err == ""


def test_what_is_missing_is_fetched_and_said(hub, capsys):
    hub.answers.update({True: FileNotFoundError(), False: CACHED})

    path, _ = snapshots.fetch("me/net", "model.safetensors", None)

    assert str(path) == CACHED
    assert [local for *_, local in hub.asked] == [True, False]
    assert capsys.readouterr().err == "fetching model.safetensors of me/net from the Hugging Face hub\n"


def test_without_a_network_that_is_known_at_once(hub, monkeypatch):
    """The client would try for half a minute."""
    hub.answers[True] = FileNotFoundError()
    monkeypatch.setattr(snapshots.urllib.request, "getproxies", dict)

    def unknown(host, port):
        raise OSError(f"no address of {host}")

    monkeypatch.setattr(snapshots.socket, "getaddrinfo", unknown)

    with pytest.raises(BenchError) as error:
        snapshots.fetch("me/net", "net.bin", "v2")

    assert str(error.value) == (
        "no net.bin of me/net in the cache of the Hugging Face hub, and none fetched (OSError: no address of "
        "hub.invalid): run 'hf download me/net net.bin --revision v2' where there is a network"
    )
    assert len(hub.asked) == 1


def test_offline_nothing_is_announced(hub, capsys):
    hub.answers.update({True: FileNotFoundError(), False: RuntimeError("offline mode is on. Turn it off")})
    hub.constants.HF_HUB_OFFLINE = True

    with pytest.raises(BenchError, match=r"\(RuntimeError: offline mode is on\)"):
        snapshots.fetch("me/net", "net.bin", None)

    assert capsys.readouterr().err == ""


def test_a_file_outside_of_the_cache_is_of_no_commit(hub):
    hub.answers[True] = "/somewhere/model.safetensors"

    assert snapshots.fetch("me/net", "model.safetensors", None)[1] == ""
