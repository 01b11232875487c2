"""AToP, adversarial training on purification (Lin et al., ICLR 2024, arXiv:2401.16352).

A random transform destroys part of the perturbation, and a purifier that was fine-tuned adversarially
repaints the image. The classifier is the standard one and is never retrained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import purification
from bench.defenses.networks.by_name import of_purifier, sized
from bench.types import Defense, ImageSpec

# Value of the parameter `ft` -> the training that writes the checkpoint.
FINE_TUNED = {"on": "atop", "off": "ap", "clean": "atop-clean", "paper": "atop-paper"}


def load(
    *,
    checkpoints: Mapping[str, Path],
    spec: ImageSpec,
    rt: str = "1",
    ft: str = "on",
    classifier: str = "standard",
    network: str = "small",
    purifier: str = "unet",
    behind: Defense | None = None,
) -> Defense:
    """Load the fine-tuned purifier under the transform of its fine-tuning, before a classifier.

    Args:
        checkpoints: files by name: those of `classifier` and of the purifier.
        spec: shape and classes of the images.
        rt: the random transform.
        ft: the fine-tuning: `on`, `off` (the pre-trained purifier), `clean` (without adversarial
            examples) or `paper` (as in the authors' code).
        classifier: the checkpoint of the classifier. The purifier was fine-tuned before `standard`;
            another classifier shows how the purifier transfers, and `at` makes the composed defense.
        network: size of both: `small`, or `resnet-18` and the purifier that fits it.
        purifier: the kind of purifier: `unet`, `autoencoder` or `gan`.
        behind: a classifier from elsewhere; `classifier` is then only its name.
    """
    # Each random transform has its own fine-tuned weights; pre-training uses none, so `off` has one checkpoint.
    weights = sized(of_purifier(FINE_TUNED[ft], purifier), network) + ("" if ft == "off" else f"-rt{rt}")
    held = behind or purification.classifier(sized(classifier, network), checkpoints, spec)
    return purification.load(weights, checkpoints=checkpoints, spec=spec, rt=rt, behind=held)
