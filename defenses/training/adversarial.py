"""Adversarial examples for training: the inner maximization of Madry et al. (ICLR 2018, arXiv:1706.06083).

This is not `bench.attacks.lp.pgd`. An evaluation stops at the first success and keeps the best point,
because one success decides. Training needs the last of a fixed number of iterates for every example: an
attack that stops early leaves its examples just beyond the decision boundary, where they have less loss,
and a network trained on them learns less. Randomness comes from torch's global generator, and each
gradient of a stochastic model is that of one fresh draw.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.attacks.unforeseen.recolor import ReColor
from bench.attacks.unforeseen.rendered import Rendered
from bench.attacks.unforeseen.stadv import StAdv
from bench.defenses.training.recipe import Adversary
from bench.oracle.geometry import project, random_in_ball, steepest
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

# The loss that the examples maximize: logits [B, C] to a sum over the batch.
Objective = Callable[[Tensor], Tensor]

# Families outside the Lp balls that a training can use; the search is over their variables, not over pixels.
RENDERED: dict[str, Callable[[], Rendered]] = {"stadv": StAdv, "recolor": ReColor}


def craft(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    steps: int,
    step_size: float,
    random_start: bool = True,
    objective: Objective | None = None,
) -> Tensor:
    """Return the last iterate of PGD, by default on the cross-entropy and from a random start.

    The gradients of the parameters stay untouched; the caller chooses the model's mode.

    Args:
        model: maps images in [0, 1] to logits.
        x: images `[B, C, H, W]`.
        y: labels `[B]`.
        threat: an Lp threat model, or one of a family in `RENDERED`.
        steps: gradient steps; one step with a size above 1 is the fast method of arXiv:2001.03994.
        step_size: in units of eps.
        random_start: whether the first point is drawn from the ball; else it is `x`.
        objective: the loss to maximize in place of the cross-entropy.
    """
    raised = objective or (lambda logits: F.cross_entropy(logits, y, reduction="sum"))
    if threat.family in RENDERED:
        method = RENDERED[threat.family]()
        return _rendered(method, model, x, float(threat.eps), raised, steps=steps, step_size=step_size)
    x_adv = random_in_ball(x, torch.rand_like(x), threat) if random_start else x
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        (grad,) = torch.autograd.grad(raised(model(x_adv)), x_adv)
        step = step_size * float(threat.eps) * steepest(grad, threat.family)
        x_adv = project(x_adv.detach() + step, x, threat)
    return x_adv.detach()


def crafted(model: nn.Module, x: Tensor, y: Tensor, recipe: Adversary) -> Tensor:
    """Return the examples of a recipe's adversary on the cross-entropy: the images themselves without a step."""
    if not recipe.steps:
        return x
    return craft(
        model,
        x,
        y,
        ThreatModel.parse(recipe.threat),
        steps=recipe.steps,
        step_size=recipe.step_size,
        random_start=recipe.random_start,
    )


def _rendered(
    method: Rendered, model: nn.Module, x: Tensor, eps: float, raised: Objective, *, steps: int, step_size: float
) -> Tensor:
    """Return the last iterate of the ascent in the variables of a rendering, in the norm that bounds them."""
    # A fresh number from the global generator, or every batch would begin with the same scenes and variables.
    draw = int(torch.randint(2**62, ()))
    stream = Stream(draw + torch.arange(len(x), device=x.device)).at("craft")
    scene = method.scene(x, stream)
    latent = method.start(x, scene, eps, stream)
    for _ in range(steps):
        latent = latent.detach().requires_grad_()
        (grad,) = torch.autograd.grad(raised(model(method.render(x, latent, scene))), latent)
        latent = method.within(latent.detach() + step_size * eps * steepest(grad, method.ball), eps)
    with torch.no_grad():
        return method.render(x, latent, scene)
