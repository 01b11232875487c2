"""The undefended classifier: what every defense is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import purified
from bench.defenses.networks import sized
from bench.types import Defense, ImageSpec


def load(*, checkpoints: Mapping[str, Path], spec: ImageSpec, network: str = "small") -> Defense:
    """The classifier of checkpoint `standard`, or of `standard-resnet-18` where `network` is `resnet-18`."""
    return purified.classifier(sized("standard", network), checkpoints, spec)
