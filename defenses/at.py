"""Adversarially trained classifiers; their cards record the threat model and the recipe of the training.

The trainings are PGD (Madry et al., ICLR 2018, arXiv:1706.06083) in Linf, L2 or on displaced pixels, a
single step from a random start (Wong et al., ICLR 2020, arXiv:2001.03994), and TRADES (Zhang et al., ICML
2019, arXiv:1901.08573).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.defenses import purification
from bench.defenses.networks.by_name import sized
from bench.types import Defense, ImageSpec


def _load(name: str, *, checkpoints: Mapping[str, Path], spec: ImageSpec, network: str = "small") -> Defense:
    """Load the classifier of the checkpoint `name`; its card describes the architecture."""
    return purification.classifier(sized(name, network), checkpoints, spec)


load = partial(_load, "at")
load_l2 = partial(_load, "at-l2")
load_stadv = partial(_load, "at-stadv")
load_fgsm_rs = partial(_load, "fgsm-rs")
load_trades = partial(_load, "trades")
