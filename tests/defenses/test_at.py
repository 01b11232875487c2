"""Adversarially trained classifiers have the architecture of the standard one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import bench.defenses
from bench.datasets.digits import digits
from bench.defenses import at, standard

FOLDER = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {path.stem: path for path in FOLDER.glob("*.safetensors")}


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(128)


def test_at_and_standard_weights_load_in_each_others_place(validation):
    """Same keys and shapes, so what differs between the two is training alone."""
    x = torch.tensor(validation.x)
    swapped = {"standard": CHECKPOINTS["at"], "at": CHECKPOINTS["standard"]}

    for module, twin in ((standard, at), (at, standard)):
        logits = module.load(checkpoints=swapped, spec=validation.spec).model(x)

        assert torch.equal(logits, twin.load(checkpoints=CHECKPOINTS, spec=validation.spec).model(x))
