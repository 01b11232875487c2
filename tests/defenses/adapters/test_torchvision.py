"""Networks of torchvision: built without a trace, and their weights found or asked for, never fetched."""

import pytest
import torch

from bench import _compat
from bench.defenses.adapters import torchvision
from bench.defenses.adapters.wanted import Wanted
from bench.errors import BenchError
from bench.types import ImageSpec
from tests.defenses.adapters.models import SPEC

SMALL = "shufflenet_v2_x0_5"


def wanted(name=SMALL, spec=SPEC, **parameters):
    return Wanted(name, parameters, "cifar10", spec)


@pytest.mark.parametrize("classes", [2, 10])
def test_it_has_as_many_classes_as_the_dataset_and_draws_from_nobodys_generator(classes):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    model = torchvision.build(SMALL, ImageSpec((3, 32, 32), classes))

    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, classes)
    assert torch.equal(torch.rand(2), expected)


def test_a_file_of_the_users_needs_its_normalization_and_nothing_of_torchvision(tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(b"weights")

    found = torchvision.find(wanted(weights=str(path), norm="half"))

    assert found.files == {SMALL: path}
    assert found.config == {"arch": f"torchvision:{SMALL}", "mean": "0.5", "std": "0.5"}
    assert found.trained_on is None
    with pytest.raises(BenchError, match="say how its images were normalized"):
        torchvision.find(wanted(weights=str(path)))
    with pytest.raises(BenchError, match=r"no file of weights '.*nowhere': check the path"):
        torchvision.find(wanted(weights=str(tmp_path / "nowhere"), norm="half"))


def test_published_weights_are_taken_from_the_cache_with_their_own_normalization(tmp_path, monkeypatch):
    """And it is said that they were trained at another size."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    published = _compat.torchvision().models.get_model_weights(SMALL).DEFAULT
    path = tmp_path / "checkpoints" / published.url.rpartition("/")[2]

    with pytest.raises(BenchError) as error:
        torchvision.find(wanted())
    path.parent.mkdir()
    path.write_bytes(b"weights")
    found = torchvision.find(wanted())

    assert str(path) in str(error.value)
    assert published.url in str(error.value)
    assert found.files == {SMALL: path}
    assert [float(value) for value in found.config["mean"].split("/")] == published.transforms().mean
    assert found.trained_on == ""
    assert found.notes == ("its weights were trained at 224 pixels a side, these images have 32; nothing is resized",)


def test_a_network_without_published_weights_asks_for_a_file(monkeypatch):
    assert torchvision.facts(SMALL, {})["trained at"] == "224 pixels a side"
    monkeypatch.setattr(torchvision, "_weights", lambda name: None)

    assert torchvision.facts(SMALL, {}) == {"weights": "none published: name a file of yours with weights=FILE"}
    with pytest.raises(BenchError, match=r"no weights for .*: name a file of yours, torchvision:.*\[weights=FILE\]"):
        torchvision.find(wanted())


@pytest.mark.parametrize(("size", "notes"), [(0, 0), (32, 0), (224, 1)])
def test_only_another_size_is_worth_a_note(size, notes):
    assert len(torchvision.other_size(size, SPEC)) == notes


def test_an_unknown_network_is_answered_with_its_neighbour():
    with pytest.raises(BenchError, match="unknown network of torchvision 'resnet81': did you mean"):
        torchvision.build("resnet81", SPEC)
