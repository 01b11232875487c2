"""P3: `screen`, a quick attack whose robust accuracy is an upper bound of AutoAttack's."""

from __future__ import annotations

import cascades
from cascades import Goal
from fixture import Setup
from report import Row

MUST = "<= 1 % missed, >= 100 x"


def run(setup: Setup) -> Row:
    """Time `screen` against pyautoattack's standard version."""
    return cascades.run(setup, "P3", "screen", Goal(100, missed=0.01), MUST)
