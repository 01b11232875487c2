"""P6: `autoattack` and `core` on a robust wide residual network, whose weights the user provides."""

from __future__ import annotations

import os
from dataclasses import replace

import cascades
import wide
from cascades import Goal, Subject
from fixture import HERE, Setup, cifar
from report import Row
from torch import nn

IMAGES = 64
MUST = "report; exact >= 2 x, core >= 6 x"
_GOALS = {"autoattack": Goal(2), "core": Goal(6)}


def run(setup: Setup) -> Row:
    """Time both cascades against pyautoattack's standard version, one repetition of each."""
    workload = f"a robust WRN-16-4 or larger, {IMAGES} images: pyautoattack standard vs autoattack and core"
    if setup.weights is None:
        note = "no robust network of that size comes with this repository: pass one with --weights FILE (README.md)"
        return Row("P6", workload, MUST, "nothing: there are no weights", None, notes=(note,))
    # By the environment, because the harness imports wide.py as a user's file and calls its `build` itself.
    os.environ[wide.WEIGHTS] = str(setup.weights.resolve())
    examples = cifar(setup, IMAGES)

    def network() -> nn.Module:
        return wide.build().to(setup.device).requires_grad_(True)

    subject = Subject(wide.title(), f"{HERE / 'wide.py'}:build", network, examples)
    single = replace(setup, repetitions=1)  # each takes many minutes
    found = [cascades.compare(single, "P6", attack, goal, MUST, subject) for attack, goal in _GOALS.items()]
    return Row(
        "P6",
        f"{wide.title()}, {len(examples)} images: pyautoattack standard vs autoattack and core",
        MUST,
        "; ".join(f"{attack}: {row.measured}" for attack, row in zip(_GOALS, found, strict=True)),
        all(row.reached for row in found),
        "; ".join(row.passes for row in found),
        found[0].headers,
        [line for row in found for line in row.table],
        tuple(f"{attack}: {note}" for attack, row in zip(_GOALS, found, strict=True) for note in row.notes),
        {attack: row.data for attack, row in zip(_GOALS, found, strict=True)},
    )
