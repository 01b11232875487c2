"""A network with weights from a file: its logits are those of the weights on images that it normalizes itself."""

import pytest
import torch

from bench.defenses.adapters.normalization import Normalized
from bench.defenses.adapters.pretrained import load, network
from bench.errors import BenchError
from bench.threats import ThreatModel
from tests.defenses.adapters.models import ARCH, SPEC, saved


@pytest.fixture
def checkpoint(tmp_path, trained):
    return {"net": saved(tmp_path / "net.pth", trained.state_dict())}


def test_it_is_loaded_to_be_attacked_and_not_trained(checkpoint, trained):
    """With mean 0 and deviation 1 it is the network itself: nothing stands before it."""
    defense = load(checkpoints=checkpoint, spec=SPEC, arch=ARCH, mean="0", std="1/1/1")
    x = torch.rand(2, *SPEC.shape, generator=torch.Generator().manual_seed(1))

    assert torch.equal(defense.model(x), trained(x))
    assert not isinstance(defense.model, Normalized)
    assert not any(module.training for module in defense.model.modules())
    assert not any(parameter.requires_grad for parameter in defense.model.parameters())


def test_its_normalization_is_a_part_of_it(checkpoint, trained):
    defense = load(checkpoints=checkpoint, spec=SPEC, arch=ARCH, mean="0.5/0.4/0.3", std="0.2")
    x = torch.rand(2, *SPEC.shape, generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(defense.model(x), trained((x - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / 0.2))


def test_what_is_settled_of_it_is_in_its_card_and_its_record(checkpoint):
    told = {"trained_on": "Linf:4/255", "stochastic": "true", "repo": "me/net"}

    defense = load(checkpoints=checkpoint, spec=SPEC, arch=ARCH, mean="0", std="1", **told)

    assert (defense.trained_on, defense.stochastic) == ((ThreatModel.parse("Linf:4/255"),), True)
    assert defense.card.name == ARCH
    assert defense.card.facts == {"mean": "0", "std": "1", **told}


@pytest.mark.parametrize(("mean", "std"), [("0.5/0.5", "1"), ("0", "1/1")])
def test_a_normalization_of_other_channels_is_refused(checkpoint, mean, std):
    with pytest.raises(BenchError, match=f"mean={mean} and std={std} do not fit images of 3 channels"):
        load(checkpoints=checkpoint, spec=SPEC, arch=ARCH, mean=mean, std=std)


def test_an_unknown_library_is_answered_with_its_neighbour():
    with pytest.raises(BenchError, match="unknown library of networks 'torchvison': did you mean torchvision"):
        network("torchvison:resnet18", SPEC)
