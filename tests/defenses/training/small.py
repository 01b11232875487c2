"""Small trainings on digits: the data, the pipeline, the checkpoints they start from."""

from __future__ import annotations

from pathlib import Path

import torch

import bench.defenses
from bench.datasets.digits import digits
from bench.defenses.networks import by_name
from bench.defenses.purification import Purified
from bench.defenses.transforms import TRANSFORMS
from bench.threats import ThreatModel

FOLDER = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {path.stem: path for path in FOLDER.glob("*.safetensors")}
LINF = ThreatModel.parse("Linf:0.2")


def pipeline(rt):
    """The purifier as it was before fine-tuning, behind a transform."""
    spec = digits("validation").spec
    classifier, _ = by_name.restore("standard", CHECKPOINTS, spec)
    purifier, _ = by_name.restore("ap", CHECKPOINTS, spec)
    return Purified(TRANSFORMS[rt], purifier, classifier)


def batch(split, n):
    examples = digits(split).first(n)
    return torch.tensor(examples.x), torch.tensor(examples.y)
