"""Adversarial purification (AP): a purifier, trained on clean images only, in front of the classifier.

It is the baseline of AToP (Lin et al., ICLR 2024, arXiv:2401.16352): the same purifier before fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import purification
from bench.defenses.networks.by_name import of_purifier, sized
from bench.types import Defense, ImageSpec


def load(
    *,
    checkpoints: Mapping[str, Path],
    spec: ImageSpec,
    rt: str = "none",
    classifier: str = "standard",
    network: str = "small",
    purifier: str = "unet",
    behind: Defense | None = None,
) -> Defense:
    """Load the purifier of checkpoint `ap` under random transform `rt` (`none`, `1`, `2` or `3`), before `classifier`.

    Both checkpoints are those of `network`. The purifier is a `unet`, an `autoencoder` or a `gan`, whose checkpoints
    are `ap`, `ap-autoencoder` and `ap-gan`. If `behind` is given, it is the classifier, and `classifier` is
    only its name.
    """
    held = behind or purification.classifier(sized(classifier, network), checkpoints, spec)
    weights = sized(of_purifier("ap", purifier), network)
    return purification.load(weights, checkpoints=checkpoints, spec=spec, rt=rt, behind=held)
