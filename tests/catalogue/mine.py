"""Models in a file of the user's, and what they depend on."""

from __future__ import annotations

import sys

from bench.catalogue import loading
from bench.threats import ThreatModel
from bench.types import ImageSpec

DIGITS = ImageSpec((1, 8, 8), 10)
MODEL = """
import json, os, pathlib, torch
from torch import nn

class Model(nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.shift, self.weights = shift, [torch.linspace(-1, 1, 640).view(64, 10)]  # a list: no state_dict holds it

    def forward(self, x):
        return x.flatten(1) @ self.weights[0].roll(self.shift, 1)
"""
SOURCES = {
    "a file that it reads": MODEL
    + "\ndef build():\n    return Model(json.loads(pathlib.Path('setting.json').read_text()))\n",
    "the environment": MODEL + "\ndef build():\n    return Model(int(os.environ.get('SHIFT', '1')))\n",
    "an imported neighbor": MODEL + "\nimport neighbor\n\ndef build():\n    return Model(neighbor.SHIFT)\n",
}
FAST = ["--attacks", "fgsm", "--threat", "Linf:0.2", "--n", "16", "--checks", "none", "--executor", "local"]


def forget():
    """As another process would find it: nothing imported, nothing loaded."""
    from bench.harness import task

    for name in [name for name in sys.modules if name.startswith("_bench_custom_") or name == "neighbor"]:
        del sys.modules[name]
    loading._load_defense.cache_clear()
    task._networks.clear()
    sys.path_importer_cache.clear()


LINF = ThreatModel.parse("Linf:0.2")


def examples():
    from bench.datasets.digits import digits

    return digits("test").first(16)
