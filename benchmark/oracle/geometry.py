"""Lp geometry on batches of images: distance, projection, the box. Everything is per example."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.threats import LP_FAMILIES, MEASURED, SPARSE, ThreatModel


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Reshape `[B]` so that it broadcasts over the images `[B, ...]`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def norm(delta: Tensor, family: str) -> Tensor:
    """Return the Lp norm of each row, or in L0 the number of its pixels `[B, C, ...]` that are not zero, `[B]`."""
    if family == SPARSE:
        return (delta != 0).any(1).flatten(1).sum(1).to(delta.dtype)
    flat = delta.flatten(1)
    if family == "Linf":
        return flat.abs().amax(1)
    if family == "L2":
        return flat.square().sum(1).sqrt()
    if family == "L1":
        return flat.abs().sum(1)
    raise ValueError(f"{family!r} is not one of {', '.join(MEASURED)}")


def distance(x_adv: Tensor, x: Tensor, family: str) -> Tensor:
    """Return the Lp or L0 distance of each row in float64, `[B]`."""
    return norm(x_adv.double() - x.double(), family)


def project(x_adv: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Project `x_adv` into the ball around `x` and the box [0, 1].

    For Linf and L1 the result is the nearest point of both: in L1 they are taken together, because the
    budget that a clamp to the box sets free belongs to the other pixels (Croce and Hein, ICML 2021,
    arXiv:2103.01208, section 3). For L2 it is the nearest point of the ball, then of the box.
    In L0 it is nearest in L2, and all other pixels are those of `x`, bit by bit.
    The box comes last; it never leads out of the ball, because `x` is in the box.
    """
    eps = float(threat.eps)
    if threat.family == "Linf":
        return x_adv.clamp(min=x - eps, max=x + eps).clamp_(0, 1)
    # `delta[0]` below needs a row.
    if len(x) == 0:
        return x_adv
    delta = x_adv - x
    if threat.family == "L2":
        length = per_row(norm(delta, "L2"), delta).clamp_min(torch.finfo(delta.dtype).tiny)
        return (x + delta * (_inside(eps, delta[0].numel() ** 0.5) / length).clamp_max(1)).clamp_(0, 1)
    if threat.family == "L1":
        return _onto_l1_ball_in_box(x_adv, x, _inside(eps, delta[0].numel()))
    if threat.family == SPARSE:
        return keep_pixels(x_adv.clamp(0, 1), x, _saved(x_adv, x), int(threat.eps))
    raise ValueError(f"{threat} has no projection here: only {', '.join(MEASURED)}")


def _saved(x_adv: Tensor, x: Tensor) -> Tensor:
    """Return by how much a pixel is nearer to `x_adv` in the box than at `x`, squared, `[B, H, W]`.

    The pixels of which it is largest are those of the projection (Croce and Hein, arXiv:1909.05040, section 3.1).
    """
    delta = x_adv - x
    return (delta.square() - (x_adv - x_adv.clamp(0, 1)).square()).sum(1)


def keep_pixels(x_adv: Tensor, x: Tensor, score: Tensor, count: int) -> Tensor:
    """Return `x` with `count` pixels of `x_adv` per row, those of the largest `score`.

    Args:
        x_adv: images `[B, C, H, W]`.
        x: images of that shape.
        score: `[B, H, W]`; the first of equal pixels is kept.
        count: at least 1.
    """
    flat = score.flatten(1)
    # Stable, so that equal scores, as zeros are, come in the same order on every machine.
    chosen = flat.argsort(dim=1, descending=True, stable=True)[:, :count]
    kept = torch.zeros_like(flat, dtype=torch.bool).scatter(1, chosen, value=True)
    return torch.where(kept.view_as(score)[:, None], x_adv, x)


def onto_ball(delta: Tensor, eps: float, family: str) -> Tensor:
    """Project each row of `delta` onto the ball of radius `eps` around zero, without a box."""
    if family == "Linf":
        return delta.clamp(-eps, eps)
    if family == "L2":
        length = per_row(norm(delta, "L2"), delta).clamp_min(torch.finfo(delta.dtype).tiny)
        return delta * (eps / length).clamp_max(1)
    if family == "L1":
        return _onto_l1_ball(delta, eps)
    raise ValueError(f"{family!r} is not one of {', '.join(LP_FAMILIES)}")


def _inside(eps: float, rounding: float) -> float:
    """Return a radius slightly below eps, so that the rounded result is within eps in float64.

    Rounding a pixel of `x + delta` to float32 moves it by up to half a unit in the last place, 2^-25 near 1.
    In the norm these add up to `rounding` times that.
    """
    return max(0.0, eps * (1 - 1e-6) - rounding * 2.0**-25)


