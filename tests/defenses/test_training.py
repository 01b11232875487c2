"""Trainings are reproducible, touch only what they train, and do what they are for."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import bench.defenses
from bench.attacks.recolor import ReColor
from bench.attacks.stadv import StAdv
from bench.datasets.digits import digits
from bench.defenses import atop, diffusion, networks
from bench.defenses.classifiers.resnet import ResNet
from bench.defenses.classifiers.small_cnn import SmallCNN
from bench.defenses.purified import Purified
from bench.defenses.training import finetune
from bench.defenses.training.classifier import train_classifier
from bench.defenses.training.craft import RENDERED, craft
from bench.defenses.training.data import flip, shift
from bench.defenses.training.finetune import fine_tune
from bench.defenses.training.loop import WARM_UP, fit, one_cycle
from bench.defenses.training.purifier import corrupt
from bench.defenses.training.recipe import read_recipe
from bench.defenses.training.run import train
from bench.defenses.transforms import TRANSFORMS
from bench.errors import BenchError
from bench.geometry import distance
from bench.types import ThreatModel

FOLDER = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {path.stem: path for path in FOLDER.glob("*.safetensors")}
LINF = ThreatModel.parse("Linf:0.2")
TINY = {"epochs": "2", "batch_size": "64", "validation_threat": ""}


@pytest.fixture(scope="module")
def learned():
    return digits("train").first(192)


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(64)


def tiny(name, out, learned, validation, *, seed=0, on_progress=None, **changed):
    overrides = TINY | changed
    return train(
        name,
        learned,
        validation,
        out=out,
        checkpoints=CHECKPOINTS,
        seed=seed,
        overrides=overrides,
        on_progress=on_progress,
        command=f"bench train {name}",
    )


def pipeline(rt):
    """The purifier as it was before fine-tuning, behind a transform."""
    spec = digits("validation").spec
    classifier, _ = networks.restore("standard", CHECKPOINTS, spec)
    purifier, _ = networks.restore("ap", CHECKPOINTS, spec)
    return Purified(TRANSFORMS[rt], purifier, classifier)


def batch(split, n):
    examples = digits(split).first(n)
    return torch.tensor(examples.x), torch.tensor(examples.y)


@pytest.mark.parametrize("name", ["standard", "at", "ap", "atop"])
def test_one_seed_gives_the_same_bytes_and_another_one_does_not(name, tmp_path, learned, validation):
    """Two trainings are one file, whatever the caller drew before, watched or not."""
    watched = []

    first = tiny(name, tmp_path / "a", learned, validation)
    torch.rand(7)
    again = tiny(name, tmp_path / "b", learned, validation, on_progress=watched.append)
    other = tiny(name, tmp_path / "c", learned, validation, seed=1)

    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    assert [(seen.stage, seen.step, seen.steps) for seen in watched] == [(name, 3, 6), (name, 6, 6)]
    assert 0 <= watched[0].accuracy <= 1


def test_training_leaves_the_global_generators_alone(tmp_path, learned, validation):
    """A program that trains in its middle draws the same numbers afterwards."""

    def draws():
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
    expected = draws()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002

    tiny("atop", tmp_path, learned, validation, validation_threat="Linf:0.2")

    assert draws() == expected


def test_a_trained_checkpoint_loads_as_the_defense_it_is(tmp_path, learned, validation):
    """`bench train atop --set rt=2` writes `atop-rt2`, which the loader takes, with a full card."""
    path = tiny("atop", tmp_path, learned, validation, rt="2", validation_threat="Linf:0.2")

    defense = atop.load(checkpoints={**CHECKPOINTS, path.stem: path}, spec=validation.spec, rt="2")

    card = json.loads(path.with_suffix(".json").read_text())
    assert path.name == "atop-rt2.safetensors"
    assert defense.trained_on == (LINF,)
    assert defense.card.facts == card
    assert card["recipe"]["rt"] == "2"
    assert card["recipe"]["epochs"] == 2
    assert card["data"] == {"dataset": "digits", "split": "train", "digest": learned.digest, "n": 192}
    assert card["standard_accuracy"]["draws"] == card["validation"]["draws"] == 10
    assert card["validation"]["robust_accuracy"] <= card["validation"]["standard_accuracy"]
    assert set(card["parents"]) == {"standard", "ap"}


@pytest.mark.parametrize("name", ["ap", "atop-paper"])
def test_a_discriminator_learns_along_where_its_loss_weighs_something(name, tmp_path, learned, validation):
    """The hinge loss is in the log, and the purifier ends elsewhere than without it."""
    seen = []

    plain = tiny(name, tmp_path / "plain", learned, validation)
    fooling = tiny(name, tmp_path / "fooling", learned, validation, gan_weight="0.1", on_progress=seen.append)

    assert all(0 < progress.losses["hinge"] < 3 for progress in seen)
    assert plain.read_bytes() != fooling.read_bytes()


@pytest.mark.parametrize("architecture", ["autoencoder", "gated-inpainter"])
def test_every_purifier_can_be_trained_and_fine_tuned(architecture, tmp_path, learned, validation):
    """The weights of `ap` name their network, and AToP goes on from them."""
    first = tiny("ap", tmp_path, learned, validation, architecture=architecture, width="16", epochs="1")
    checkpoints = {**CHECKPOINTS, "ap": first}

    second = train("atop", learned, validation, out=tmp_path, checkpoints=checkpoints, overrides=TINY | {"epochs": "1"})

    card = json.loads(second.with_suffix(".json").read_text())
    assert card["architecture"] == {"name": architecture, "width": 16}
    assert atop.load(checkpoints={**checkpoints, second.stem: second}, spec=validation.spec).stochastic


def test_a_diffusion_model_is_trained_and_loads_as_a_defense(tmp_path, learned, validation):
    """`bench train diffpure` writes what the loader takes."""
    pytest.importorskip("diffusers")

    path = tiny("diffpure", tmp_path, learned, validation, width="8")

    defense = diffusion.load(checkpoints={**CHECKPOINTS, "diffpure": path}, spec=validation.spec, steps="2")
    assert defense.stochastic
    assert defense.model(torch.tensor(validation.x[:4])).shape == (4, 10)


def test_fine_tuning_needs_the_checkpoints_it_starts_from(tmp_path, learned, validation):
    """Without a pre-trained purifier the missing one is named."""
    checkpoints = {"standard": CHECKPOINTS["standard"]}

    with pytest.raises(BenchError, match="no checkpoint 'ap' was given"):
        train("atop", learned, validation, out=tmp_path, checkpoints=checkpoints, overrides=TINY)


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("at", {"architecture": "small-cn"}, "unknown classifier architecture 'small-cn': did you mean small-cnn"),
        ("ap", {"architecture": "resnet-8"}, "unknown purifier architecture 'resnet-8'"),
        ("atop", {"rt": "9"}, "unknown random transform rt '9'"),
    ],
)
def test_an_override_that_names_nothing_is_one_line(name, changed, said, tmp_path, learned, validation):
    """Names in a recipe are checked where the networks and transforms are known."""
    with pytest.raises(BenchError, match=said):
        tiny(name, tmp_path, learned, validation, **changed)


def test_a_training_that_diverges_writes_nothing(tmp_path, learned, validation):
    """A loss that is not finite stops the training with the remedy, before any weights are written."""
    with pytest.raises(BenchError, match=r"the loss is not finite after .* lower the learning_rate"):
        tiny("standard", tmp_path, learned, validation, learning_rate="1e30", epochs="3")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rt", ["none", "1"])
def test_fine_tuning_changes_the_purifier_and_nothing_of_the_classifier(rt):
    """Weights and batch statistics of the classifier are what they were; it collects no gradient."""
    model = pipeline(rt).train().requires_grad_(True)
    recipe = read_recipe("atop", "digits", {"epochs": "1", "rt": rt})
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}

    fine_tune(model, *batch("train", 256), recipe, lambda done, total, losses: None)

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
    fine_tune(model, *batch("train", 1029), recipe, lambda done, total, losses: None)

    assert adversarial_loss() < 0.6 * before


def test_the_cross_entropy_has_the_weight_of_the_recipe():
    """Lambda pulls the purifier towards images the classifier gets right, beyond what pixels ask for."""

    def last_loss(weight):
        model, seen = pipeline("none"), []
        recipe = read_recipe("atop", "digits", {"epochs": "6", "rt": "none", "classification_weight": weight})
        torch.manual_seed(0)
        fine_tune(model, *batch("train", 512), recipe, lambda done, total, losses: seen.append(losses))
        return seen[-1]["cross-entropy"]

    assert last_loss("10") < last_loss("0") - 0.15


@pytest.mark.parametrize("threat", ["Linf:0.2", "L2:1"])
def test_crafted_examples_stay_in_the_ball_and_raise_the_loss(threat):
    """What is trained on is within the threat model and worse than noise of the same size."""
    threat = ThreatModel.parse(threat)
    model = pipeline("none").eval()
    x, y = batch("train", 128)

    def loss(steps):
        torch.manual_seed(0)
        x_adv = craft(model, x, y, threat, steps=steps, step_size=0.5)
        assert distance(x_adv, x, threat.family).max() <= float(threat.eps) + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
        return F.cross_entropy(model(x_adv), y).item()

    start, one, many = loss(0), loss(1), loss(7)

    assert start < one < many
    assert many > 3 * start


@pytest.mark.parametrize(("family", "kind"), [("stadv", StAdv), ("recolor", ReColor)])
def test_examples_crafted_outside_the_balls_keep_their_bound_and_raise_the_loss(family, kind, monkeypatch):
    """Every point of the search is one an evaluation would admit, and the last is worse than the first."""
    torch.manual_seed(0)
    model = ResNet(3, 10, 8).eval()
    x, y = torch.rand(32, 3, 16, 16), torch.randint(10, (32,))
    threat = ThreatModel.parse(f"{family}:0.1")
    sizes = []

    class Watched(kind):
        def render(self, x, latent, scene):
            sizes.append(self.size(latent).max().item())
            return super().render(x, latent, scene)

    monkeypatch.setitem(RENDERED, family, Watched)

    def loss(steps):
        torch.manual_seed(1)
        return F.cross_entropy(model(craft(model, x, y, threat, steps=steps, step_size=0.3)), y).item()

    start, one, many = loss(0), loss(1), loss(7)

    assert start < one < many
    assert len(sizes) == 11
    assert max(sizes) == pytest.approx(0.1, abs=1e-6)


def test_a_single_step_without_random_start_is_fgsm():
    """Each pixel moves by eps along the sign of its gradient, or to the edge of the box."""
    model = pipeline("none").eval()
    x, y = batch("train", 16)
    x.requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)

    x_adv = craft(model, x.detach(), y, LINF, steps=1, step_size=1.0, random_start=False)

    assert torch.allclose(x_adv, (x.detach() + 0.2 * grad.sign()).clamp(0, 1), atol=1e-6)


def test_an_objective_of_its_own_is_what_is_raised():
    """TRADES raises the divergence from the clean answers, not the cross-entropy of the labels."""
    model = pipeline("none").eval()
    x, y = batch("train", 64)
    with torch.no_grad():
        answers = F.softmax(model(x), dim=1)

    def divergence(logits):
        return F.kl_div(F.log_softmax(logits, dim=1), answers, reduction="sum")

    torch.manual_seed(0)
    x_adv = craft(model, x, 9 - y, LINF, steps=5, step_size=0.5, objective=divergence)
    torch.manual_seed(0)
    misled = craft(model, x, 9 - y, LINF, steps=5, step_size=0.5)

    with torch.no_grad():
        assert divergence(model(x_adv)) > 5 * divergence(model(misled)) > 0


def test_trades_makes_answers_move_less_than_training_on_clean_images_does():
    """What its second part asks for, and what beta is the weight of, on held-out images."""
    x, y = batch("train", 512)
    held_out, labels = batch("validation", 128)

    def moved(beta):
        torch.manual_seed(0)
        model = SmallCNN(1, 10, 8)
        recipe = read_recipe("trades", "digits", {"epochs": "6", "beta": beta, "steps": "3", "step_size": "0.5"})
        train_classifier(model, x, y, recipe, lambda done, total, losses: None)
        with torch.no_grad():
            clean = model(held_out)
        x_adv = craft(model, held_out, labels, LINF, steps=5, step_size=0.5)
        with torch.no_grad():
            return (model(x_adv).softmax(1) - clean.softmax(1)).abs().sum(1).mean().item()

    assert moved("6") < 0.7 * moved("0")


def test_the_average_of_the_weights_is_what_is_kept():
    """That recursion over the weights after every update: the decay grows to 0.5, so the first ones are forgotten."""
    x, y = batch("train", 128)
    recipe = read_recipe("standard", "digits", {"epochs": "3", "batch_size": "32", "ema": "0.5"})
    model, seen = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), []

    def step(images, labels):
        seen.append(model[1].weight.detach().clone())
        loss = F.cross_entropy(model(images), labels)
        return loss, {"cross-entropy": loss}

    torch.manual_seed(0)
    fit(model, step, x, y, recipe, lambda done, total, losses: seen.append(model[1].weight.detach().clone()))

    after = [*seen[1:4], *seen[4:5], *seen[6:9], *seen[9:10], *seen[11:14], *seen[14:15]]
    average = after[0]
    decays = [2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 0.5, 0.5, 0.5, 0.5]
    for decay, weight in zip(decays, after[1:], strict=True):
        average = decay * average + (1 - decay) * weight
    assert len(after) == 12
    assert torch.allclose(model[1].weight, average, atol=1e-6)
    assert not torch.allclose(model[1].weight, after[-1], atol=1e-4)


@pytest.mark.parametrize(("attacked", "same"), [("classifier", True), ("pipeline", False)])
def test_the_paper_crafts_on_the_classifier_alone(attacked, same, monkeypatch):
    """Whose gradient the examples follow is a value of the recipe."""
    model, victims = pipeline("2"), []
    monkeypatch.setattr(finetune, "craft", lambda victim, x, y, threat, **kwargs: victims.append(victim) or x)
    recipe = read_recipe("atop-paper", "digits", {"epochs": "1", "attacked": attacked})

    fine_tune(model, *batch("train", 64), recipe, lambda done, total, losses: None)

    assert (victims[0] is model.classifier) == same
    assert (victims[0] is model) != same


@pytest.mark.parametrize(("target", "wanted"), [("adversarial", 0.25), ("clean", 0.75)])
def test_the_pixel_loss_draws_to_the_image_the_recipe_names(target, wanted, monkeypatch):
    """The paper's code repaints the adversarial image, `atop` the clean one."""
    model = pipeline("none")
    x, y = torch.full((64, 1, 8, 8), 0.75), torch.zeros(64, dtype=torch.int64)
    monkeypatch.setattr(finetune, "craft", lambda victim, x, y, threat, **kwargs: torch.full_like(x, 0.25))
    changed = {"epochs": "60", "target": target, "classification_weight": "0", "rt": "none", "learning_rate": "1e-2"}

    fine_tune(model, x, y, read_recipe("atop", "digits", changed), lambda done, total, losses: None)

    painted = model.purify(torch.full_like(x, 0.25)).mean().item()
    assert painted == pytest.approx(wanted, abs=0.1)


