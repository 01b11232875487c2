"""Networks of timm: for any channels and classes, by names that carry the tag of their weights."""

import importlib.util

import pytest
import torch

from bench.defenses.adapters import snapshots, timm
from bench.defenses.adapters.wanted import Wanted
from bench.errors import BenchError
from bench.types import ImageSpec

pytestmark = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
NAME, TAGGED = "lcnet_050", "lcnet_050.ra2_in1k"
SPEC = ImageSpec((3, 32, 32), 10)


@pytest.mark.parametrize("spec", [SPEC, ImageSpec((1, 32, 32), 3)], ids=["color", "gray"])
def test_it_has_the_channels_and_classes_of_the_dataset_and_draws_from_nobodys_generator(spec):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    model = timm.build(NAME, spec)

    assert model.eval()(torch.zeros(1, *spec.shape)).shape == (1, spec.classes)
    assert torch.equal(torch.rand(2), expected)


def test_a_file_of_the_users_is_of_the_network_and_not_of_timms_weights(tmp_path):
    """The tag behind the dot is left out of what it is called."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"weights")

    found = timm.find(Wanted(TAGGED, {"weights": str(path), "norm": "none"}, "cifar10", SPEC))

    assert found.files == {NAME: path}
    assert found.config == {"arch": f"timm:{NAME}", "mean": "0", "std": "1"}


def test_published_weights_are_those_of_the_hub_at_a_commit(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(snapshots, "fetch", lambda *what: asked.append(what) or (tmp_path / "file", "abc"))

    found = timm.find(Wanted(TAGGED, {"revision": "v1"}, "cifar10", SPEC))

    assert asked == [(f"timm/{TAGGED}", "model.safetensors", "v1")]
    assert found.files == {TAGGED: tmp_path / "file"}
    assert (found.config["arch"], found.config["revision"]) == (f"timm:{TAGGED}", "abc")
    assert found.config["mean"].count("/") == 2
    assert "trained at 224 pixels" in found.notes[0]
    assert timm.facts(TAGGED, {})["weights"] == f"timm/{TAGGED} on the Hugging Face hub, 1000 classes"


@pytest.mark.parametrize(
    ("name", "says"), [("lcnet_05", "unknown network of timm"), (f"{NAME}.ra3_in1k", "did you mean lcnet")]
)
def test_an_unknown_name_or_tag_is_answered_with_its_neighbour(name, says):
    with pytest.raises(BenchError, match=says):
        timm.build(name, SPEC)
