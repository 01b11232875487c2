"""Repositories of the Hugging Face hub, from its cache."""

import json
from typing import ClassVar

import pytest
import safetensors.torch
import torch

from bench import _compat
from bench.catalogue.loading import load_defense
from bench.errors import BenchError
from tests.defenses.adapters.models import SPEC, reference


class TestHub:
    """Repositories of the Hugging Face hub, from its cache."""

    COMMIT = "c" * 40

    @pytest.fixture
    def cached(self, tmp_path, monkeypatch):
        """A repository in the cache, as timm writes them; returns a way to put it there at a commit."""
        _compat.torchvision()
        pytest.importorskip("timm")
        import huggingface_hub
        import timm

        cache = tmp_path / "hub"
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        weights = safetensors.torch.save(timm.create_model("lcnet_035", num_classes=10).state_dict())

        def put(commit=self.COMMIT, **told):
            root = cache / "models--me--net"
            (root / "refs").mkdir(parents=True, exist_ok=True)
            (root / "refs" / "main").write_text(commit)
            folder = root / "snapshots" / commit
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(weights)
            (folder / "config.json").write_text(json.dumps(told))

        return put

    TOLD: ClassVar = {"architecture": "lcnet_035", "pretrained_cfg": {"mean": [0.48145466] * 3, "std": [0.25] * 3}}

    def test_a_repository_says_itself_what_it_is(self, cached, color):
        """Network, normalization to the last digit, and the commit."""
        cached(**self.TOLD)

        ref = reference("hf:me/net", color)
        model = load_defense(ref, SPEC).model

        assert ref.config["arch"] == "timm:lcnet_035"
        assert ref.config["revision"] == self.COMMIT
        assert model.mean.flatten().tolist() == torch.tensor([0.48145466] * 3).tolist()

    def test_another_commit_with_the_same_file_is_the_same_defense(self, cached, color):
        cached(**self.TOLD)
        before = reference("hf:me/net", color)
        cached("d" * 40, **self.TOLD)

        after = reference("hf:me/net", color)

        assert (before.digest, after.config["revision"]) == (after.digest, "d" * 40)

    @pytest.mark.parametrize(
        ("name", "told", "says"),
        [
            ("hf:me/net", {}, "names no architecture"),
            (
                "hf:me/net",
                {"architecture": "no_such_net", "pretrained_cfg": {"mean": [0], "std": [1]}},
                "unknown network",
            ),
            ("hf:me/net", {"architecture": "lcnet_035"}, "say how its images were normalized"),
            ("hf:me/net", {"architecture": "lcnet_035", "pretrained_cfg": [1]}, "cannot be settled"),
            ("hf:me/net[arch=tmim:lcnet_035,norm=none]", {}, "did you mean timm"),
            ("hf:me/net[file=other.safetensors]", {}, "hf download me/net other.safetensors"),
            ("hf:me/net[revision=v2]", {}, "--revision v2"),
            ("hf:me/other", {}, "hf download me/other model.safetensors"),
        ],
    )
    def test_what_is_missing_is_one_line(self, cached, color, name, told, says):
        """Offline, at once."""
        cached(**told)

        with pytest.raises(BenchError) as error:
            load_defense(reference(name, color), SPEC)

        assert says in str(error.value)
        assert "\n" not in str(error.value)
