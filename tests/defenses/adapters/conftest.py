"""A zoo of tiny models, color images to judge them on, and no network."""

import urllib.request

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bench import _compat
from bench.defenses.adapters.pretrained import network
from tests.defenses.adapters.models import ARCH, SPEC, Pair, Tiny


@pytest.fixture(scope="module")
def color(tmp_path_factory):
    """A folder of ten classes of small color images, as a dataset."""
    root = tmp_path_factory.mktemp("color")
    random = np.random.default_rng(0)
    for label in range(10):
        folder = root / "test" / f"class-{label}"
        folder.mkdir(parents=True)
        for number in range(2):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return f"imagefolder:{root}"


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No network, and caches of our own."""

    def unreachable(*args, **options):
        raise OSError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _offline(offline):
    """None of these tests may fetch anything."""


@pytest.fixture
def trained():
    """A network of torchvision with weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = network(ARCH, SPEC)
    return net.eval()


@pytest.fixture
def zoo(monkeypatch):
    """RobustBench with a few tiny models in it."""
    _compat.robustbench()
    from robustbench.model_zoo import model_dicts
    from robustbench.model_zoo.architectures.utils_architectures import normalize_model
    from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel

    cifar10, imagenet = model_dicts[BenchmarkDataset.cifar_10], model_dicts[BenchmarkDataset.imagenet]
    models = cifar10[ThreatModel.Linf]
    monkeypatch.setitem(models, "Tiny2030", {"model": Tiny, "gdrive_id": "one"})
    monkeypatch.setitem(models, "Noisy2030", {"model": lambda: Tiny(0.3), "gdrive_id": "two"})
    pair = {"model": lambda: Pair(Tiny(), Tiny()), "gdrive_id": ["three", "four"]}
    monkeypatch.setitem(models, "Pair2030", pair)
    wide = {
        "model": lambda: normalize_model(
            nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 1000)), [0.5] * 3, [0.5] * 3
        ),
        "gdrive_id": "five",
        "preprocessing": "Res72Crop64",
    }
    monkeypatch.setitem(imagenet[ThreatModel.Linf], "Wide2030", wide)
    return model_dicts
