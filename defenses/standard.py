"""The undefended classifier, with which every defense is compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import purification
from bench.defenses.networks.by_name import sized
from bench.types import Defense, ImageSpec


def load(*, checkpoints: Mapping[str, Path], spec: ImageSpec, network: str = "small") -> Defense:
    """Load the classifier of checkpoint `standard`, or of `standard-resnet-18` if `network` is `resnet-18`."""
    return purification.classifier(sized("standard", network), checkpoints, spec)
