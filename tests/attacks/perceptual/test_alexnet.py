"""AlexNet as the network that bounds the perceptual attacks: torchvision's, and only where it is on disk."""

import pytest
import torch

from bench import _compat
from bench.attacks.perceptual.alexnet import FILE, AlexNet
from bench.attacks.perceptual.ball import distance
from bench.attacks.perceptual.lpa import LPA
from bench.attacks.perceptual.ppgd import PPGD
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense

ATTACKS_HERE = pytest.mark.parametrize("attack", [PPGD(), LPA(steps=20)], ids=["ppgd", "lpa"])


@pytest.fixture
def attack_on(stream):
    """Run an attack on a defense; returns `x_adv`, the proof and the oracle."""

    def run(attack, subject, x, y, threat):
        oracle = Oracle(subject, len(x), scope=("test",))
        x_adv, proof = attack.propose(oracle, x, y, ThreatModel.parse(threat), stream=stream(len(x)))
        return x_adv, proof, oracle

    return run


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder of `torch.hub` of our own, and what is to be put there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder / FILE


def test_weights_that_are_not_there_are_asked_for_and_not_downloaded(attack_on, small_cnn, hub):
    x = torch.rand(1, 3, 32, 32)

    with pytest.raises(BenchError, match=f"needs torchvision's AlexNet weights in .*{FILE}, and nothing is downloaded"):
        attack_on(LPA(network="alexnet"), Defense(small_cnn(channels=3)), x, torch.zeros(1).long(), "lpips:0.5")


@pytest.mark.parametrize("content", [b"not a checkpoint", b""])
def test_another_file_is_refused(attack_on, small_cnn, hub, content):
    hub.write_bytes(content)
    x = torch.rand(1, 3, 32, 32)

    with pytest.raises(BenchError, match="does not hold the weights of torchvision's AlexNet"):
        attack_on(LPA(network=str(hub)), Defense(small_cnn(channels=3)), x, torch.zeros(1).long(), "lpips:0.5")


def test_images_too_small_for_alexnet_are_refused(attack_on, small_cnn, hub):
    with pytest.raises(BenchError, match="images of 31 pixels a side, these are 1x8x8"):
        attack_on(
            PPGD(network="alexnet"), Defense(small_cnn()), torch.rand(1, 1, 8, 8), torch.zeros(1).long(), "lpips:0.5"
        )


@ATTACKS_HERE
@pytest.mark.parametrize("channels", [1, 3])
def test_alexnet_bounds_where_its_weights_are(attack_on, small_cnn, hub, attack, channels):
    """Color and gray, 32 x 32; the attack is bounded by it and by nothing else."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(AlexNet().state_dict(), hub)
    model = small_cnn(channels=channels)
    x = torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)

    x_adv, proof, _ = attack_on(type(attack)(steps=3, network="alexnet"), Defense(model), x, y, "lpips:0.1")

    assert isinstance(proof.network, AlexNet)
    assert attack.violations(x, x_adv, proof, ThreatModel.parse("lpips:0.1")) == []
    assert distance(proof.network, x, x_adv).max() > 0.05
    assert all(weight.grad is None for weight in proof.network.parameters())


def test_alexnet_is_torchvisions(hub):
    """Its checkpoint loads, and the five rectified activations are the same, after the normalization of ImageNet."""
    models = _compat.torchvision().models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = models.alexnet(weights=None).eval()
    torch.save(theirs.state_dict(), hub)
    ours = AlexNet().eval()
    ours.load_state_dict({name: theirs.state_dict()[name] for name in ours.state_dict()})
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    scaled = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    found = ours(x)

    assert [tuple(layer.shape[1:]) for layer in found] == [
        (64, 15, 15),
        (192, 7, 7),
        (384, 3, 3),
        (256, 3, 3),
        (256, 3, 3),
    ]
    for layer, end in zip(found, (2, 5, 8, 10, 12), strict=True):
        assert torch.allclose(layer, theirs.features[:end](scaled), atol=1e-6)
