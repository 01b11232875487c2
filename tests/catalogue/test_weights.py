"""Where checkpoints are looked for, and what is said of those that are not there."""

import pytest

from bench.catalogue import DEFENSES, resolve
from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
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
