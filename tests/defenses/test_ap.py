"""The purifier stands before the standard classifier."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import bench.defenses
from bench.datasets.digits import digits
from bench.defenses import ap, atop, standard

FOLDER = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {path.stem: path for path in FOLDER.glob("*.safetensors")}


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(128)


def test_the_base_of_a_purifier_is_the_standard_classifier(validation):
    """The undefended base of AP and AToP gives the logits of `standard`, to the bit."""
    x = torch.tensor(validation.x)
    plain = standard.load(checkpoints=CHECKPOINTS, spec=validation.spec).model(x)

    for module in (ap, atop):
        defense = module.load(checkpoints=CHECKPOINTS, spec=validation.spec)

        assert torch.equal(defense.base(x), plain)
