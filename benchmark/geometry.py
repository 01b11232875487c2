"""Lp geometry on batches of images: distance, projection, the box. Everything is per example."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.types import LP_FAMILIES, ThreatModel


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Reshape `[B]` so that it broadcasts over the images `[B, ...]`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def norm(delta: Tensor, family: str) -> Tensor:
    """The Lp norm of each row, `[B]`, in the dtype of `delta`."""
    flat = delta.flatten(1)
    if family == "Linf":
        return flat.abs().amax(1)
    if family == "L2":
        return flat.square().sum(1).sqrt()
    if family == "L1":
        return flat.abs().sum(1)
    raise ValueError(f"{family!r} is not one of {', '.join(LP_FAMILIES)}")


def distance(x_adv: Tensor, x: Tensor, family: str) -> Tensor:
    """The Lp distance of each row in float64, `[B]`."""
    return norm(x_adv.double() - x.double(), family)


def project(x_adv: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """The point of the ball around `x`, then of the box [0, 1], nearest to `x_adv`.

    The clamp to the box is the last operation. It never leaves the ball, because `x` is in the box.
    """
    eps = float(threat.eps)
    if threat.family == "Linf":
        return x_adv.clamp(min=x - eps, max=x + eps).clamp(0, 1)
    if len(x) == 0:
        return x_adv
    delta = x_adv - x
    if threat.family == "L2":
        length = per_row(norm(delta, "L2"), delta).clamp_min(torch.finfo(delta.dtype).tiny)
        return (x + delta * (_inside(eps, delta[0].numel() ** 0.5) / length).clamp_max(1)).clamp(0, 1)
    if threat.family == "L1":
        return (x + _onto_l1_ball(delta, _inside(eps, delta[0].numel()))).clamp(0, 1)
    raise ValueError(f"{threat} has no projection here: only {', '.join(LP_FAMILIES)}")


def _inside(eps: float, rounding: float) -> float:
    """A radius a hair below eps.

    Rounding each pixel of the sum to float32 can move it by half a unit in the last place, `rounding`
    of them in the norm, and the result must be within eps in float64.
    """
    return max(0.0, eps * (1 - 1e-6) - rounding * 2.0**-25)


def _onto_l1_ball(delta: Tensor, eps: float) -> Tensor:
    """Euclidean projection of each row onto the L1 ball (Duchi et al., ICML 2008)."""
    flat = delta.flatten(1)
    magnitude = flat.abs()
    ordered = magnitude.sort(dim=1, descending=True).values
    excess = ordered.cumsum(1) - eps
    count = torch.arange(1, flat.shape[1] + 1, device=flat.device)
    active = (ordered * count > excess).sum(1, keepdim=True).clamp_min(1)
    threshold = excess.gather(1, active - 1) / active
    shrunk = flat.sign() * (magnitude - threshold).clamp_min(0)
    inside = magnitude.sum(1, keepdim=True) <= eps
    return torch.where(inside, flat, shrunk).view_as(delta)


def random_in_ball(x: Tensor, uniform: Tensor, threat: ThreatModel) -> Tensor:
    """A start near `x`: uniform in the Linf ball; for L2 and L1 a random direction of random length.

    Args:
        x: images `[B, ...]`.
        uniform: random numbers in [0, 1), of the shape of `x`.
        threat: an Lp threat model.
    """
    delta = 2 * uniform - 1
    if threat.family == "Linf":
        return project(x + float(threat.eps) * delta, x, threat)
    length = per_row(norm(delta, threat.family), delta).clamp_min(1e-12)
    radius = per_row(uniform.flatten(1)[:, 0], delta)
    return project(x + float(threat.eps) * radius * delta / length, x, threat)


def steepest(grad: Tensor, family: str) -> Tensor:
    """The direction of unit length along which the loss of each row rises fastest.

    A row whose gradient is zero keeps a zero direction: it has nowhere to go.
    """
    if family == "Linf":
        return grad.sign()
    if family == "L2":
        return grad / per_row(norm(grad, "L2"), grad).clamp_min(1e-12)
    if family == "L1":
        flat = grad.flatten(1)
        top = flat.abs().argmax(1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, top, flat.gather(1, top).sign()).view_as(grad)
    raise ValueError(f"{family!r} has no steepest direction here: only {', '.join(LP_FAMILIES)}")
