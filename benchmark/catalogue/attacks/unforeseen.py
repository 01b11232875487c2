"""Attacks that are not bounded by a norm: displaced pixels, weather, colors, and overlays."""

from __future__ import annotations

from bench.catalogue.registry import AttackEntry

_EOT = 20
_CITE = "1908.08016"
_COLORS = "2302.10980"
_PASSES = 102  # two restarts of 50 steps, and the points they end at


def _entry(name: str, target: str, summary: str) -> AttackEntry:
    return AttackEntry(
        name,
        target,
        _CITE,
        summary,
        (name,),
        forwards=_PASSES,
        backwards=_PASSES,
        config={"eot": _EOT},
        eot=_EOT,
    )


ENTRIES: tuple[AttackEntry, ...] = (
    # Pixels are moved.
    AttackEntry(
        "stadv",
        "bench.attacks.unforeseen.stadv:StAdv",
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
        "bench.attacks.unforeseen.affine:Affine",
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
        "bench.attacks.unforeseen.perspective:Perspective",
        "2302.10980",
        "the worst perspective warp, 20 steps of Adam from each of 5 random starts",
        ("perspective",),
        forwards=105,
        backwards=105,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    # The first "unforeseen adversaries": JPEG, elastic deformation, fog, snow and Gabor noise.
    _entry("jpeg-linf", "bench.attacks.unforeseen.jpeg:JPEGLinf", "the worst bounded change of every JPEG coefficient"),
    _entry(
        "jpeg-l2",
        "bench.attacks.unforeseen.jpeg:JPEGL2",
        "the worst change of the JPEG coefficients of bounded L2 norm",
    ),
    _entry(
        "jpeg-l1",
        "bench.attacks.unforeseen.jpeg:JPEGL1",
        "the worst change of a few JPEG coefficients, of bounded L1 norm",
    ),
    _entry("elastic", "bench.attacks.unforeseen.elastic:Elastic", "the worst smooth deformation"),
    _entry("fog", "bench.attacks.unforeseen.fog:Fog", "the worst fractal fog"),
    _entry("snow", "bench.attacks.unforeseen.snow:Snow", "the worst flakes, blurred by their fall"),
    _entry("gabor", "bench.attacks.unforeseen.gabor:Gabor", "the worst weights of Gabor kernels at random places"),
    # The colors of an image as a whole, by one number each.
    AttackEntry(
        "hue",
        "bench.attacks.unforeseen.hue:Hue",
        _COLORS,
        "the worst turn of the color wheel, 41 queries",
        ("hue",),
        forwards=41,
        backwards=41,
        config={"eot": _EOT},
        eot=_EOT,
        # Measured at the usual bound on CIFAR-10; a table marks such columns, since they say little about any defense.
        powerless={"cifar10": "leaves the undefended model at 64 %"},
    ),
    AttackEntry(
        "saturation",
        "bench.attacks.unforeseen.saturation:Saturation",
        _COLORS,
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
        "bench.attacks.unforeseen.brightness:Brightness",
        _COLORS,
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
        "bench.attacks.unforeseen.contrast:Contrast",
        _COLORS,
        "the worst contrast, 41 queries",
        ("contrast",),
        forwards=41,
        backwards=41,
        config={"eot": _EOT},
        eot=_EOT,
        powerless={"cifar10": "leaves the undefended model at 57 %"},
    ),
    # Something is laid over the image, or taken from it.
    AttackEntry(
        "pixel",
        "bench.attacks.unforeseen.pixel:Pixel",
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
        "bench.attacks.unforeseen.wood:Wood",
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
        "bench.attacks.unforeseen.glitch:Glitch",
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
        "bench.attacks.unforeseen.kaleidoscope:Kaleidoscope",
        "1908.08016",
        "colors of bright shapes, 20 steps for each of 5 random arrangements",
        ("kaleidoscope",),
        forwards=105,
        backwards=105,
        config={"eot": _EOT},
        eot=_EOT,
    ),
)
