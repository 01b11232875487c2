"""The results of two networks, for every test of what can be done with results."""

from __future__ import annotations

import pytest
import torch

import bench
from tests.api.nets import Templates, Watcher, own


class Bent(Templates):
    """Others are broken than by its sibling."""

    def __init__(self):
        super().__init__(seed=0)
        with torch.no_grad():
            self.weight += 0.5 * torch.randn(64, 10, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(folder):
    """Two networks, two attacks, two threat models."""
    return bench.evaluate(
        {"one": Templates(), "two": Bent()},
        ["fgsm", "noise"],
        "Linf:0.03,L2:0.2",
        dataset=own(24),
        checks="none",
        watcher=Watcher(),
        results=folder,
    )
