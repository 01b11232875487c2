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
    AttackEntry(
        "affine",
        "bench.attacks.affine:Affine",
        "2302.10980",
        "the worst affine warp, 20 steps of Adam from each of 5 random starts",
        ("affine",),
        forwards=105,
        backwards=105,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "perspective",
        "bench.attacks.perspective:Perspective",
        "2302.10980",
        "the worst perspective warp, 20 steps of Adam from each of 5 random starts",
        ("perspective",),
        forwards=105,
        backwards=105,
        config={"eot": _EOT},
        eot=_EOT,
    ),
)
