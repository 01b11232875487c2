"""The undefended classifier: what every defense is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import networks
from bench.defenses.inference import for_inference
from bench.types import Defense, ImageSpec


def load(*, checkpoints: Mapping[str, Path], spec: ImageSpec) -> Defense:
    """The classifier of checkpoint `standard`."""
    model, card = networks.restore("standard", checkpoints, spec)
    return Defense(for_inference(model), trained_on=networks.trained_on(card), card=networks.record(card))
