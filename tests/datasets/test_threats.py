"""The threat models that a dataset is usually studied under."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.datasets.threats import HEADLINE, threat


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", ["Linf:0.2", "L2:1", "stadv:0.4"]),
        ("cifar10", ["Linf:8/255", "L2:0.5", "stadv:0.8"]),
        ("cifar100", ["Linf:8/255", "L2:0.5", "stadv:0.8"]),
        ("imagenette-160", ["Linf:4/255", "L2:2.5", "stadv:4"]),
        ("imagenette-320", ["Linf:4/255", "L2:4", "stadv:6.4"]),
        ("imagenette-320[crop=224]", ["Linf:4/255", "L2:3.5", "stadv:5.6"]),
    ],
)
def test_threats_of_the_named_datasets(name: str, expected: list[str]) -> None:
    """The threat models a study takes where the user names none."""
    assert [str(threat(family, name)) for family in HEADLINE] == expected


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (32, ["Linf:8/255", "L2:0.5", "stadv:0.8"]),
        (64, ["Linf:8/255", "L2:1", "stadv:1.6"]),
        (224, ["Linf:4/255", "L2:3.5", "stadv:5.6"]),
    ],
)
@pytest.mark.parametrize("layout", ["", "test"])
def test_threats_of_an_image_folder_follow_its_size(
    tmp_path: Path, write: Any, side: int, expected: list[str], layout: str
) -> None:
    """At 32x32 they are CIFAR's; L2 and the displacement grow with the image, Linf is ImageNet's above 64."""
    write(tmp_path / layout, count=1, size=side)

    assert [str(threat(family, f"imagefolder:{tmp_path}")) for family in HEADLINE] == expected
