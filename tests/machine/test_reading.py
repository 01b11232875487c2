"""Files of other people are read within bounds, which are asked for before anything is held in memory."""

import json
import os
import zipfile
from decimal import Decimal

import pytest
import torch

from bench.errors import BenchError
from bench.machine import reading as _reading


def test_a_missing_file_and_a_folder_are_left_to_who_reads_them(tmp_path):
    _reading.require_modest(tmp_path / "missing", 1, "card")
    _reading.require_modest(tmp_path, 1, "card")
    _reading.require_modest(tmp_path / "\0", 1, "card")


def test_a_file_may_have_so_many_bytes_and_no_more(tmp_path):
    path = tmp_path / "card.json"
    path.write_bytes(bytes(10))

    _reading.require_modest(path, 10, "card")
    with pytest.raises(BenchError, match=r"^card '.*card.json' has 10 bytes, at most 9 are read: name another$"):
        _reading.require_modest(path, 9, "card")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes in folders")
def test_a_pipe_and_a_device_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", tmp_path.__class__("/dev/zero")):
        with pytest.raises(BenchError, match="is a device or a pipe, no file"):
            _reading.require_modest(path, 10, "card")


@pytest.mark.parametrize("deep", [_reading.DEEPEST, _reading.DEEPEST + 1, 200_000])
@pytest.mark.parametrize("kind", ["[]", "{}"])
def test_json_may_be_so_deep_and_no_deeper(deep, kind):
    text = "[" * deep + "]" * deep if kind == "[]" else '{"a":' * (deep - 1) + "{}" + "}" * (deep - 1)

    if deep <= _reading.DEEPEST:
        assert _reading.json_of(text) == json.loads(text)
    else:
        with pytest.raises(ValueError, match="nested more than 32 levels deep"):
            _reading.json_of(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "[" * 40 + "]" * 40, ".".join("a" * 50) + " = 1"])
def test_toml_may_be_no_deeper_however_it_is_written(text):
    with pytest.raises(ValueError, match="nested more than 32 levels deep"):
        _reading.toml_of(text)


def test_toml_keeps_decimals_as_they_are_asked_for():
    assert _reading.toml_of("a = 70.10\n[b]\nc = 1", Decimal) == {"a": Decimal("70.10"), "b": {"c": 1}}


def test_an_archive_may_unpack_to_so_much_and_is_not_read_to_find_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(1000))
        file.writestr("more", bytes(1000))
    size = (tmp_path / "a.zip").stat().st_size

    _reading.require_modest_zip(tmp_path / "a.zip", "archive", ratio=1, free=2000)
    _reading.require_modest_zip(tmp_path / "a.zip", "archive", ratio=2000 // size + 1, free=0)
    with pytest.raises(BenchError, match=rf"would unpack from {size} to 2,000 bytes"):
        _reading.require_modest_zip(tmp_path / "a.zip", "archive", ratio=1, free=1999)
    (tmp_path / "no.zip").write_bytes(b"PK")
    _reading.require_modest_zip(tmp_path / "no.zip", "archive")


def test_tensors_come_back_as_they_were_saved_also_where_several_share_their_numbers(tmp_path):
    one = torch.arange(6.0).view(2, 3)
    torch.save({"a": one, "b": [one.t(), {"c": one[0]}], "n": 3}, tmp_path / "a.pt")

    found = _reading.tensors(tmp_path / "a.pt", "weights")

    assert torch.equal(found["a"], one)
    assert torch.equal(found["b"][0], one.t())
    assert found["n"] == 3


@pytest.mark.parametrize("version", ["2.9.1", "2.6.0+cu118", "1.13"])
def test_an_older_torch_is_not_trusted_with_the_files_of_others(tmp_path, monkeypatch, version):
    torch.save({}, tmp_path / "a.pt")
    monkeypatch.setattr(torch, "__version__", version)

    with pytest.raises(BenchError, match=r"may run code that such a file holds: pip install 'torch>=2.10'"):
        _reading.tensors(tmp_path / "a.pt", "weights")


def test_a_tensor_that_only_says_how_large_it_is_is_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**9)}, tmp_path / "a.pt")
    with pytest.raises(BenchError, match=r"declares tensors of 4,000,000,000 bytes"):
        _reading.tensors(tmp_path / "a.pt", "weights")
    torch.save({"w": torch.empty(3, device="meta")}, tmp_path / "b.pt")
    with pytest.raises(BenchError, match="a tensor without numbers"):
        _reading.tensors(tmp_path / "b.pt", "weights")
