"""AToP, adversarial training on purification (Lin et al., ICLR 2024, arXiv:2401.16352).

A random transform destroys part of the perturbation and a purifier, fine-tuned adversarially,
repaints the image; the classifier is the standard one, never retrained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import purified
from bench.types import Defense, ImageSpec


def load(*, checkpoints: Mapping[str, Path], spec: ImageSpec, rt: str = "1") -> Defense:
    """The purifier of checkpoint `atop-rt{rt}` under the transform it was fine-tuned with."""
    return purified.load(f"atop-rt{rt}", checkpoints=checkpoints, spec=spec, rt=rt)
