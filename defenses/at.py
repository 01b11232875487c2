"""Adversarial training with PGD (Madry et al., ICLR 2018, arXiv:1706.06083)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.defenses import networks
from bench.defenses.inference import for_inference
from bench.types import Defense, ImageSpec


def load(*, checkpoints: Mapping[str, Path], spec: ImageSpec) -> Defense:
    """The classifier of checkpoint `at`; its architecture is that of `standard`."""
    model, card = networks.restore("at", checkpoints, spec)
    return Defense(for_inference(model), trained_on=networks.trained_on(card), card=networks.record(card))
