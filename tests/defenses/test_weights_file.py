"""Every way a checkpoint can be wrong is one line that says which; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import re
import struct

import pytest
import safetensors.torch
import torch
from torch import nn

from bench.defenses import weights_file as files
from bench.defenses.networks import by_name
from bench.errors import BenchError
from bench.types import ImageSpec

SPEC = ImageSpec((1, 8, 8), 10)
ARCHITECTURE = {"name": "small-cnn", "width": 4}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return by_name.build(ARCHITECTURE, SPEC)


@pytest.fixture
def path(tmp_path, model):
    """A sound checkpoint with its card."""
    path = tmp_path / "standard.safetensors"
    files.write(path, model.state_dict(), {"name": "standard", "architecture": ARCHITECTURE})
    return path


def failure(path):
    with pytest.raises(BenchError) as caught:
        files.read_state(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_what_is_written_is_read_back_bit_for_bit(path, model):
    """A checkpoint returns the same tensors, and the network built from its card takes them."""
    restored, card = by_name.restore("standard", {"standard": path}, SPEC)

    assert card["architecture"] == ARCHITECTURE
    for key, tensor in model.state_dict().items():
        assert torch.equal(restored.state_dict()[key], tensor), key


def test_the_memory_format_of_a_network_does_not_change_the_file(tmp_path, model):
    """Channels last is how a network was trained, not what it is."""
    files.write(tmp_path / "a.safetensors", model.state_dict(), {})
    files.write(tmp_path / "b.safetensors", model.to(memory_format=torch.channels_last).state_dict(), {})

    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_card_has_sorted_keys_and_the_digest_of_the_weights(path):
    """The card is a text that diffs, and it is tied to its weights."""
    text = path.with_suffix(".json").read_text()

    card = json.loads(text)

    assert text == json.dumps(card, indent=2, sort_keys=True) + "\n"
    assert card["sha256"] == files.sha256(path)


def test_a_write_that_fails_leaves_the_old_checkpoint_and_no_rubbish(path, model, monkeypatch):
    """A full disk in the middle of a write must not cost the weights that were there."""
    before = path.read_bytes()

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)

    with pytest.raises(OSError, match="No space left"):
        files.write(path, nn.Linear(2, 2).state_dict(), {})

    assert path.read_bytes() == before
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["standard.json", "standard.safetensors"]


def test_a_missing_file_says_how_to_get_one(tmp_path):
    """The remedy is a command."""
    assert "no weights at" in failure(tmp_path / "nothing.safetensors")


def test_a_folder_is_no_checkpoint(tmp_path):
    """A path to a folder says so instead of a traceback."""
    assert "cannot be read: Is a directory" in failure(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"PK\x03\x04" + bytes(64), "looks like a torch checkpoint: convert it"),
        (b"\x80\x02}q\x00." + bytes(64), "looks like a torch checkpoint or another pickle: convert it"),
        (b"\n <!DOCTYPE html><html><title>404</title>", r"web page \(HTML\)"),
        (b"<html><body>quota exceeded</body></html>", r"web page \(HTML\)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x93NUMPY\x01\x00v\x00", r"not a safetensors file, it begins with b'\\x93NUMPY"),
        (b"abc", "not a safetensors file, it begins with b'abc'"),
    ],
    ids=["empty", "torch-zip", "pickle", "html", "html-bare", "git-lfs", "numpy", "three-bytes"],
)
def test_a_file_of_another_kind_is_recognized(tmp_path, content, said):
    """The first bytes tell what the file is, and the message what to do about it."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)

    message = failure(path)

    assert re.search(said, message), message


def test_a_real_torch_checkpoint_is_refused_unread(tmp_path, model):
    """`torch.save` writes a pickle in a zip; it is named, never loaded."""
    path = tmp_path / "weights.safetensors"
    torch.save(model.state_dict(), path)

    assert "looks like a torch checkpoint" in failure(path)


@pytest.mark.parametrize("kept", [12, 0.5, -1], ids=["in-header", "half", "last-byte-lost"])
def test_a_truncated_file_is_called_truncated(path, kept):
    """Wherever the download broke off."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])

    assert "truncated" in failure(path)


def test_a_damaged_header_is_called_damaged(path):
    """A header of the right length that is no JSON."""
    content = bytearray(path.read_bytes())
    length = struct.unpack("<Q", content[:8])[0]
    content[9 : 8 + length] = b"?" * (length - 1)
    path.write_bytes(bytes(content))

    assert "truncated or damaged" in failure(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_counted_and_named(path, model, value):
    """A diverged training must not pass as a robust model."""
    state = model.state_dict()
    state["head.weight"][0, :3] = value
    safetensors.torch.save_file(state, path)

    assert "3 NaN or infinite values in 'head.weight'" in failure(path)


def test_missing_and_unexpected_keys_are_both_listed_up_to_five(path, model):
    """The first five keys of each kind, and how many more."""
    state = model.state_dict()
    kept = {f"module.{key}": tensor for key, tensor in state.items() if not key.startswith("head")}

    with pytest.raises(BenchError) as caught:
        files.fill(model, kept, path)

    message = str(caught.value)
    assert "do not fit SmallCNN" in message
    assert message.count("module.features") == 5
    assert f"lacks {', '.join(list(state)[:5])} and {len(state) - 5} more" in message
    assert f"and {len(kept) - 5} more" in message


def test_another_shape_names_the_key_and_both_shapes(path):
    """Weights for ten classes do not load for a hundred."""
    with pytest.raises(BenchError, match=r"'head.weight' has shape \(10, 16\), but SmallCNN needs \(100, 16\)"):
        by_name.restore("standard", {"standard": path}, ImageSpec((1, 8, 8), 100))


def test_weights_for_color_images_do_not_load_for_gray_ones(path):
    """The channels of the first layer are part of the shape."""
    with pytest.raises(BenchError, match=r"'features.0.weight' has shape \(4, 1, 3, 3\), but SmallCNN needs \(4, 3"):
        by_name.restore("standard", {"standard": path}, ImageSpec((3, 8, 8), 10))


def test_a_checkpoint_without_a_card_says_where_it_should_be(path):
    """The architecture is in the card, so there is no network without it."""
    path.with_suffix(".json").unlink()

    with pytest.raises(BenchError, match=r"have no card: .*standard\.json must name their architecture"):
        by_name.restore("standard", {"standard": path}, SPEC)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "standard"}'], ids=["broken", "list", "no-architecture"])
def test_a_card_that_is_no_card_is_named(path, text):
    """A broken card is one line with its path."""
    path.with_suffix(".json").write_text(text)

    with pytest.raises(BenchError, match=r"^card .*standard\.json"):
        by_name.restore("standard", {"standard": path}, SPEC)


def test_a_checkpoint_that_was_not_given_is_named():
    """A loader that lacks one of its weights says which."""
    with pytest.raises(BenchError, match="no checkpoint 'standard' was given"):
        by_name.restore("standard", {}, SPEC)
