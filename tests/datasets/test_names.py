"""The names of the datasets."""

from __future__ import annotations

from bench.datasets.load import known


def test_known_names_are_listed() -> None:
    """What `--dataset` understands."""
    assert known() == ("digits", "cifar10", "cifar100", "imagenette-160", "imagenette-320", "imagefolder:PATH")
