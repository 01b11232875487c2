"""Adversarial purification: a purifier that has only seen clean images before the classifier.

The baseline of AToP (Lin et al., ICLR 2024, arXiv:2401.16352), before its fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import purified
from bench.defenses.networks import sized
from bench.types import Defense, ImageSpec


def load(
    *,
    checkpoints: Mapping[str, Path],
    spec: ImageSpec,
    rt: str = "none",
    classifier: str = "standard",
    network: str = "small",
    behind: Defense | None = None,
) -> Defense:
    """The purifier of checkpoint `ap` under random transform `rt` (`none`, `1`, `2` or `3`), before `classifier`.

    Both are those of `network`. Where `behind` is given, `classifier` is only what it is called.
    """
    held = behind or purified.classifier(sized(classifier, network), checkpoints, spec)
    return purified.load(sized("ap", network), checkpoints=checkpoints, spec=spec, rt=rt, behind=held)
