"""Adversarially trained classifiers; what they were trained on, and how, is in their cards.

PGD (Madry et al., ICLR 2018, arXiv:1706.06083) in Linf, L2 or on displaced pixels, a single step from a
random start (Wong et al., ICLR 2020, arXiv:2001.03994), TRADES (Zhang et al., ICML 2019,
arXiv:1901.08573).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.defenses import purified
from bench.defenses.networks import sized
from bench.types import Defense, ImageSpec


def _load(name: str, *, checkpoints: Mapping[str, Path], spec: ImageSpec, network: str = "small") -> Defense:
    """The classifier of the checkpoint `name`; its architecture is that of `standard`."""
    return purified.classifier(sized(name, network), checkpoints, spec)


load = partial(_load, "at")
load_l2 = partial(_load, "at-l2")
load_stadv = partial(_load, "at-stadv")
load_fgsm_rs = partial(_load, "fgsm-rs")
load_trades = partial(_load, "trades")
