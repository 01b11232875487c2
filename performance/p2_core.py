"""P2: `core`, the gradient-based attacks of AutoAttack, which alone may not be called AutoAttack."""

from __future__ import annotations

import cascades
from cascades import IMAGES, Goal
from fixture import Setup
from report import Row

MUST = "the same broken set (<= 1 in 256 missed), >= 10 x"


def run(setup: Setup) -> Row:
    """Time `core` against pyautoattack's standard version."""
    return cascades.run(setup, "P2", "core", Goal(10, missed=1 / IMAGES), MUST)
