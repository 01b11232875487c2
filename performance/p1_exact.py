"""P1: AutoAttack itself, the same attacks with the same parameters: same verdicts, sooner."""

from __future__ import annotations

import cascades
from cascades import IMAGES, Goal
from fixture import Setup
from report import Row

MUST = "the same broken set (<= 1 in 256 off, never fewer in total), >= 2.5 x"


def run(setup: Setup) -> Row:
    """Time it against pyautoattack's standard version."""
    return cascades.run(
        setup,
        "P1",
        "autoattack",
        Goal(2.5, differing=1 / IMAGES, no_fewer=True),
        MUST,
    )
