"""P1: `autoattack`, AutoAttack with the same attacks and parameters, which must give the same verdicts sooner."""

from __future__ import annotations

import cascades
from cascades import IMAGES, Goal
from fixture import Setup
from report import Row

MUST = "the same broken set (<= 1 in 256 off, never fewer in total), >= 2.5 x"


def run(setup: Setup) -> Row:
    """Time `autoattack` against pyautoattack's standard version."""
    return cascades.run(
        setup,
        "P1",
        "autoattack",
        # One example may differ: both attacks are random at the boundary of what they can break.
        Goal(2.5, differing=1 / IMAGES, no_fewer=True),
        MUST,
    )
