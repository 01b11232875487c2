"""Checks of the gradient: S09 there is one, S10 saturation, S17 optimization inside; S11 is `bench.checks.truth`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from bench.answers import margin
from bench.checks.certain import certain
from bench.checks.finding import Finding
from bench.checks.subject import Subject
from bench.errors import NoGradient, differentiable

if TYPE_CHECKING:
    from bench.checks.places import Place

# Draws of a stochastic defense that a gradient is averaged over.
DRAWS = 2
# More of the examples than this without a gradient is a defense without one.
TOLERATED = 0.01


@dataclass(frozen=True)
class Slopes:
    """Gradients at the images themselves.

    Attributes:
        x: the images `[m, C, H, W]`.
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

    Raises:
        Exception: whatever the forward pass raises.
    """
    x = subject.x
    first: Tensor | None = None
    totals = [torch.zeros_like(x), torch.zeros_like(x)]
    for draw in range(_draws(subject)):
        leaf = x.clone().requires_grad_()
        with torch.enable_grad():
            try:
                with differentiable():
                    logits = subject.forward(leaf, x, draw).float()
            except NoGradient:  # of another runtime, which takes numbers alone
                return Slopes(x, None, None, subject.clean)
            first = logits.detach().clone() if first is None else first
            losses = margin(logits, subject.y), F.cross_entropy(logits, subject.y, reduction="none")
            try:
                with differentiable():
                    for loss, total, keep in zip(losses, totals, (True, False), strict=True):
                        total += torch.autograd.grad(loss.sum(), leaf, retain_graph=keep)[0] / _draws(subject)
            except NoGradient:
                return Slopes(x, None, None, first)
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
    return sloping(found.margin)


def sloping(grad: Tensor) -> Tensor:
    """Where a gradient `[m, C, H, W]` is finite and not all zero, bool `[m]`."""
    flat = grad.flatten(1)
    return flat.isfinite().all(1) & (flat != 0).any(1)


def existence(subject: Subject, found: Slopes, places: Sequence[Place] = ()) -> Finding:
    """S09: the margin has a usable gradient on all but 1 % of the examples, or is flat because it is certain.

    Args:
        subject: the defense.
        found: the gradients at the images themselves: at black pixels some are infinite.
        places: those near the images, and on the way of an attack.
    """
    threshold = f"{TOLERATED:.0%}"
    if found.margin is None:
        count, m, where, sure = len(found.x), len(found.x), "", 0
    else:
        sides = [("at the images", found.x, subject.y, found.margin)]
        sides += [(place.name, place.x, place.y, place.grad) for place in places]
        counted = [(*_without(subject, x, y, grad), len(x), name) for name, x, y, grad in sides]
        count, sure, m, where = max(counted, key=lambda side: side[0] / side[2])
        sure = max(sure, counted[0][1])
    if count <= TOLERATED * m:
        more = f"; {sure} are flat because nothing near changes their answer" if sure else ""
        return Finding("S09", "pass", f"{count}/{m}", threshold, f"S09: the margin loss has a gradient{more}")
    remedy = "attack through its BPDA variant" if subject.has_substitute else "BPDA or black-box attacks are needed"
    why = f" ({found.error})" if found.error else ""
    there = f" {where}" if where not in ("", "at the images") else ""
    message = f"S09: no usable gradient on {count}/{m}{there}; white-box numbers are not evidence, {remedy}{why}"
    return Finding("S09", "flag", f"{count}/{m}", threshold, message)


def _without(subject: Subject, x: Tensor, y: Tensor, grad: Tensor) -> tuple[int, int]:
    """How many images have no gradient that could be used, and how many are flat because they are certain."""
    bad = ~sloping(grad)
    if not bool(bad.any()):
        return 0, 0
    images, noise = subject.x[: len(x)], subject.noise("certain")[: len(x)]

    def ask(some: Tensor, _rows: Tensor) -> Tensor:
        return subject.ask(some)

    def reach(some: Tensor, direction: Tensor) -> Tensor:
        return (some + subject.eps * direction).clamp(0, 1)

    sure = certain(ask, reach, images, x, y, grad, noise) & bad
    return int((bad & ~sure).sum()), int(sure.sum())


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


def gradient(subject: Subject, x: Tensor, loss: Callable[[Tensor], Tensor], draw: int = 0) -> tuple[Tensor, Tensor]:
    """The gradient at images `[B, C, H, W]` of a loss of the logits, and those logits while they are differentiated.

    Raises:
        Exception: whatever the forward or the backward pass raises.
    """
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        logits = subject.forward(leaf, x, draw).float()
        (grad,) = torch.autograd.grad(loss(logits).sum(), leaf)
    return grad, logits.detach().clone()


def ascend(subject: Subject, x: Tensor, y: Tensor, steps: int) -> Tensor | None:
    """The images after signed gradient steps on the margin, within eps, or `None` without a gradient."""
    x_adv = x
    for _ in range(steps):
        try:
            grad, _ = gradient(subject, x_adv, lambda logits: margin(logits, y))
        except Exception:  # noqa: BLE001  (S06 and S09 report it)
            return None
        x_adv = x_adv + 2 / steps * subject.eps * grad.nan_to_num().sign()
        x_adv = torch.minimum(torch.maximum(x_adv, x - subject.eps), x + subject.eps).clamp(0, 1)
    return x_adv
