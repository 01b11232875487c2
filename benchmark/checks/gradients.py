"""Checks of the gradient: S09 there is one, S10 saturation, S11 it is true, S17 optimization inside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from bench.answers import margin
from bench.checks.finding import Finding
from bench.checks.subject import Subject
from bench.geometry import norm

# Draws of a stochastic defense that a gradient is averaged over.
DRAWS = 2
# More of the examples than this without a gradient is a defense without one.
TOLERATED = 0.01

# The steps of the finite difference, in eps, from the most exact one on, and one in pixel values: a
# true backward pass agrees with at least one of them, that of a quantizer with the coarser ones.
STEPS = (1 / 8, 1 / 2, 1)
LARGEST_STEP = 0.1
MEDIAN_WITHIN = (0.3, 3.0)
RISING = 0.8
RISES_BY = 0.1
# Fewer examples with a gradient than this say nothing.
ENOUGH = 8


@dataclass(frozen=True)
class Slopes:
    """Gradients at points inside the box, where a step of eps stays in it.

    Attributes:
        x: the points `[m, C, H, W]`.
        margin: gradient of the margin loss, mean over draws, or `None` without one.
        cross_entropy: gradient of the softmax cross-entropy, or `None`.
        logits: the answer of draw 0 while it was differentiated.
        error: what the backward pass raised.
    """

    x: Tensor
    margin: Tensor | None
    cross_entropy: Tensor | None
    logits: Tensor
    error: str = ""


def slopes(subject: Subject) -> Slopes:
    """Differentiate the defense as an attack does: a leaf, the logits in float32, the labels outside.

    The points are the images, moved so far into the box that a step of the checks does not leave it.

    Raises:
        Exception: whatever the forward pass raises.
    """
    # Off the lattice of 8-bit images, on which a rounding defense has its jumps.
    points = subject.x + subject.eps / 2 * subject.noise("slopes")
    reach = min(max(subject.eps, LARGEST_STEP), 0.5)
    x = points.clamp(reach, 1 - reach)
    first: Tensor | None = None
    totals = [torch.zeros_like(x), torch.zeros_like(x)]
    for draw in range(_draws(subject)):
        leaf = x.clone().requires_grad_()
        with torch.enable_grad():
            logits = subject.forward(leaf, x, draw).float()
            first = logits.detach().clone() if first is None else first
            losses = margin(logits, subject.y), F.cross_entropy(logits, subject.y, reduction="none")
            try:
                for loss, total, keep in zip(losses, totals, (True, False), strict=True):
                    total += torch.autograd.grad(loss.sum(), leaf, retain_graph=keep)[0] / _draws(subject)
            except Exception as error:  # noqa: BLE001  (a backward of anybody's code)
                return Slopes(x, None, None, first, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
    assert first is not None  # noqa: S101  (there is at least one draw)
    return Slopes(x, totals[0], totals[1], first)


def _draws(subject: Subject) -> int:
    return DRAWS if subject.random else 1


def usable(found: Slopes) -> Tensor:
    """Which examples have a gradient that is finite and not all zero, bool `[m]`."""
    if found.margin is None:
        return torch.zeros(len(found.x), dtype=torch.bool, device=found.x.device)
    return found.margin.flatten(1).isfinite().all(1) & (found.margin != 0).flatten(1).any(1)


def existence(subject: Subject, found: Slopes) -> Finding:
    """S09: the margin loss has a usable gradient on all but 1 % of the examples."""
    count, m = int((~usable(found)).sum()), len(subject)
    threshold = f"{TOLERATED:.0%}"
    if count <= TOLERATED * m:
        return Finding("S09", "pass", f"{count}/{m}", threshold, "S09: the margin loss has a gradient")
    remedy = "attack through its BPDA variant" if subject.has_substitute else "BPDA or black-box attacks are needed"
    why = f" ({found.error})" if found.error else ""
    message = f"S09: no usable gradient on {count}/{m}; white-box numbers are not evidence, {remedy}{why}"
    return Finding("S09", "flag", f"{count}/{m}", threshold, message)


def saturation(subject: Subject, found: Slopes) -> Finding:
    """S10: cross-entropy has a gradient wherever the margin has; in float32 it ends at a gap of 104."""
    if found.cross_entropy is None:
        return Finding("S10", "info", "-", "-", "S10: not checked: there is no gradient, see S09")
    flat = (found.cross_entropy == 0).flatten(1).all(1) & usable(found)
    count, m, threshold = int(flat.sum()), len(subject), f"{TOLERATED:.0%}"
    if count > TOLERATED * m:
        message = f"S10: cross-entropy saturates on {count}/{m}; use a margin or DLR loss"
        return Finding("S10", "info", f"{count}/{m}", threshold, message)
    return Finding("S10", "pass", f"{count}/{m}", threshold, "S10: cross-entropy does not saturate")


def truth(subject: Subject, found: Slopes) -> Finding:
    """S11: along its own sign the gradient predicts how the margin changes.

    r = [M(x + h s) - M(x - h s)] / (2 h |g|_1) with s = sign g, same seeds on both sides. The best of
    four steps counts: a straight-through estimate of a quantizer is right over a few of its steps, and
    a sum in bfloat16 over differences that it can hold; a wrong, detached, sign-flipped or random
    backward pass is wrong at all of them.
    """
    rows = usable(found)
    threshold = f"{MEDIAN_WITHIN[0]:g} < r < {MEDIAN_WITHIN[1]:g}"
    if found.margin is None or int(rows.sum()) < min(ENOUGH, len(subject)):
        return Finding("S11", "info", "-", threshold, "S11: not checked: there is no gradient, see S09")
    if not subject.repeatable:
        return Finding("S11", "info", "-", threshold, "S11: not checked: answers cannot be repeated, see S03")
    seen = []
    for h in (*(step * subject.eps for step in STEPS), max(subject.eps, LARGEST_STEP)):
        ratios = _ratios(subject, found.x, found.margin, h)[rows]
        median, rising = float(ratios.median()), float((ratios > RISES_BY).float().mean())
        if MEDIAN_WITHIN[0] < median < MEDIAN_WITHIN[1] and rising >= RISING:
            message = "S11: the gradient predicts how the loss changes"
            return Finding("S11", "pass", f"{median:.2f} for h={h:.2g}", threshold, message)
        seen.append((abs(median - 1), median, rising))
    _, median, rising = min(seen)
    message = (
        f"S11: the real loss change is {median:.1%} of what the gradient predicts, with its sign on {rising:.0%}; "
        "masked or wrong backward"
    )
    return Finding("S11", "flag", f"{median:.3g}", threshold, message)


def _ratios(subject: Subject, x: Tensor, grad: Tensor, h: float) -> Tensor:
    """Real change of the margin over the predicted one, `[m]`."""
    shift, change = h * grad.sign(), torch.zeros(len(x), device=x.device)
    for draw in range(_draws(subject)):
        up, down = subject.ask(x + shift, draw), subject.ask(x - shift, draw)
        change += (margin(up, subject.y) - margin(down, subject.y)) / _draws(subject)
    predicted = 2 * h * norm(grad, "L1")
    return (change / predicted.clamp_min(torch.finfo(x.dtype).tiny)).nan_to_num(nan=0.0)


def optimization(subject: Subject) -> Finding:
    """S17: no autograd inside a forward that nobody differentiates.

    What a backward pass reads is what the forward pass saved, so hooks on saved tensors see it.
    """
    reads = 0

    def unpack(saved: Tensor) -> Tensor:
        nonlocal reads
        reads += 1
        return saved

    try:
        with saved_tensors_hooks(lambda saved: saved, unpack):
            subject.ask(subject.x[:8])
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        reads += 1  # torch.func differentiates, and refuses to be watched
    if reads:
        message = "S17: test-time optimization found; attack it through BPDA and by transfer from its base, too"
        return Finding("S17", "info", f"{reads} saved tensors read", "0", message)
    return Finding("S17", "pass", "0", "0", "S17: no optimization at test time")


def ascend(subject: Subject, x: Tensor, y: Tensor, steps: int) -> Tensor | None:
    """The images after signed gradient steps on the margin, within eps, or `None` without a gradient."""
    x_adv = x
    for _ in range(steps):
        leaf = x_adv.clone().requires_grad_()
        try:
            with torch.enable_grad():
                (grad,) = torch.autograd.grad(margin(subject.forward(leaf, x_adv).float(), y).sum(), leaf)
        except Exception:  # noqa: BLE001  (S06 and S09 report it)
            return None
        x_adv = x_adv + 2 / steps * subject.eps * grad.nan_to_num().sign()
        x_adv = torch.minimum(torch.maximum(x_adv, x - subject.eps), x + subject.eps).clamp(0, 1)
    return x_adv
