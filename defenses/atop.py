"""AToP, adversarial training on purification (Lin et al., ICLR 2024, arXiv:2401.16352).

A random transform destroys part of the perturbation and a purifier, fine-tuned adversarially,
repaints the image; the classifier is the standard one, never retrained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import purified
from bench.defenses.networks import sized
from bench.types import Defense, ImageSpec

# Fine-tuning -> the training that leaves its checkpoint.
FINE_TUNED = {"on": "atop", "off": "ap", "clean": "atop-clean", "paper": "atop-paper"}


def load(
    *,
    checkpoints: Mapping[str, Path],
    spec: ImageSpec,
    rt: str = "1",
    ft: str = "on",
    classifier: str = "standard",
    network: str = "small",
    behind: Defense | None = None,
) -> Defense:
    """The fine-tuned purifier under the transform it was fine-tuned with.

    Args:
        checkpoints: files by name: that of `classifier`, and that of the purifier.
        spec: the images.
        rt: the random transform.
        ft: the fine-tuning: `on`, `off` (the purifier as pre-trained), `clean` (without adversarial
            examples) or `paper` (as the authors' code does it).
        classifier: the checkpoint of the classifier. The purifier was fine-tuned before `standard`;
            another one shows what it is worth elsewhere, and `at` makes the composed defense.
        network: of both: `small`, or `resnet-18` and the purifier that fits it.
        behind: somebody else's classifier; `classifier` is only what it is called then.
    """
    weights = sized(FINE_TUNED[ft], network) + ("" if ft == "off" else f"-rt{rt}")
    held = behind or purified.classifier(sized(classifier, network), checkpoints, spec)
    return purified.load(weights, checkpoints=checkpoints, spec=spec, rt=rt, behind=held)
