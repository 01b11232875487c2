"""Attacks that move pixels."""

from __future__ import annotations

from bench.registry import AttackEntry

_EOT = 20

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "stadv",
        "bench.attacks.stadv:StAdv",
        "1801.02612",
        "bounded displacement of pixels, found by Adam on the margin",
        ("stadv",),
        forwards=101,
        backwards=101,
        config={"eot": _EOT},
        eot=_EOT,
    ),
)
