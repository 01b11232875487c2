"""Fine-tuning changes the purifier alone, by the losses the recipe names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.datasets.digits import digits
from bench.defenses.training import adversarial
from bench.defenses.training.adversarial import craft
from bench.defenses.training.finetune import fine_tune
from bench.defenses.training.recipe import read_recipe
from tests.defenses.training.small import LINF, batch, pipeline


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(64)


@pytest.mark.parametrize("rt", ["none", "1"])
def test_fine_tuning_changes_the_purifier_and_nothing_of_the_classifier(rt):
    """Weights and batch statistics of the classifier are what they were; it collects no gradient."""
    model = pipeline(rt).train().requires_grad_(True)
    recipe = read_recipe("atop", "digits", {"epochs": "1", "rt": rt})
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}

    fine_tune(model, *batch("train", 256), recipe, lambda done, total, losses, left: None)

    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key]) == key.startswith("classifier."), key
    assert all(parameter.grad is None for parameter in model.classifier.parameters())


def test_fine_tuning_lowers_the_adversarial_loss():
    """A few real epochs make held-out examples, crafted anew, clearly less harmful."""
    model = pipeline("none").eval()
    recipe = read_recipe("atop", "digits", {"epochs": "4", "rt": "none"})
    x, y = batch("validation", 128)

    def adversarial_loss():
        torch.manual_seed(0)
        x_adv = craft(model, x, y, LINF, steps=10, step_size=0.25)
        with torch.no_grad():
            return F.cross_entropy(model(x_adv), y).item()

    before = adversarial_loss()
    torch.manual_seed(0)
    fine_tune(model, *batch("train", 1029), recipe, lambda done, total, losses, left: None)

    assert adversarial_loss() < 0.6 * before


def test_the_cross_entropy_has_the_weight_of_the_recipe():
    """Lambda pulls the purifier towards images the classifier gets right, beyond what pixels ask for."""

    def last_loss(weight):
        model, seen = pipeline("none"), []
        recipe = read_recipe("atop", "digits", {"epochs": "6", "rt": "none", "classification_weight": weight})
        torch.manual_seed(0)
        fine_tune(model, *batch("train", 512), recipe, lambda done, total, losses, left: seen.append(losses))
        return seen[-1]["cross-entropy"]

    assert last_loss("10") < last_loss("0") - 0.15


@pytest.mark.parametrize(("attacked", "same"), [("classifier", True), ("pipeline", False)])
def test_the_paper_crafts_on_the_classifier_alone(attacked, same, monkeypatch):
    """Whose gradient the examples follow is a value of the recipe."""
    model, victims = pipeline("2"), []
    monkeypatch.setattr(adversarial, "craft", lambda victim, x, y, threat, **kwargs: victims.append(victim) or x)
    recipe = read_recipe("atop-paper", "digits", {"epochs": "1", "attacked": attacked})

    fine_tune(model, *batch("train", 64), recipe, lambda done, total, losses, left: None)

    assert (victims[0] is model.classifier) == same
    assert (victims[0] is model) != same


@pytest.mark.parametrize(("target", "wanted"), [("adversarial", 0.25), ("clean", 0.75)])
def test_the_pixel_loss_draws_to_the_image_the_recipe_names(target, wanted, monkeypatch):
    """The paper's code repaints the adversarial image, `atop` the clean one."""
    model = pipeline("none")
    x, y = torch.full((64, 1, 8, 8), 0.75), torch.zeros(64, dtype=torch.int64)
    monkeypatch.setattr(adversarial, "craft", lambda victim, x, y, threat, **kwargs: torch.full_like(x, 0.25))
    changed = {"epochs": "60", "target": target, "classification_weight": "0", "rt": "none", "learning_rate": "1e-2"}

    fine_tune(model, x, y, read_recipe("atop", "digits", changed), lambda done, total, losses, left: None)

    painted = model.purify(torch.full_like(x, 0.25)).mean().item()
    assert painted == pytest.approx(wanted, abs=0.1)
