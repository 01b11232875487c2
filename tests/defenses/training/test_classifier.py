"""Training a classifier does what its recipe is for."""

from __future__ import annotations

import pytest
import torch

from bench.datasets.digits import digits
from bench.defenses.networks.small_cnn import SmallCNN
from bench.defenses.training.adversarial import craft
from bench.defenses.training.classifier import train_classifier
from bench.defenses.training.recipe import read_recipe
from tests.defenses.training.small import LINF, batch


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(64)


def test_trades_makes_answers_move_less_than_training_on_clean_images_does():
    """What its second part asks for, and what beta is the weight of, on held-out images."""
    x, y = batch("train", 512)
    held_out, labels = batch("validation", 128)

    def moved(beta):
        torch.manual_seed(0)
        model = SmallCNN(1, 10, 8)
        recipe = read_recipe("trades", "digits", {"epochs": "6", "beta": beta, "steps": "3", "step_size": "0.5"})
        train_classifier(model, x, y, recipe, lambda done, total, losses, left: None)
        with torch.no_grad():
            clean = model(held_out)
        x_adv = craft(model, held_out, labels, LINF, steps=5, step_size=0.5)
        with torch.no_grad():
            return (model(x_adv).softmax(1) - clean.softmax(1)).abs().sum(1).mean().item()

    assert moved("6") < 0.7 * moved("0")
