"""Attacks that look for the nearest adversarial example."""

from __future__ import annotations

from bench.registry import AttackEntry

_LP = ("Linf", "L2")

_NOT_RANDOM = "its steps assume that one image has one prediction"

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "fab-t",
        "bench.attacks.adapters.pyautoattack:FABTargeted",
        "1907.02044",
        "targeted Fast Adaptive Boundary, 100 steps for each of 9 target classes (pyautoattack)",
        _LP,
        forwards=1829,
        backwards=900,
        not_for={"stochastic": _NOT_RANDOM},
        requires=("pyautoattack",),
    ),
)
