"""Threat models: their families, what eps measures in each, and how large it usually is.

The Lp norms measure a distance between images in [0, 1], and L0 counts the pixels that differ. Every other
family bounds the variables from which its examples are rendered, in a unit of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from bench.errors import BenchError, unknown

# The norms whose balls most attacks know, because one can walk in them along a gradient.
LP_FAMILIES = ("Linf", "L2", "L1")

# The number of pixels that differ, whatever their channels: not a norm, but a distance like the others.
SPARSE = "L0"

# The families whose distance can be measured between any two images; elsewhere an attack brings a proof.
MEASURED = (*LP_FAMILIES, SPARSE)


@dataclass(frozen=True)
class Family:
    """A family of threat models.

    Attributes:
        name: as in `FAMILY:EPS`.
        unit: what eps measures.
        eps: its usual size for 8 x 8 digits, images of up to 64 pixels, and larger ones.
        colors: defined for color images only.
        smallest: the shorter side of the smallest image it is defined for.
    """

    name: str
    unit: str
    eps: tuple[str, str, str]
    colors: bool = False
    smallest: int = 1

    def refuses(self, shape: tuple[int, int, int]) -> str | None:
        """Return why the family is not defined for images `(C, H, W)`; `None` where it is."""
        if self.colors and shape[0] != 3:
            return f"{self.name} changes colors, and these images are gray"
        if min(shape[1:]) < self.smallest:
            return f"{self.name} needs images of {self.smallest} pixels a side, these have {min(shape[1:])}"
        return None

    def usual(self, shape: tuple[int, int, int]) -> str:
        """Return the usual eps for images `(C, H, W)`."""
        side = min(shape[1:])
        return self.eps[0 if side <= 16 else 1 if side <= 64 else 2]


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("Linf", "largest change of a value", ("0.2", "8/255", "4/255")),
        Family("L2", "root of the summed squared changes", ("1", "0.5", "3")),
        Family("L1", "sum of the absolute changes", ("5", "12", "255")),
        Family(SPARSE, "pixels changed, each in all its channels and by any amount", ("4", "20", "200")),
        Family("stadv", "pixels a pixel is moved by, along either axis", ("0.4", "0.8", "5.6")),
        Family("elastic", "pixels, before smoothing, a pixel is moved by, along either axis", ("0.35", "0.25", "2")),
        Family("affine", "change of an entry of the 2 x 3 matrix on [-1, 1]", ("0.2", "0.2", "0.1")),
        Family("perspective", "change of an entry of the 3 x 3 matrix on [-1, 1]", ("0.15", "0.15", "0.1")),
        Family("recolor", "shift of a color in CIELUV, axes scaled to [0, 1]", ("0.06", "0.06", "0.06"), colors=True),
        Family("hue", "turn of the color wheel, in radians", ("0.5", "0.5", "0.5"), colors=True),
        Family("saturation", "change of the factor on saturation", ("0.5", "0.5", "0.5"), colors=True),
        Family("brightness", "summand to every value", ("0.35", "0.3", "0.3")),
        Family("contrast", "change of the factor on the distance from the mean gray", ("0.9", "0.5", "0.5")),
        Family("jpeg-linf", "half quantization steps a DCT coefficient changes by", ("1.25", "0.125", "0.125")),
        Family("jpeg-l2", "L2 change of the DCT coefficients, in half quantization steps", ("6", "2", "16")),
        Family("jpeg-l1", "L1 change of the DCT coefficients, in half quantization steps", ("16", "16", "1024")),
        Family("fog", "weight of the fog, where the image has 1", ("0.4", "0.3", "0.5"), smallest=8),
        Family("snow", "weight of a flake, 1 being white", ("0.2", "0.03", "0.0625"), smallest=8),
        Family("gabor", "largest change of a value by the Gabor noise", ("0.35", "0.1", "0.1"), smallest=8),
        Family("pixel", "L2 norm of the weights of the blocks, each in [0, 1]", ("2", "5", "5"), smallest=8),
        Family("wood", "warp of the rings, in halves of a side of the image", ("0.1", "0.05", "0.05"), smallest=8),
        Family("glitch", "shift of the lines, in halves of the image's width", ("0.25", "0.1", "0.05"), smallest=8),
        Family("kaleidoscope", "change of the colors of shapes and outlines", ("0.1", "0.1", "0.1"), smallest=8),
        Family("lpips", "L2 distance of the normalized activations of a network", ("0.8", "0.5", "0.5")),
        Family("corruption", "severity of a common corruption, 1 to 5; no adversary", ("3", "3", "3")),
    )
}  # fmt: skip


# Below this, x + eps == x for some x in [0, 1] in float32, and the threat model is empty.
SMALLEST_EPS = Fraction(1, 10**6)


# The longest eps text that is parsed, in characters: beyond any sensible fraction.
_LONGEST_EPS = 40


# The family of a shift without an adversary; its eps is the severity.
CORRUPTION = "corruption"


@dataclass(frozen=True)
class ThreatModel:
    """The power of the adversary: a family and a bound.

    `eps` is exact, so 8/255 hashes and prints as 8/255. Its unit depends on the family: for an Lp
    norm it is a distance between images in [0, 1]; `FAMILIES` names the others.
    """

    family: str
    eps: Fraction

    @classmethod
    def parse(cls, text: str) -> ThreatModel:
        """Parse `FAMILY:EPS`, such as `Linf:8/255`, `L2:1.0` or `stadv:0.4`.

        Raises:
            BenchError: the family is unknown, or eps is not a number in its range.
        """
        name, colon, eps = text.strip().partition(":")
        if not colon:
            raise BenchError(f"threat {text!r} has no eps: write FAMILY:EPS, such as Linf:8/255")
        return cls(family(name), parse_eps(eps, family(name)))

    def __str__(self) -> str:
        return f"{self.family}:{show_fraction(self.eps)}"

    @property
    def slug(self) -> str:
        """Return the name of this threat model in a path: `Linf-8_255`."""
        return str(self).replace(":", "-").replace("/", "_")

    @property
    def is_lp(self) -> bool:
        """Return whether two images show how far apart they are: in an Lp norm, or L0."""
        return self.family in MEASURED

    @property
    def is_shift(self) -> bool:
        """Return whether there is no adversary: such a column is no part of any worst case."""
        return self.family == CORRUPTION

    def covers(self, other: ThreatModel) -> bool:
        """Return whether a defense trained against this threat model has seen `other`."""
        return self.family == other.family and self.eps >= other.eps


def family(name: str) -> str:
    """Return the registered spelling of a family's name, whatever the case it is given in.

    Raises:
        BenchError: there is no such family.
    """
    by_case = {known.lower(): known for known in FAMILIES}
    if name.lower() not in by_case:
        raise unknown("threat family", name, FAMILIES)
    return by_case[name.lower()]


def parse_eps(text: str, family: str) -> Fraction:
    """Parse an exact eps from `8/255`, `0.03` or `1e-2`, and check it against the range of its family."""
    try:
        # Fraction("1e999999999") would be written out digit by digit and fill the memory.
        if len(text) > _LONGEST_EPS or re.search(r"e[+-]?\d{3}", text.lower()):
            raise ValueError
        eps = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise BenchError(
            f"eps {text!r} is not a number: write a fraction such as 8/255 or a decimal such as 0.03"
        ) from None
    if eps < SMALLEST_EPS:
        raise BenchError(f"eps {text!r} must be at least 1e-6: anything smaller is below float32 resolution")
    if family == SPARSE and eps.denominator != 1:
        raise BenchError(f"eps {text!r} is no number of pixels: L0 takes whole numbers, such as L0:4")
    if family == "Linf" and eps > 1:
        guess = f": did you mean {show_fraction(eps)}/255?" if eps <= 255 and eps.denominator == 1 else ""
        raise BenchError(f"eps {text!r} exceeds the [0, 1] box of Linf{guess or ': it must be at most 1'}")
    return eps


def show_fraction(value: Fraction) -> str:
    """Write a fraction as `0.2` where the decimal is exact and short, else as `8/255`."""
    for digits in range(5):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            return str(int(scaled)) if digits == 0 else f"{float(value):.{digits}f}"
    return f"{value.numerator}/{value.denominator}"
