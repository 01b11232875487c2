"""The undefended classifier: the network of its checkpoint and nothing else."""

from pathlib import Path

import pytest
import torch

import bench.defenses
from bench.datasets.digits import digits
from bench.defenses import standard
from bench.defenses.networks.by_name import restore
from bench.errors import BenchError

FOLDER = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {"standard": FOLDER / "standard.safetensors"}


def test_its_logits_are_those_of_the_checkpoint():
    examples = digits("validation").first(32)
    network, _ = restore("standard", CHECKPOINTS, examples.spec)
    x = torch.from_numpy(examples.x)

    defense = standard.load(checkpoints=CHECKPOINTS, spec=examples.spec)

    torch.testing.assert_close(defense.model(x), network.eval()(x), rtol=1e-4, atol=1e-4)


def test_it_has_seen_nothing_and_declares_nothing():
    defense = standard.load(checkpoints=CHECKPOINTS, spec=digits("validation").spec)

    assert (defense.trained_on, defense.stochastic) == ((), False)
    assert (defense.base, defense.purifier, defense.surrogate, defense.derandomized) == (None,) * 4


def test_a_larger_network_is_another_checkpoint():
    with pytest.raises(BenchError, match="standard-resnet-18"):
        standard.load(checkpoints=CHECKPOINTS, spec=digits("validation").spec, network="resnet-18")
