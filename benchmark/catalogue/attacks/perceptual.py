"""Attacks with a perceptual bound: one change of color for the whole image, and distances between activations."""

from __future__ import annotations

from bench.catalogue.registry import AttackEntry

_EOT = 20
# The distance is measured between activations of a deterministic network: either of these variants will do.
_STILL = ("base", "derandomized")

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "recolor",
        "bench.attacks.unforeseen.recolor:ReColor",
        "1906.00001",
        "one bounded function of color, a grid in CIELUV, found by Adam on the margin (ReColorAdv)",
        ("recolor",),
        forwards=101,
        backwards=101,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    # The counts include every pass of the network that measures the distance, not only queries of the defense.
    AttackEntry(
        "ppgd",
        "bench.attacks.perceptual.ppgd:PPGD",
        "2006.12655",
        "40 steps of equal perceptual length, by conjugate gradients, bounded by the classifier's own activations",
        ("lpips",),
        needs_if_stochastic=_STILL,
        forwards=405,
        backwards=241,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "lpa",
        "bench.attacks.perceptual.lpa:LPA",
        "2006.12655",
        "5 rounds of 40 steps on the margin less a growing penalty on the perceptual distance (Lagrangian)",
        ("lpips",),
        needs_if_stochastic=_STILL,
        forwards=646,
        backwards=405,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "low-frequency",
        "bench.attacks.perceptual.low_frequency:LowFrequency",
        "2411.16598",
        "100 steps of Adam on a change and the filters that smooth it, one filter per pixel (DiffBreak)",
        ("lpips",),
        needs_if_stochastic=_STILL,
        forwards=506,
        backwards=202,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "low-frequency-linf",
        "bench.attacks.perceptual.low_frequency:LowFrequency",
        "2411.16598",
        "the same, projected into the ball of Linf",
        ("Linf",),
        forwards=101,
        backwards=101,
        config={"eot": _EOT},
        eot=_EOT,
        only_named=True,
    ),
)
