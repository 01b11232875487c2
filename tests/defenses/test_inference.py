"""Preparing a model for inference changes its speed and nothing else."""

import torch
from torch import nn
from torch.nn import functional as F

from bench.defenses.inference import for_inference
from bench.defenses.networks.small_cnn import SmallCNN


def trained_like(module):
    """A network whose normalization has seen data: statistics and scales away from their defaults."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            nn.init.normal_(layer.weight, 1, 0.3)
            nn.init.normal_(layer.bias)
    return module.eval()


def test_logits_and_gradients_stay_the_same():
    model = trained_like(SmallCNN(1, 10)).double()
    x, y = torch.rand(16, 1, 8, 8, dtype=torch.float64), torch.arange(16) % 10

    def answers():
        given = x.clone().requires_grad_()
        logits = model(given)
        (grad,) = torch.autograd.grad(F.cross_entropy(logits, y), given)
        return logits.detach(), grad

    before = answers()
    for_inference(model)
    after = answers()

    for expected, found in zip(before, after, strict=True):
        assert torch.allclose(found, expected, atol=1e-10)


def test_no_normalization_is_left_behind_a_convolution():
    model = for_inference(trained_like(SmallCNN(1, 10)))

    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
