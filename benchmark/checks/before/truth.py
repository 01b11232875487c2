"""S11: a gradient predicts what a small step does, in every direction.

A gradient that is right along its own sign may still miss half of the pixels, or one branch of two, and where
it is zero, an attack that follows it never looks. So the check takes random steps within one part of an image
after the other: at the images themselves, at starting points of attacks, and where a short attack ends. For a
step of h up and h down, the difference of two logits must be what the gradient predicts.

No single h suits every network, so the check climbs a ladder of steps. An honest differentiable network agrees
with its gradient on the lowest rungs. Rounding and staircases hide the slope there; such a network agrees higher
up or nowhere. Two rungs that agree with each other, but not with the gradient, show that the gradient misses
something; a merely crooked function gives rungs that do not agree. Where the lowest rungs agree with the
gradient, two more tests follow. Does the slope of small steps persist a good part of eps away, in every part of
the image that moves the answer? It does not where pixels are rounded, or rippled. And is the gradient exactly at
the images the same as slightly beside them?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bench.checks.before.places import Part, Place, Slopes, divisions, signs, slopes_of, weight_of
from bench.checks.before.subject import Subject
from bench.results.finding import Finding

# Steps in pixel values. In less than 32 bits rounding drowns those below the second constant.
LADDER = (1e-4, 4e-4, 1.6e-3, 6.4e-3, 2.56e-2, 0.1024)
_LOW_PRECISION_FROM = 6.4e-3
# The largest unexplained share of the slope. For honest networks it was at most 0.08 where they are smooth.
TOLERATED = 0.15
# ... and for steps coarser than COARSE, where every network bends.
COARSE = 1e-2
TOLERATED_COARSE = 0.5
# An image is a stray if more than the share STRAY of its own slope is unexplained. One or two may sit on a kink;
# three mean that the gradient is missing now and then.
STRAY = 0.4
STRAYS = 2
# The far test, at this part of eps: in each part of the image with at least the share _BEARING of what moves the
# answer, real and predicted changes must correlate by _CORRELATED; the second values hold when it is repeated. For
# honest networks that are smooth in small steps the correlation was at least 0.73; a part that is rounded or
# rippled has none.
_FAR = 1 / 8
_BEARING, _STILL_BEARING = 0.2, 0.15
_CORRELATED, _STILL_CORRELATED = 0.4, 0.5
_AGAIN = 4
# The least size of the gradient at the images, as a share of its size slightly beside them; low, because honest
# networks may have kinks where many pixels tie or are exactly black. Pixels with less than the share _NOTABLE of the
# gradient are not tested.
_SUDDEN = 0.25
_NOTABLE = 0.1
# Two rungs agree if their slopes differ by at most the first share, and plainly agree by the second.
_AGREE, _PLAINLY = 0.3, 0.05
# A function that moves less than this share of what its gradient predicts is a staircase seen from too near.
_FLAT = 0.3
# The error that the bend of a function explains, as a multiple of the difference between two rungs.
_BEND = 2.0
# Where no rung decides, steps along the sign of the gradient: three in eps, and one in pixel values. The median ratio
# of real and predicted slope must be in MEDIAN_WITHIN, and on a share RISING of images it must exceed RISES_BY.
STEPS = (1 / 8, 1 / 2, 1)
LARGEST_STEP = 0.1
MEDIAN_WITHIN = (0.3, 3.0)
RISING = 0.8
RISES_BY = 0.1
# The fewest points with a gradient that are evidence.
_FEWEST = 4


class StepResult(NamedTuple):
    """The result for one size of step.

    Attributes:
        h: the step, in pixel values.
        off: the share of the slope that the gradient does not explain.
        apart: the difference from the slopes of the rung below, as a share of them; infinite at the lowest.
        moves: the typical change of the function, divided by the predicted one.
        missing: the part of `off` that the bend of the function does not explain.
        where: the part of the image in which most is missing.
        strays: the images with more than `STRAY` of their own slope unexplained.
        masked: the strays that their bend does not explain.
    """

    h: float
    off: float
    apart: float
    moves: float
    missing: float
    where: str
    strays: int = 0
    masked: int = 0


@dataclass(frozen=True)
class Seen:
    """The result of the steps from one place.

    Attributes:
        state: `"true"`, `"masked"`, or `"rough"` where no rung decides.
        far: whether the far test failed, a good part of eps away.
    """

    place: str
    state: str
    rung: StepResult
    far: bool = False


def examine(subject: Subject, exact: Tensor, at: Sequence[Place]) -> Finding:
    """Check S11: at every place the gradient predicts small steps in every part of an image.

    Args:
        subject: the defense.
        exact: gradients of the margin at the images `[m, C, H, W]`.
        at: the places to test.
    """
    threshold = f"<= {TOLERATED:.0%}"
    if not subject.repeatable:
        return Finding("S11", "info", "-", threshold, "S11: not checked: answers cannot be repeated, see S03")
    seen = []
    for place in at:
        if int(place.usable.sum()) >= min(_FEWEST, len(place.x)):
            seen.append(look(subject, place))
            if seen[-1].state == "masked":
                return _masked(seen[-1], threshold)
    sudden = _suddenly(subject, exact, at)
    if sudden:
        return Finding("S11", "flag", sudden, threshold, f"S11: {sudden}; masked or wrong backward")
    if not seen:
        return Finding("S11", "info", "-", threshold, "S11: not checked: there is no gradient, see S09")
    worst = max(seen, key=lambda each: each.rung.off)
    value = f"{worst.rung.off:.1%} for h={worst.rung.h:.2g}"
    if any(each.state == "rough" for each in seen):
        message = "S11: the gradient predicts large steps; small ones are lost in rounding or on a staircase"
        return Finding("S11", "pass", value, threshold, message)
    return Finding("S11", "pass", value, threshold, "S11: the gradient predicts steps in every part of an image")


def _suddenly(subject: Subject, exact: Tensor, at: Sequence[Place]) -> str:
    """Describe where the gradient vanishes exactly at the images, but not slightly beside them; empty if nowhere."""
    if not at:
        return ""
    beside = at[0].grad.nan_to_num(0, 0, 0).abs()
    here = exact[: len(beside)].nan_to_num(0, 0, 0).abs()
    x = subject.x[: len(beside)]
    for name, pixels in (("at 0", x == 0), ("at 1", x == 1), ("between 0 and 1", (x > 0) & (x < 1))):
        there = float((beside * pixels).sum())
        if there > _NOTABLE * float(beside.sum()) and float((here * pixels).sum()) < _SUDDEN * there:
            share = float((here * pixels).sum()) / there
            return f"exactly at the images the gradient of pixels {name} is {share:.0%} of what it is a hair beside"
    return ""


def _masked(seen: Seen, threshold: str) -> Finding:
    rung = seen.rung
    if seen.far:
        what = f"a step of {rung.h:.2g} in {rung.where} does not do what its gradient {seen.place} says"
    elif rung.missing > TOLERATED:
        where = f", most of it in {rung.where}" if rung.where else ""
        what = f"{rung.missing:.0%} of the slope is not in the gradient {seen.place}{where}"
    else:
        what = f"the slope of {rung.masked} images is not in their gradient {seen.place}"
    message = f"S11: {what}; masked or wrong backward"
    return Finding("S11", "flag", f"{rung.missing:.0%} for h={rung.h:.2g}", threshold, message)


def look(subject: Subject, place: Place) -> Seen:
    """Climb the ladder at one place until a rung decides."""
    kinds = divisions(place)
    if place.draw:  # the images themselves test every division; at the other places that by slope is enough
        kinds = {"slope": kinds["slope"]}
    steps = [
        part.mask * signs(subject, f"{place.name} {part.name}", place) for parts in kinds.values() for part in parts
    ]
    weights = {name: [weight_of(part, place) for part in parts] for name, parts in kinds.items()}
    seen: list[StepResult] = []
    below: Slopes | None = None
    for h in (step for step in LADDER if step >= (_LOW_PRECISION_FROM if subject.low_precision else 0)):
        slopes = slopes_of(subject, place, steps, h)
        seen.append(_rung(h, kinds, weights, slopes, below))
        below, rung = slopes, seen[-1]
        if rung.off <= TOLERATED and rung.strays <= STRAYS:
            return _further(subject, place, rung)
        plain = rung.missing > 2 * TOLERATED or rung.masked > 2 * STRAYS
        if rung.apart <= _PLAINLY and plain and rung.moves > _FLAT:
            return Seen(place.name, "masked", rung)
    straight = [rung for rung in seen if rung.apart <= _AGREE and rung.moves > _FLAT]
    if not straight:
        return _along_the_gradient(subject, place)
    # The lowest rung that plainly agrees with the one below: on higher ones every function bends.
    agreeing = [rung for rung in straight if rung.apart <= _PLAINLY]
    best = agreeing[0] if agreeing else min(straight, key=lambda rung: rung.apart)
    coarse = best.h > COARSE
    if best.missing > (TOLERATED_COARSE if coarse else TOLERATED) or (best.masked > STRAYS and not coarse):
        return Seen(place.name, "masked", best)
    return _further(subject, place, best)


def _further(subject: Subject, place: Place, near: StepResult) -> Seen:
    """Test whether the slope of small steps persists a good part of eps away."""
    h = max(_FAR * subject.eps, near.h)
    if place.draw > 1:
        return Seen(place.name, "true", near)
    kinds = divisions(place)
    for kind in ("slope",) if place.draw else ("slope", "value"):
        parts = [part for part in kinds[kind] if weight_of(part, place)]
        shares, alike = _likeness(subject, place, parts, h, 1)
        if not bool(((shares >= _BEARING) & (alike < _CORRELATED)).any()):
            continue
        # A random sign per pixel may be unlucky; a part that is rounded or rippled fails with other signs, too.
        shares, alike = _likeness(subject, place, parts, h, _AGAIN)
        for part, share, likeness in zip(parts, shares.tolist(), alike.tolist(), strict=True):
            if share >= _STILL_BEARING and likeness < _STILL_CORRELATED:
                return Seen(place.name, "masked", StepResult(h, 1 - likeness, torch.inf, 1.0, 0.0, part.name), far=True)
    return Seen(place.name, "true", near)


def _likeness(subject: Subject, place: Place, parts: Sequence[Part], h: float, times: int) -> tuple[Tensor, Tensor]:
    """Return each part's share of what moves the answer, and the correlation of its real and predicted changes."""
    steps = [
        part.mask * signs(subject, f"far {place.name} {part.name} {time if times > 1 else ''}", place)
        for part in parts
        for time in range(times)
    ]
    slopes = slopes_of(subject, place, steps, h)
    scale = torch.maximum(slopes.real.abs(), slopes.predicted.abs()).square().mean(0).sqrt()
    real, predicted = ((each / scale.clamp_min(torch.finfo(scale.dtype).tiny)).view(len(parts), -1) for each in slopes)
    bears = torch.tensor([weight_of(part, place) for part in parts], device=real.device) * real.abs().mean(1)
    length = (real.square().sum(1) * predicted.square().sum(1)).sqrt()
    return bears / bears.sum(), (real * predicted).sum(1) / length.clamp_min(1e-12)


