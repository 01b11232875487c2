"""The contracts every room of the house shares. Importing this module does not import torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import BenchError, unknown
from bench.families import FAMILIES, LP_FAMILIES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.oracle import Oracle
    from bench.random import Stream

# Below this, x + eps == x for some x in [0, 1] in float32, and the threat model is empty.
SMALLEST_EPS = Fraction(1, 10**6)
_LONGEST_EPS = 40

# The family of a shift without an adversary; its eps is the severity.
CORRUPTION = "corruption"


@dataclass(frozen=True)
class ThreatModel:
    """What the adversary may do.

    `eps` is exact, so 8/255 hashes and prints as 8/255. Its unit depends on the family: for an Lp
    norm it is a distance between images in [0, 1]; `bench.families` tells the others.
    """

    family: str
    eps: Fraction

    @classmethod
    def parse(cls, text: str) -> ThreatModel:
        """Read `FAMILY:EPS`, such as `Linf:8/255`, `L2:1.0` or `stadv:0.4`.

        Raises:
            BenchError: an unknown family, or an eps that is no positive number in its range.
        """
        name, colon, eps = text.strip().partition(":")
        if not colon:
            raise BenchError(f"threat {text!r} has no eps: write FAMILY:EPS, such as Linf:8/255")
        return cls(family(name), parse_eps(eps, family(name)))

    def __str__(self) -> str:
        return f"{self.family}:{show_fraction(self.eps)}"

    @property
    def slug(self) -> str:
        """The name of this threat model in a path: `Linf-8_255`."""
        return str(self).replace(":", "-").replace("/", "_")

    @property
    def is_lp(self) -> bool:
        return self.family in LP_FAMILIES

    @property
    def is_shift(self) -> bool:
        """Whether nobody attacks: such a column is no part of any worst case."""
        return self.family == CORRUPTION

    def covers(self, other: ThreatModel) -> bool:
        """Whether training against this threat model has shown a defense `other`."""
        return self.family == other.family and self.eps >= other.eps


def family(name: str) -> str:
    """The family of threat models of this name, whatever its case.

    Raises:
        BenchError: there is none.
    """
    by_case = {known.lower(): known for known in FAMILIES}
    if name.lower() not in by_case:
        raise unknown("threat family", name, FAMILIES)
    return by_case[name.lower()]


def parse_eps(text: str, family: str) -> Fraction:
    """An exact eps from `8/255`, `0.03` or `1e-2`, checked against the range of its family."""
    try:
        # A fraction is exact, and 1e999999999 would be written out digit by digit.
        if len(text) > _LONGEST_EPS or re.search(r"e[+-]?\d{3}", text.lower()):
            raise ValueError
        eps = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise BenchError(
            f"eps {text!r} is not a number: write a fraction such as 8/255 or a decimal such as 0.03"
        ) from None
    if eps < SMALLEST_EPS:
        raise BenchError(f"eps {text!r} must be at least 1e-6: anything smaller is below float32 resolution")
    if family == "Linf" and eps > 1:
        guess = f": did you mean {show_fraction(eps)}/255?" if eps <= 255 and eps.denominator == 1 else ""
        raise BenchError(f"eps {text!r} exceeds the [0, 1] box of Linf{guess or ': it must be at most 1'}")
    return eps


def show_fraction(value: Fraction) -> str:
    """`0.2` where the decimal is exact and short, `8/255` otherwise."""
    for digits in range(5):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            return str(int(scaled)) if digits == 0 else f"{float(value):.{digits}f}"
    return f"{value.numerator}/{value.denominator}"


class Attack(Protocol):
    """A frozen dataclass of hyper-parameters that proposes `x_adv` and never judges itself."""

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        """Propose adversarial examples.

        Args:
            oracle: the only way to query the defense; row i of `x` is row i of the oracle.
            x: images, float32 `[B, C, H, W]` in [0, 1]; left untouched.
            y: labels, int64 `[B]`.
            threat: the ball to stay in.
            stream: per-example random numbers; a pure function of the example, never of the batch.

        Returns:
            `x_adv`, float32, of the shape of `x`, in [0, 1] and within `threat`.
        """
        ...


@dataclass(frozen=True)
class Card:
    """What is known about a defense: recipe, data, seed, accuracies, source."""

    name: str = ""
    summary: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Defense:
    """A defense under evaluation: a record, not a base class.

    Attributes:
        model: maps float32 images `[B, C, H, W]` in [0, 1] to logits `[B, classes]`; normalisation,
            purifier and noise are all inside.
        stochastic: whether two forwards of one image may differ.
        trained_on: the threat models seen in training; an attack is *seen* when one of them covers it.
        surrogate: a differentiable stand-in for attacks that cannot differentiate `model` (BPDA).
        base: the classifier behind a purifier, without it.
        purifier: maps images `[B, C, H, W]` in [0, 1] to purified ones that `base` takes, with the
            same random numbers as `model`; with `base` it makes BPDA with the identity possible.
        derandomized: the same defense without its random transform.
        card: its papers.
    """

    model: nn.Module
    stochastic: bool = False
    trained_on: tuple[ThreatModel, ...] = ()
    surrogate: nn.Module | None = None
    base: nn.Module | None = None
    purifier: nn.Module | None = None
    derandomized: nn.Module | None = None
    card: Card = field(default_factory=Card)


@dataclass(frozen=True)
class ImageSpec:
    """The images a dataset holds: `(channels, height, width)` and the number of classes."""

    shape: tuple[int, int, int]
    classes: int
