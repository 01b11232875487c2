"""Adversarial purification (AP): a purifier, trained on clean images only, in front of the classifier.

It is the baseline of AToP (Lin et al., ICLR 2024, arXiv:2401.16352): the same purifier before fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import purification
from bench.defenses.networks.by_name import sized
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
    """Load the purifier of checkpoint `ap` under random transform `rt` (`none`, `1`, `2` or `3`), before `classifier`.

    Both checkpoints are those of `network`. If `behind` is given, it is the classifier, and `classifier` is
    only its name.
    """
    held = behind or purification.classifier(sized(classifier, network), checkpoints, spec)
    return purification.load(sized("ap", network), checkpoints=checkpoints, spec=spec, rt=rt, behind=held)