def _onto_l1_ball(delta: Tensor, eps: float) -> Tensor:
    """Project each row of `delta` onto the L1 ball around zero."""
    # float64, because the sum over a hundred thousand pixels decides the threshold.
    magnitude = delta.double().flatten(1).abs()
    near = _shrink(magnitude, torch.full_like(magnitude, torch.inf), eps)
    return delta.sign() * near.to(delta.dtype).view_as(delta)


def _onto_l1_ball_in_box(x_adv: Tensor, x: Tensor, eps: float) -> Tensor:
    """Project each row of `x_adv` onto the intersection of the box and the L1 ball around `x`."""
    delta = x_adv.double() - x
    room = torch.where(delta > 0, 1 - x.double(), x.double())
    near = _shrink(delta.abs().flatten(1), room.flatten(1), eps).view_as(delta)
    return (x + delta.sign() * near).to(x_adv.dtype).clamp(0, 1)


def _shrink(magnitude: Tensor, room: Tensor, radius: float) -> Tensor:
    """Return the point nearest to each row of `magnitude` among those from 0 to `room` with sum at most `radius`.

    It is min(max(magnitude - t, 0), room) for the smallest t >= 0 whose sum fits. As t grows, entry i
    begins to shrink at magnitude - room and is zero at magnitude; between two such breakpoints the sum
    falls linearly, by the number of shrinking entries per unit of t. So one sort of the breakpoints finds
    t (Duchi et al., ICML 2008, without the room). Entries that are zero already are left out: the sort
    takes most of the time, and steps in L1 leave most entries at zero.

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
    """Return the t of `_shrink`, `[B, 1]`, for rows whose sum `total` `[B, 1]` exceeds the radius."""
    most = int((magnitude > 0).sum(1).max())
    magnitude, kept = magnitude.topk(most, dim=1)
    room = room.gather(1, kept)
    places, order = torch.cat([(magnitude - room).clamp_min(0), magnitude], 1).sort(dim=1)
    # The first half of the breakpoints starts an entry's shrinking, the second half ends it.
    moving = torch.where(order < magnitude.shape[1], 1, -1).cumsum(1)
    falls = moving[:, :-1] * places.diff(dim=1)
    sums = torch.cat([total, total - falls.cumsum(1)], 1)
    last = ((sums >= radius).sum(1, keepdim=True) - 1).clamp_min(0)
    # At the last breakpoint nothing shrinks any more, and the excess is zero or rounding.
    excess = (sums.gather(1, last) - radius) / moving.gather(1, last).clamp_min(1)
    return places.gather(1, last) + excess


def fill(grad: Tensor, x: Tensor, length: float) -> Tensor:
    """Return the step of L1 length at most `length`, inside the box, along which a linear loss rises most.

    The pixel of the largest gradient moves to the edge of the box, then the next one, until the length
    is spent (Croce and Hein, ICML 2021, arXiv:2103.01208, proposition 3.3).

    Args:
        grad: `[B, ...]`; entries that are not finite count as zero.
        x: where the step starts, in the box.
        length: of the step.
    """
    flat, at = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0).flatten(1), x.flatten(1)
    room = torch.where(flat > 0, 1 - at, at).masked_fill(flat == 0, 0)
    # Stable, so that equal gradients, as zeros are, come in the same order on every machine.
    order = flat.abs().argsort(dim=1, descending=True, stable=True)
    room = room.gather(1, order)
    before = room.double().cumsum(1) - room
    taken = (length - before).clamp_min(0).to(room.dtype).minimum(room)
    return (torch.zeros_like(flat).scatter(1, order, taken) * flat.sign()).view_as(grad)


def random_in_ball(x: Tensor, uniform: Tensor, threat: ThreatModel) -> Tensor:
    """Return a random start near `x`: uniform in the Linf ball; for L2 and L1 a random direction and length.

    Args:
        x: images `[B, ...]`.
        uniform: random numbers in [0, 1), of the shape of `x`.
        threat: an Lp threat model.
    """
    delta = 2 * uniform - 1
    if threat.family == "Linf":
        return project(x + float(threat.eps) * delta, x, threat)
    length = per_row(norm(delta, threat.family), delta).clamp_min(1e-12)
    # The first pixel's number doubles as the radius: callers draw one number per pixel and no more.
    radius = per_row(uniform.flatten(1)[:, 0], delta)
    return project(x + float(threat.eps) * radius * delta / length, x, threat)


def steepest(grad: Tensor, family: str) -> Tensor:
    """Return the direction of unit length along which the loss of each row rises fastest.

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
