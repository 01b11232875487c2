"""Checks of the gradient: S09 there is one, S10 saturation, S17 optimization inside; S11 is in `truth.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from bench.checks.before.subject import Subject
from bench.errors import NoGradient, differentiable
from bench.harness.certain import certain
from bench.oracle.answers import margin
from bench.results.finding import Finding

if TYPE_CHECKING:
    from bench.checks.before.places import Place

# Draws of a stochastic defense that a gradient is averaged over.
DRAWS = 2
# Beyond this share of examples without a gradient the defense counts as one without.
TOLERATED = 0.01


@dataclass(frozen=True)
class LossGradients:
    """Gradients at the images themselves.

    Attributes:
        x: the images `[m, C, H, W]`.
        margin: gradient of the margin loss, mean over draws, or `None` without one.
        cross_entropy: gradient of the softmax cross-entropy, or `None`.
        logits: the answer of draw 0 while it was differentiated.
        error: the error of the backward pass, if any.
    """

    x: Tensor
    margin: Tensor | None
    cross_entropy: Tensor | None
    logits: Tensor
    error: str = ""


def slopes(subject: Subject) -> LossGradients:
    """Differentiate the defense as an attack does: a leaf, the logits in float32, the labels outside.

    Raises:
        Exception: any error of the forward pass.
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
            except NoGradient:  # a session of another runtime, which takes only numbers
                return LossGradients(x, None, None, subject.clean)
            first = logits.detach().clone() if first is None else first
            losses = margin(logits, subject.y), F.cross_entropy(logits, subject.y, reduction="none")
            try:
                with differentiable():
                    for loss, total, keep in zip(losses, totals, (True, False), strict=True):
                        total += torch.autograd.grad(loss.sum(), leaf, retain_graph=keep)[0] / _draws(subject)
            except NoGradient:
                return LossGradients(x, None, None, first)
            except Exception as error:  # noqa: BLE001  (a backward of anybody's code)
                return LossGradients(
                    x, None, None, first, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                )
    assert first is not None  # noqa: S101  (there is at least one draw)
    return LossGradients(x, totals[0], totals[1], first)


def _draws(subject: Subject) -> int:
    return DRAWS if subject.random else 1


def usable(found: LossGradients) -> Tensor:
    """Return which examples have a gradient that is finite and not all zero, bool `[m]`."""
    if found.margin is None:
        return torch.zeros(len(found.x), dtype=torch.bool, device=found.x.device)
    return sloping(found.margin)


def sloping(grad: Tensor) -> Tensor:
    """Return which rows of a gradient `[m, C, H, W]` are finite and not all zero, bool `[m]`."""
    flat = grad.flatten(1)
    return flat.isfinite().all(1) & (flat != 0).any(1)


def existence(subject: Subject, found: LossGradients, places: Sequence[Place] = ()) -> Finding:
    """Check S09: the margin has a usable gradient, or an honestly flat one, on all but 1 % of the examples.

    Args:
        subject: the defense.
        found: the gradients at the images themselves, where some are infinite at black pixels.
        places: the points near the images, and on the way of an attack.
    """
    threshold = f"{TOLERATED:.0%}"
    if found.margin is None:
        count, m, where, sure = len(found.x), len(found.x), "", 0
    else:
        sides = [("at the images", found.x, subject.y, found.margin)]
        sides += [(place.name, place.x, place.y, place.grad) for place in places]
        counted = [(*_without(subject, x, y, grad), len(x), name) for name, x, y, grad in sides]
        # The worst place counts: an attack passes through all of them.
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
    """Count the images without a usable gradient, and those that are flat because the defense is certain there."""
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


def saturation(subject: Subject, found: LossGradients) -> Finding:
    """Check S10: cross-entropy has a gradient wherever the margin has; in float32 it vanishes at a gap of 104."""
    if found.cross_entropy is None:
        return Finding("S10", "info", "-", "-", "S10: not checked: there is no gradient, see S09")
    flat = (found.cross_entropy == 0).flatten(1).all(1) & usable(found)
    count, m, threshold = int(flat.sum()), len(subject), f"{TOLERATED:.0%}"
    if count > TOLERATED * m:
        message = f"S10: cross-entropy saturates on {count}/{m}; use a margin or DLR loss"
        return Finding("S10", "info", f"{count}/{m}", threshold, message)
    return Finding("S10", "pass", f"{count}/{m}", threshold, "S10: cross-entropy does not saturate")


def optimization(subject: Subject) -> Finding:
    """Check S17: a forward that nobody differentiates runs no autograd inside.

    A backward pass reads the tensors that the forward pass saved, so hooks on saved tensors notice it.
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
        reads += 1  # torch.func refuses such hooks, and differentiates
    if reads:
        message = "S17: test-time optimization found; attack it through BPDA and by transfer from its base, too"
        return Finding("S17", "info", f"{reads} saved tensors read", "0", message)
    return Finding("S17", "pass", "0", "0", "S17: no optimization at test time")


def gradient(subject: Subject, x: Tensor, loss: Callable[[Tensor], Tensor], draw: int = 0) -> tuple[Tensor, Tensor]:
    """Return the gradient at images `[B, C, H, W]` of a loss of the logits, and the logits of that forward.

    Raises:
        Exception: any error of the forward or the backward pass.
    """
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        logits = subject.forward(leaf, x, draw).float()
        (grad,) = torch.autograd.grad(loss(logits).sum(), leaf)
    return grad, logits.detach().clone()


def ascend(subject: Subject, x: Tensor, y: Tensor, steps: int) -> Tensor | None:
    """Return the images after signed gradient steps on the margin, within eps; `None` without a gradient."""
    x_adv = x
    for _ in range(steps):
        try:
            grad, _ = gradient(subject, x_adv, lambda logits: margin(logits, y))
        except Exception:  # noqa: BLE001  (S06 and S09 report it)
            return None
        x_adv = x_adv + 2 / steps * subject.eps * grad.nan_to_num().sign()
        x_adv = torch.minimum(torch.maximum(x_adv, x - subject.eps), x + subject.eps).clamp(0, 1)
    return x_adv
