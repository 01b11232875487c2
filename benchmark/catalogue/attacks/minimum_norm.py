"""Attacks that look for the nearest adversarial example."""

from __future__ import annotations

from bench.catalogue.registry import AttackEntry

_LP = ("Linf", "L2", "L1")

_NOT_RANDOM = "its steps assume that one image has one prediction"

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "fab",
        "bench.attacks.minimum_norm.fab:FAB",
        "1907.02044",
        "Fast Adaptive Boundary, 100 steps to the nearest of the boundaries to 9 classes",
        _LP,
        forwards=204,
        backwards=900,
        not_for={"stochastic": _NOT_RANDOM},
        only_named=True,
    ),
    AttackEntry(
        "fab-t",
        # Two forwards and one backward per step, for each of the 9 classes.
        "bench.attacks.minimum_norm.fab:FABTargeted",
        "1907.02044",
        "targeted Fast Adaptive Boundary, 100 steps for each of 9 target classes",
        _LP,
        forwards=1804,
        backwards=900,
        not_for={"stochastic": _NOT_RANDOM},
    ),
    AttackEntry(
        "fmn",
        "bench.attacks.minimum_norm.fmn:FMN",
        "2102.12827",
        "Fast Minimum-Norm: 100 gradient steps in a ball whose radius follows the boundary",
        _LP,
        forwards=101,
        backwards=100,
        not_for={"stochastic": _NOT_RANDOM},
    ),
    AttackEntry(
        "ddn",
        "bench.attacks.minimum_norm.ddn:DDN",
        "1811.09600",
        "Decoupled Direction and Norm: 100 gradient steps on a sphere whose radius follows the boundary",
        ("L2",),
        forwards=101,
        backwards=100,
        not_for={"stochastic": _NOT_RANDOM},
        only_named=True,
    ),
    AttackEntry(
        "cw-l2",
        "bench.attacks.minimum_norm.cw:CW",
        "1608.04644",
        "Carlini and Wagner: 200 steps of Adam without a box for each of 9 weights of the margin",
        ("L2",),
        forwards=1800,
        backwards=1800,
        not_for={"stochastic": _NOT_RANDOM},
        only_named=True,
    ),
)