def test_crafting_leaves_parameter_gradients_alone():
    """Weights that are being trained collect no gradient from the search for examples."""
    model = pipeline("none").requires_grad_(True)

    craft(model, *batch("train", 8), LINF, steps=2, step_size=0.5)

    assert all(parameter.grad is None for parameter in model.parameters())


def test_pre_training_hides_a_quarter_of_half_of_the_inputs_and_adds_noise_of_many_strengths():
    """Half of the inputs are whole, as a purifier without transform sees them; no noise beyond the limit."""
    torch.manual_seed(0)
    x = torch.full((2000, 1, 8, 8), 0.5)

    noisy, mask = corrupt(x, 0.1, TRANSFORMS["1"])

    share = mask.flatten(1).mean(1)
    strength = (noisy - x).flatten(1).std(1)
    assert set(share.tolist()) == {0.0, 0.25}
    assert 0.45 < (share == 0).float().mean() < 0.55
    assert strength.min() < 0.01
    assert 0.09 < strength.max() < 0.13
    assert strength.mean().item() == pytest.approx(0.05, rel=0.1)


def test_shifted_images_are_the_originals_moved():
    """Each image moves as a whole, on its own, by at most the given number of pixels."""
    torch.manual_seed(0)
    x = torch.zeros(64, 2, 9, 9)
    x[:, :, 4, 4] = 1

    moved = shift(x, 2)

    places = moved[:, 0].flatten(1).argmax(1)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved.sum((2, 3)), torch.ones(64, 2))
    assert set((places // 9).tolist()) == set((places % 9).tolist()) == {2, 3, 4, 5, 6}
    assert torch.equal(shift(x, 0), x)


def test_flipping_mirrors_about_half_of_the_images():
    """Mirrored left to right, never upside down."""
    torch.manual_seed(0)
    x = torch.rand(400, 1, 4, 4)

    flipped = flip(x)

    same = (flipped == x).flatten(1).all(1)
    assert 0.4 < same.float().mean() < 0.6
    assert torch.equal(flipped[~same], x[~same].flip(3))


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing():
    """One cycle: the peak is the recipe's rate, the end is close to zero."""
    rates = [one_cycle(step / 100) for step in range(101)]

    peak = rates.index(max(rates))
    assert peak == round(100 * WARM_UP)
    assert max(rates) == pytest.approx(1)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[0] == pytest.approx(0.04)
