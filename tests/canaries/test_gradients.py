"""Defenses whose gradient or scores mislead an attack: each is named by the right check."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F


class Before(nn.Module):
    """A function in front of the model."""

    def __init__(self, function, model):
        super().__init__()
        self.function, self.model = function, model

    def forward(self, x):
        return self.model(self.function(x))


class After(nn.Module):
    """A function of the model's logits."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, x):
        return self.function(self.model(x))


class Backward(torch.autograd.Function):
    """The identity, with whatever backward pass."""

    @staticmethod
    def forward(ctx, x, rule):
        ctx.rule = rule
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return ctx.rule(grad), None


def with_backward(rule):
    return lambda model: Before(lambda x: Backward.apply(x, rule), model)


def noise_instead(grad):
    return grad.abs().mean() * torch.randn_like(grad)


def refuse(_):
    raise RuntimeError("this defense cannot be differentiated")


def jpeg(x):
    """Every image through a JPEG file of quality 60."""
    images = []
    for pixels in (x.detach() * 255).round().byte().numpy():
        file = io.BytesIO()
        Image.fromarray(pixels[0]).save(file, "JPEG", quality=60)
        images.append(np.asarray(Image.open(file), dtype=np.float32)[None] / 255)
    return torch.from_numpy(np.stack(images))


def hide_best(logits):
    """NaN in place of the best logit: no comparison with it is ever true."""
    return logits.scatter(1, logits.argmax(1, keepdim=True), torch.nan)


class NanOnNoise(nn.Module):
    """Gives up on images whose pixels are not multiples of 1/16, as those of the data set are."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        strange = ((x * 16 - (x * 16).round()).abs() > 1e-3).flatten(1).any(1)
        return torch.where(strange[:, None], torch.nan, self.model(x))


class Optimizing(nn.Module):
    """Takes a few steps towards confidence before it answers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        point = x
        for _ in range(2):
            with torch.enable_grad():
                leaf = point.detach().requires_grad_()
                (grad,) = torch.autograd.grad(self.model(leaf).logsumexp(1).sum(), leaf)
            point = point + 0.02 * grad.sign()
        return self.model(point)


class OptimizingByTransform(nn.Module):
    """The same with torch.func."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        grad = torch.func.grad(lambda point: self.model(point).logsumexp(1).sum())(x.detach())
        return self.model(x + 0.02 * grad.sign())


def round_to_quarters(logits):
    """Rounded, with a straight-through gradient: the scores alone are coarse."""
    return logits + ((logits * 4).round() / 4 - logits).detach()


# name -> (how to break the robust classifier, check, verdict)
CANARIES = {
    "3-bit quantization": (lambda model: Before(lambda x: (x * 7).round() / 7, model), "S09", "flag"),
    "JPEG": (lambda model: Before(jpeg, model), "S09", "flag"),
    "detached": (lambda model: After(model, lambda logits: logits.detach()), "S09", "flag"),
    "detached, differentiable on paper": (
        lambda model: Before(lambda x: x.detach() + 0 * x, model),
        "S09",
        "flag",
    ),
    "backward raises": (with_backward(refuse), "S09", "flag"),
    "backward gives NaN": (with_backward(lambda grad: grad * torch.nan), "S09", "flag"),
    "rounded logits, no gradient": (lambda model: After(model, lambda z: (z * 4).round() / 4), "S09", "flag"),
    "rounded logits": (lambda model: After(model, round_to_quarters), "S13", "flag"),
    "logits plus a million": (lambda model: After(model, lambda logits: logits + 1e6), "S13", "flag"),
    "one-hot logits": (
        lambda model: After(model, lambda logits: F.one_hot(logits.argmax(1), 10).float() + 0 * logits),
        "S13",
        "flag",
    ),
    "logits times a thousand": (lambda model: After(model, lambda logits: 1000 * logits), "S10", "info"),
    "sign-flipped backward": (with_backward(lambda grad: -grad), "S11", "flag"),
    "random backward": (with_backward(noise_instead), "S11", "flag"),
    "vanishing backward": (with_backward(lambda grad: 1e-4 * grad), "S11", "flag"),
    "NaN at the predicted class": (lambda model: After(model, hide_best), "S01", "block"),
    "NaN on perturbed images": (NanOnNoise, "S01", "block"),
    "softmax": (lambda model: After(model, lambda logits: logits.softmax(1)), "S12", "flag"),
    "log-softmax": (lambda model: After(model, lambda logits: logits.log_softmax(1)), "S12", "info"),
    "an eleventh class": (lambda model: After(model, lambda logits: F.pad(logits, (0, 1))), "S02", "block"),
    "labels instead of logits": (lambda model: After(model, lambda logits: logits.argmax(1)), "S02", "block"),
    "raises": (lambda model: Before(lambda x: x.flatten(1), model), "S02", "block"),
    "optimizes at test time": (Optimizing, "S17", "info"),
    "optimizes at test time by torch.func": (OptimizingByTransform, "S17", "info"),
}


@pytest.mark.parametrize("name", CANARIES)
def test_a_defense_that_misleads_an_attack_is_named(name, robust, canary):
    """The expected check gives the expected verdict."""
    build, check, verdict = CANARIES[name]

    finding = canary(name, build(robust), check, verdict)

    assert (finding.id, finding.verdict) == (check, verdict), finding.message
