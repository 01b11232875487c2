"""The verifier: it checks every adversarial example against its threat model before the example is judged.

Rules V01-V05 and V07, in float64. A violation is a fault of the attack: the cell fails, and the
example counts neither as broken nor as robust.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.oracle.geometry import distance
from bench.threats import ThreatModel

# 36 times the overshoot measured for float32, and 0.003 % of 8/255.
LINF_TOLERANCE = 1e-6
# Relative, for the norms that sum over pixels.
SUM_TOLERANCE = 1e-5


class Violation(Exception):
    """An attack left its threat model; the message begins with the rule's id."""


def verify(x: Tensor, x_adv: Tensor, threat: ThreatModel) -> None:
    """Raise a `Violation` unless `x_adv` is a batch of images within `threat` of `x`.

    For a non-Lp threat only dtype, shape and box are checked here; the attack brings its own proof.
    """
    if x_adv.dtype != torch.float32:
        raise Violation(f"V01: x_adv is {x_adv.dtype}, not float32")
    if x_adv.shape != x.shape:
        raise Violation(f"V02: x_adv has shape {tuple(x_adv.shape)}, the images {tuple(x.shape)}")
    if not bool(torch.isfinite(x_adv).all()):
        raise Violation("V02: x_adv holds NaN or Inf")
    if len(x) == 0:
        return
    low, high = float(x_adv.min()), float(x_adv.max())
    if low < 0 or high > 1:
        raise Violation(f"V03: x_adv leaves [0, 1]: it spans {low:.9g} to {high:.9g}")
    if threat.is_lp:
        eps = float(threat.eps)
        bound = eps + LINF_TOLERANCE if threat.family == "Linf" else eps * (1 + SUM_TOLERANCE)
        far = distance(x_adv, x, threat.family)
        if bool((far > bound).any()):
            count = int((far > bound).sum())
            raise Violation(
                f"V04: {count} of {len(x)} examples leave {threat}: the largest distance is {far.max():.9g}"
            )
