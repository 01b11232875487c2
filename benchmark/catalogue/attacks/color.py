"""Attacks that change the colors of an image as a whole, by one number each."""

from __future__ import annotations

from bench.registry import AttackEntry

_EOT = 20
_CITE = "2302.10980"

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "hue",
        "bench.attacks.hue:Hue",
        _CITE,
        "the worst turn of the color wheel, 41 queries",
        ("hue",),
        forwards=41,
        backwards=41,
        config={"eot": _EOT},
        eot=_EOT,
        powerless={"cifar10": "leaves the undefended model at 64 %"},
    ),
    AttackEntry(
        "saturation",
        "bench.attacks.saturation:Saturation",
        _CITE,
        "the worst factor on the saturation, 41 queries",
        ("saturation",),
        forwards=41,
        backwards=41,
        config={"eot": _EOT},
        eot=_EOT,
        powerless={"cifar10": "leaves the undefended model at 74 %"},
    ),
    AttackEntry(
        "brightness",
        "bench.attacks.brightness:Brightness",
        _CITE,
        "the worst brightness, 41 queries",
        ("brightness",),
        forwards=41,
        backwards=41,
        config={"eot": _EOT},
        eot=_EOT,
        powerless={"cifar10": "leaves the undefended model at 52 %"},
    ),
    AttackEntry(
        "contrast",
        "bench.attacks.contrast:Contrast",
        _CITE,
        "the worst contrast, 41 queries",
        ("contrast",),
        forwards=41,
        backwards=41,
        config={"eot": _EOT},
        eot=_EOT,
        powerless={"cifar10": "leaves the undefended model at 57 %"},
    ),
)
