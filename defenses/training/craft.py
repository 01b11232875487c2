"""Adversarial examples to train on: the inner maximization of Madry et al. (arXiv:1706.06083).

Not `bench.attacks.pgd`: an evaluation stops at the first success and keeps the best point, because
one success settles it. Training wants the last of a fixed number of iterates for every example. An
attack that stops early leaves its examples just beyond the decision boundary; they carry less loss,
and a network trained on them learns less. Randomness comes from torch's global generator, and a
stochastic model is differentiated through one fresh draw per step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.geometry import project, random_in_ball, steepest
from bench.types import ThreatModel


def craft(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, *, steps: int, step_size: float) -> Tensor:
    """The last iterate of PGD on the cross-entropy, from a random start.

    The gradients of the parameters are left alone; whoever calls decides on the model's mode.

    Args:
        model: images in [0, 1] to logits.
        x: images `[B, C, H, W]`.
        y: labels `[B]`.
        threat: an Lp threat model.
        steps: gradient steps; one step with a size above 1 is the fast method of arXiv:2001.03994.
        step_size: in units of eps.
    """
    x_adv = random_in_ball(x, torch.rand_like(x), threat)
    for _ in range(steps):
        x_adv.requires_grad_()
        loss = F.cross_entropy(model(x_adv), y, reduction="sum")
        (grad,) = torch.autograd.grad(loss, x_adv)
        step = step_size * float(threat.eps) * steepest(grad, threat.family)
        x_adv = project(x_adv.detach() + step, x, threat)
    return x_adv
