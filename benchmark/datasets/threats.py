"""The threat models a dataset is usually studied under."""

from __future__ import annotations

import math
from fractions import Fraction

from bench.datasets.load import shape_of
from bench.threats import FAMILIES, ThreatModel

# The families a dataset is studied under unless the user names others.
HEADLINE = ("Linf", "L2", "stadv")


def threat(family: str, name: str) -> ThreatModel:
    """Return the usual threat model of a family for a dataset: that of `bench.threats` for its image size.

    For two families eps grows further with the image. L2 keeps the mean squared change per value of
    CIFAR's 0.5, so eps grows with the root of their number; stAdv keeps 1/40 of the shorter side: the
    bound 0.05 of Laidlaw et al. (ICLR 2021, arXiv:2006.12655) on coordinates from -1 to 1.
    """
    shape = shape_of(name)
    # At 8 x 8 the rules would give L2:0.1 and stadv:0.2, which hardly change a digit; `FAMILIES` has its own for them.
    if name != "digits":
        if family == "L2":
            return ThreatModel(family, Fraction(max(1, round(5 * math.sqrt(math.prod(shape) / 3072))), 10))
        if family == "stadv":
            return ThreatModel(family, Fraction(min(shape[1:]), 40))
    return ThreatModel.parse(f"{family}:{FAMILIES[family].usual(shape)}")
