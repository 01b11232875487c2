"""Attacks that lay something over the image, or take something from it."""

from __future__ import annotations

from bench.registry import AttackEntry

_EOT = 20

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "pixel",
        "bench.attacks.pixel:Pixel",
        "1908.08016",
        "blocks that lose their resolution, 60 steps",
        ("pixel",),
        forwards=61,
        backwards=61,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "wood",
        "bench.attacks.wood:Wood",
        "1908.08016",
        "dark rings, warped in 70 steps",
        ("wood",),
        forwards=71,
        backwards=71,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "glitch",
        "bench.attacks.glitch:Glitch",
        "1908.08016",
        "lines of each color channel that slip sideways, 60 steps of Adam",
        ("glitch",),
        forwards=61,
        backwards=61,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "kaleidoscope",
        "bench.attacks.kaleidoscope:Kaleidoscope",
        "1908.08016",
        "colors of bright shapes, 20 steps for each of 5 random arrangements",
        ("kaleidoscope",),
        forwards=105,
        backwards=105,
        config={"eot": _EOT},
        eot=_EOT,
    ),
)