def _along_the_gradient(subject: Subject, place: Place) -> Seen:
    """Test a function that is rough at every scale along its own gradient's sign, where it must at least be right.

    r = [M(x + h s) - M(x - h s)] / (2 h |g|_1) with s = sign g. The best of four steps counts: a straight-through
    estimate of a quantizer is right over several of its levels, and a sum in bfloat16 over differences that it can
    represent; a wrong, detached, sign-flipped or random backward pass is wrong at all of them.
    """
    seen = []
    for h in (*(step * subject.eps for step in STEPS), max(subject.eps, LARGEST_STEP)):
        slopes = slopes_of(subject, place, [place.grad.sign()], h)
        ratios = (slopes.real / slopes.predicted.clamp_min(torch.finfo(place.x.dtype).tiny))[0]
        median, rising = float(ratios.median()), float((ratios > RISES_BY).float().mean())
        rung = StepResult(h, abs(1 - median), torch.inf, median, max(0.0, 1 - median), "")
        if MEDIAN_WITHIN[0] < median < MEDIAN_WITHIN[1] and rising >= RISING:
            return Seen(place.name, "rough", rung)
        seen.append(rung)
    return Seen(place.name, "masked", min(seen, key=lambda rung: rung.off))


def _rung(
    h: float,
    kinds: Mapping[str, Sequence[Part]],
    weights: Mapping[str, Sequence[float]],
    slopes: Slopes,
    below: Slopes | None,
) -> StepResult:
    real, predicted = slopes
    tiny = torch.finfo(real.dtype).tiny
    size = torch.maximum(real.abs(), predicted.abs())
    # Divided by the image's own slope, so that every image counts the same, however steep it is.
    scale = size.square().mean(0).sqrt().clamp_min(tiny)
    error, size = (real - predicted).abs() / scale, size / scale
    bend = torch.full_like(error, torch.inf)
    if below is not None:
        bend = ((real - below.real) - (predicted - below.predicted)).abs() / scale
    off, missing, where, start = 0.0, 0.0, "", 0
    for name, parts in kinds.items():
        rows = slice(start, start + len(parts))
        start += len(parts)
        weight = torch.tensor(weights[name], device=real.device)
        whole = (weight * size[rows].mean(1)).sum().clamp_min(tiny)
        left = weight * (error[rows].mean(1) - _BEND * bend[rows].mean(1)).clamp_min(0)
        off = max(off, float((weight * error[rows].mean(1)).sum() / whole))
        if float(left.sum() / whole) > missing:
            missing, where = float(left.sum() / whole), parts[int(left.argmax())].name
    own = size.mean(0).clamp_min(tiny)
    strays = int((error.mean(0) > STRAY * own).sum())
    masked = int((error.mean(0) - _BEND * bend.mean(0) > STRAY * own).sum())
    # The median, because a staircase seen from near moves rarely, and then by much.
    moves = float((real.abs() / scale).median() / (predicted.abs() / scale).median().clamp_min(1e-12))
    return StepResult(h, off, float(bend.mean() / size.mean()), moves, missing, where, strays, masked)
