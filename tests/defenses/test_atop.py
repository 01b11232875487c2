"""AToP takes the purifier that was fine-tuned for its transform."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bench.defenses
from bench.datasets.digits import digits
from bench.defenses import atop
from bench.errors import BenchError

FOLDER = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {path.stem: path for path in FOLDER.glob("*.safetensors")}


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(128)


def test_every_transform_has_a_purifier_of_its_own():
    """AToP under RT2 is fine-tuned for RT2: the shipped purifiers are different files."""
    digests = {name: json.loads(CHECKPOINTS[name].with_suffix(".json").read_text())["sha256"] for name in CHECKPOINTS}

    assert len(set(digests.values())) == len(digests)


@pytest.mark.parametrize("rt", ["none", "1", "2", "3"])
def test_atop_takes_the_purifier_fine_tuned_for_its_transform(rt, validation):
    """Without the weights of this transform those of another one do not step in."""
    others = {name: path for name, path in CHECKPOINTS.items() if name != f"atop-rt{rt}"}

    with pytest.raises(BenchError, match=f"no checkpoint 'atop-rt{rt}'"):
        atop.load(checkpoints=others, spec=validation.spec, rt=rt)


def test_an_unknown_transform_is_named_before_weights_are_looked_for(validation):
    """A mistyped rt is not reported as a missing checkpoint."""
    with pytest.raises(BenchError, match="unknown random transform rt '7'"):
        atop.load(checkpoints=CHECKPOINTS, spec=validation.spec, rt="7")
