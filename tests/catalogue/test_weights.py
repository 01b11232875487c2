"""Where checkpoints are looked for, and what is said of those that are not there."""

import pytest
import safetensors.torch
import torch

from bench.catalogue import DEFENSES, resolve
from bench.catalogue.loading import load_defense
from bench.catalogue.request import Request
from bench.catalogue.selection import Selection
from bench.catalogue.weights import card, require_learned, shipped
from bench.checks import installation
from bench.datasets.digits import digits
from bench.defenses import weights_file
from bench.errors import BenchError
from bench.harness import matrix
from bench.threats import ThreatModel

DIGITS = (ThreatModel.parse("Linf:0.2"), ThreatModel.parse("L2:1"), ThreatModel.parse("stadv:0.4"))


def build(defenses="all", attacks="all", threats=DIGITS, n=20, **more):
    request = Selection.of(defenses, attacks, threats)
    return matrix.build(request, digits("test").first(n), **more)


def test_missing_weights_name_the_command_that_makes_them(tmp_path):
    entry = DEFENSES.get("atop")

    with pytest.raises(BenchError, match="bench train atop --dataset elsewhere --set rt=1"):
        resolve.locate(entry.weight_names(entry.config)[-1], "elsewhere", tmp_path)


def test_the_command_for_an_image_folder_asks_for_its_path(tmp_path):
    """`imagefolder-pets` is what results are filed under, not what can be typed."""
    with pytest.raises(BenchError, match="'bench train ap --dataset imagefolder:PATH'"):
        resolve.locate("ap", "imagefolder-pets", tmp_path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, r"is no folder: name one that holds digits/at.safetensors"),
        (lambda folder: folder.write_text(""), r"is no folder"),
        (lambda folder: (folder / "digits" / "at.safetensors").mkdir(parents=True), r"at.safetensors' is no file"),
    ],
    ids=["nowhere", "a file", "a directory for a file"],
)
def test_weights_that_were_named_and_are_not_there_are_no_reason_to_take_others(make, said, tmp_path):
    """`--weights` that leads nowhere scored the shipped weights, as if they were the user's."""
    folder = tmp_path / "weights"
    make(folder)

    with pytest.raises(BenchError, match=said):
        build("at", "fgsm", weights=folder)


def test_a_defense_that_falls_back_on_shipped_weights_says_so(tmp_path):
    """A folder may hold some of the checkpoints; whose the others are is a note beside the number."""
    (tmp_path / "digits").mkdir()

    (planned,) = build("at", "fgsm", DIGITS[:1], weights=tmp_path)

    assert planned.cell.defense.notes == (f"at is taken from the shipped weights: there is none in {tmp_path}",)
    assert build("at", "fgsm", DIGITS[:1])[0].cell.defense.notes == ()


@pytest.fixture
def halved(tmp_path):
    """The shipped `at` of the digits in half precision, as `bench train` with `half=true` writes it."""
    source = shipped() / "digits" / "at.safetensors"
    path = tmp_path / "digits" / "at.safetensors"
    path.parent.mkdir()
    weights_file.write(path, weights_file.read_state(source), card(source), half=True)
    return path


def test_weights_in_half_precision_are_another_defense_that_computes_in_float32(halved):
    """Their digest is that of the rounded bytes; nothing that an attack sees is in half precision."""
    rounded = resolve.defense(Request("at", {}), "digits", halved.parent.parent)
    before = resolve.defense(Request("at", {}), "digits", None)
    one, other = (load_defense(ref, digits("test").spec).model.state_dict() for ref in (rounded, before))

    stored = safetensors.torch.load_file(halved)
    assert {each.dtype for each in stored.values() if each.is_floating_point()} == {torch.float16}
    assert rounded.weights["at"] == card(halved)["sha256"] != before.weights["at"]
    assert rounded.digest != before.digest
    assert rounded.notes == ()
    floating = [key for key in one if one[key].is_floating_point()]
    assert {one[key].dtype for key in floating} == {torch.float32}
    assert all(torch.allclose(one[key], other[key], rtol=1e-2, atol=1e-3) for key in floating)
    assert not all(torch.equal(one[key], other[key]) for key in floating)


def test_weights_in_half_precision_are_examined_like_any_other(halved):
    """`bench doctor` holds them to their card, and a layer of zeros is found in two bytes a number, too."""
    (fine,) = installation._weights(halved.parent.parent)
    require_learned(halved)
    state = safetensors.torch.load_file(halved)
    (first, *_) = (key for key, tensor in state.items() if tensor.ndim > 1)
    safetensors.torch.save_file({**state, first: -torch.zeros_like(state[first])}, halved)

    (wrong,) = installation._weights(halved.parent.parent)

    assert (fine.state, fine.text) == ("ok", "1 match their cards: digits/at")
    assert wrong.state == "problem"
    with pytest.raises(BenchError, match=f"of '{first}' of . layers are 0"):
        require_learned(halved)
