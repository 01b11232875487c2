"""Lp geometry on batches of images: distance, projection, the box. Everything is per example."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.families import LP_FAMILIES
from bench.types import ThreatModel


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
    """A point near `x_adv` that lies in the ball around `x` and in the box [0, 1].

    For Linf and L1 it is the nearest one there is: in L1 the ball and the box are taken together,
    because the budget that a clamp to the box sets free belongs to the other pixels (Croce and Hein,
    ICML 2021, arXiv:2103.01208, section 3). For L2 it is the nearest of the ball, then of the box.
    The box comes last; it never leads out of the ball, because `x` is in the box.
    """
    eps = float(threat.eps)
    if threat.family == "Linf":
        return x_adv.clamp(min=x - eps, max=x + eps).clamp_(0, 1)
    if len(x) == 0:
        return x_adv
    delta = x_adv - x
    if threat.family == "L2":
        length = per_row(norm(delta, "L2"), delta).clamp_min(torch.finfo(delta.dtype).tiny)
        return (x + delta * (_inside(eps, delta[0].numel() ** 0.5) / length).clamp_max(1)).clamp_(0, 1)
    if threat.family == "L1":
        return _onto_l1_ball_in_box(x_adv, x, _inside(eps, delta[0].numel()))
    raise ValueError(f"{threat} has no projection here: only {', '.join(LP_FAMILIES)}")


def onto_ball(delta: Tensor, eps: float, family: str) -> Tensor:
    """The point of the ball of radius `eps` around zero nearest to each row of `delta`; there is no box."""
    if family == "Linf":
        return delta.clamp(-eps, eps)
    if family == "L2":
        length = per_row(norm(delta, "L2"), delta).clamp_min(torch.finfo(delta.dtype).tiny)
        return delta * (eps / length).clamp_max(1)
    if family == "L1":
        return _onto_l1_ball(delta, eps)
    raise ValueError(f"{family!r} is not one of {', '.join(LP_FAMILIES)}")


def _inside(eps: float, rounding: float) -> float:
    """A radius a hair below eps.

    Rounding each pixel of the sum to float32 can move it by half a unit in the last place, `rounding`
    of them in the norm, and the result must be within eps in float64.
    """
    return max(0.0, eps * (1 - 1e-6) - rounding * 2.0**-25)


def _onto_l1_ball(delta: Tensor, eps: float) -> Tensor:
    """The point of the L1 ball nearest to each row."""
    magnitude = delta.double().flatten(1).abs()
    near = _shrink(magnitude, torch.full_like(magnitude, torch.inf), eps)
    return delta.sign() * near.to(delta.dtype).view_as(delta)


def _onto_l1_ball_in_box(x_adv: Tensor, x: Tensor, eps: float) -> Tensor:
    """The point of the L1 ball around `x` and of the box nearest to each row of `x_adv`."""
    delta = x_adv.double() - x
    room = torch.where(delta > 0, 1 - x.double(), x.double())
    near = _shrink(delta.abs().flatten(1), room.flatten(1), eps).view_as(delta)
    return (x + delta.sign() * near).to(x_adv.dtype).clamp(0, 1)


def _shrink(magnitude: Tensor, room: Tensor, radius: float) -> Tensor:
    """The point nearest to each row of `magnitude` among those from 0 to `room` of sum at most `radius`.

    It is min(max(magnitude - t, 0), room) for the smallest t >= 0 whose sum fits. As t grows, entry i
    begins to shrink at magnitude - room and is zero at magnitude; between such places the sum falls
    by t times the number of entries on their way. So one sort of the places finds t (Duchi et al.,
    ICML 2008, without the room). Entries that are zero already have no part in it; they are left out,
    because the sort is what takes the time, and steps in L1 leave most entries alone.

    Args:
        magnitude: float64 `[B, d]`, not negative.
        room: float64 `[B, d]`, not negative; inf where nothing bounds an entry but the sum.
        radius: not negative.
    """
    shrunk = torch.minimum(magnitude, room)
    total = shrunk.sum(1)
    outside = (total > radius).nonzero().squeeze(1)
    if not len(outside):
        return shrunk
    threshold = _threshold(magnitude[outside], room[outside], total[outside, None], radius)
    shrunk[outside] = torch.minimum((magnitude[outside] - threshold).clamp_min(0), room[outside])
    return shrunk


def _threshold(magnitude: Tensor, room: Tensor, total: Tensor, radius: float) -> Tensor:
    """The t of `_shrink` for rows whose sum `total` `[B, 1]` exceeds the radius, `[B, 1]`."""
    most = int((magnitude > 0).sum(1).max())
    magnitude, kept = magnitude.topk(most, dim=1)
    room = room.gather(1, kept)
    places, order = torch.cat([(magnitude - room).clamp_min(0), magnitude], 1).sort(dim=1)
    moving = torch.where(order < magnitude.shape[1], 1, -1).cumsum(1)
    falls = moving[:, :-1] * places.diff(dim=1)
    sums = torch.cat([total, total - falls.cumsum(1)], 1)
    last = ((sums >= radius).sum(1, keepdim=True) - 1).clamp_min(0)
    excess = (sums.gather(1, last) - radius) / moving.gather(1, last).clamp_min(1)
    return places.gather(1, last) + excess


def fill(grad: Tensor, x: Tensor, length: float) -> Tensor:
    """The step of L1 length at most `length`, inside the box, along which a linear loss rises most.

    It pushes the pixel of the largest gradient to the edge of the box, then the next one, until the
    length is spent (Croce and Hein, ICML 2021, arXiv:2103.01208, proposition 3.3).

    Args:
        grad: `[B, ...]`; entries that are not finite count as zero.
        x: where the step starts, in the box.
        length: of the step.
    """
    flat, at = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0).flatten(1), x.flatten(1)
    room = torch.where(flat > 0, 1 - at, at).masked_fill(flat == 0, 0)
    order = flat.abs().argsort(dim=1, descending=True, stable=True)
    room = room.gather(1, order)
    before = room.double().cumsum(1) - room
    taken = (length - before).clamp_min(0).to(room.dtype).minimum(room)
    return (torch.zeros_like(flat).scatter(1, order, taken) * flat.sign()).view_as(grad)


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
