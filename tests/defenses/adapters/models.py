"""Models as other libraries have them, made tiny, and commands that name them."""

import os

import torch
from torch import nn

from bench.catalogue import borrowed
from bench.catalogue.request import parse_list
from bench.cli import main
from bench.datasets.load import load
from bench.types import ImageSpec

SPEC = ImageSpec((3, 32, 32), 10)
ARCH = "torchvision:shufflenet_v2_x0_5"


class Tiny(nn.Module):
    """What a zoo may hold: normalization as a buffer, a network, and on request noise."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.register_buffer("mu", torch.full((1, 3, 1, 1), 0.5))
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.fc = nn.Linear(256, 10)
        self.noise = noise

    def forward(self, x):
        x = x + self.noise * torch.randn_like(x)
        return self.fc(self.conv(x - self.mu).relu().flatten(1))


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


class Pair(nn.Module):
    """An ensemble, as the zoo has them."""

    def __init__(self, *models):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x):
        return sum(model(x) for model in self.models)


def reference(text, dataset, weights=None):
    (request,) = parse_list(text, "defense")
    return borrowed.defense_ref(request, load(dataset, "test", n=10), weights)


def run(defenses, dataset, tmp_path, *more):
    """`bench run` on a handful of images, in this process."""
    command = ["run", "--defenses", defenses, "--dataset", dataset, "--attacks", "fgsm", "--threat", "Linf:8/255"]
    return main([*command, "--n", "10", "--executor", "local", "--results", str(tmp_path / "results"), *more])


def saved(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def place(tmp_path, file, content, dataset="cifar10"):
    """A checkpoint where RobustBench's layout has it, below a folder for `--weights`."""
    saved(tmp_path / "robustbench" / dataset / "Linf" / file, content)
    return tmp_path
