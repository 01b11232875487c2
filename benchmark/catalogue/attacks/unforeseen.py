"""The first "unforeseen adversaries": JPEG, elastic deformation, fog, snow and Gabor noise."""

from __future__ import annotations

from bench.registry import AttackEntry

_EOT = 20
_CITE = "1908.08016"
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
    _entry("jpeg-linf", "bench.attacks.jpeg:JPEGLinf", "the worst bounded change of every JPEG coefficient"),
    _entry("jpeg-l2", "bench.attacks.jpeg:JPEGL2", "the worst change of the JPEG coefficients of bounded L2 norm"),
    _entry("jpeg-l1", "bench.attacks.jpeg:JPEGL1", "the worst change of a few JPEG coefficients, of bounded L1 norm"),
    _entry("elastic", "bench.attacks.elastic:Elastic", "the worst smooth deformation"),
    _entry("fog", "bench.attacks.fog:Fog", "the worst fractal fog"),
    _entry("snow", "bench.attacks.snow:Snow", "the worst flakes, blurred by their fall"),
    _entry("gabor", "bench.attacks.gabor:Gabor", "the worst weights of Gabor kernels at random places"),
)
