"""Normalization is inside the model, and never guessed."""

import re

import pytest
import torch

from bench.catalogue.loading import load_defense
from bench.defenses.adapters import normalization
from bench.errors import BenchError
from tests.defenses.adapters.models import ARCH, SPEC, reference, saved


class TestNormalization:
    """It is inside the model, and never guessed."""

    def test_it_is_inside(self, tmp_path, trained, color):
        """The logits are the network's own of normalized images."""
        path = saved(tmp_path / "net.pth", trained.state_dict())
        ref = reference(f"{ARCH}[weights={path},mean=0.5/0.4/0.3,std=0.2]", color)

        model = load_defense(ref, SPEC).model

        x = torch.rand(2, *SPEC.shape, generator=torch.Generator().manual_seed(1))
        normalized = (x - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / 0.2
        assert torch.equal(model(x), trained(normalized))
        assert not torch.equal(model(x), trained(x))

    @pytest.mark.parametrize(
        ("parameters", "says"),
        [
            ("", "say how its images were normalized: norm=imagenet|cifar10"),
            (",norm=imagnet", "did you mean imagenet"),
            (",norm=half,mean=0", "leave them out"),
            (",mean=0.5", "mean and std go together"),
            (",mean=0.5/0.5,std=1", "does not fit images of 3 channels"),
            (",mean=0,std=0/1/1", "does not fit"),
            (",mean=a/b/c,std=1", "no list of numbers"),
            (",mean=nan,std=1", "no list of numbers"),
        ],
    )
    def test_what_is_missing_or_wrong_is_said(self, tmp_path, trained, color, parameters, says):
        path = saved(tmp_path / "net.pth", trained.state_dict())

        with pytest.raises(BenchError, match=re.escape(says)):
            reference(f"{ARCH}[weights={path}{parameters}]", color)

    @pytest.mark.parametrize("preset", normalization.PRESETS)
    def test_every_preset_is_numbers_for_color(self, preset):
        told = normalization.asked_for({"norm": preset}, 3, "")

        assert all(normalization.numbers(text) for text in told.values())
