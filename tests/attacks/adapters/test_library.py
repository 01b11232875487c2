"""Attacks of other libraries: that they see the defense through the oracle, and what of theirs is kept."""

import importlib.metadata
import inspect
import logging
import math
import sys
import warnings

import numpy as np
import pytest
import torch

from bench.attacks.adapters import library as peer
from bench.attacks.adapters.foolbox import Foolbox, HopSkipJump
from bench.catalogue.attack_libraries import peer_entry
from bench.catalogue.registry import load
from bench.errors import BenchError
from bench.oracle.geometry import distance
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense

# A bounded and a minimum-norm attack of every library, with enough steps to reach any corner of the ball.
EXACT = [
    ("foolbox:LinfPGD", "Linf", {"steps": 100}),
    ("foolbox:L2DeepFoolAttack", "L2", {}),
    ("torchattacks:PGD", "Linf", {}),
    ("torchattacks:FAB", "L2", {"steps": 5}),
    ("art:ProjectedGradientDescent", "Linf", {"max_iter": 10}),
    ("advlib:pgd_linf", "Linf", {"steps": 100}),
    ("advlib:fab", "L2", {"n_iter": 5}),
]
IDS = [f"{name} {family}" for name, family, _ in EXACT]


@pytest.fixture(autouse=True)
def _quietly_imported():
    """What the libraries warn of while they are imported is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def built(name, **parameters):
    """An attack of a library, or a skip where that is not installed."""
    entry = peer_entry(name)
    for distribution in entry.requires:
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{distribution} is not installed")
    return load(entry.target)(**entry.config, parameters=parameters), entry.access


@pytest.mark.parametrize(("name", "family", "parameters"), EXACT, ids=IDS)
def test_a_halfspace_breaks_exactly_where_the_ball_reaches_the_boundary(
    launch, halfspace, images, name, family, parameters
):
    """Every image at 1.05 times its analytic distance, none at 0.95 times."""
    attack, access = built(name, **parameters)
    model, x = halfspace(), images(2)
    y = model(x).argmax(1)
    for k, length in enumerate(model.distance(x, y, family).tolist()):
        for factor, breaks in ((0.95, False), (1.05, True)):
            one, threat = x[k : k + 1], f"{family}:{factor * length:.7f}"

            x_adv, _ = launch(attack, model, one, y[k : k + 1], threat, access=access)

            assert bool(model(x_adv).argmax(1) != y[k]) is breaks, (name, k, factor)
            assert distance(x_adv, one, family).item() <= factor * length * (1 + 1e-5)


@pytest.mark.parametrize("name", ["foolbox:BoundaryAttack", "art:SignOPTAttack"])
def test_a_decision_based_attack_is_told_labels_alone(launch, halfspace, images, name):
    """It breaks a half-space without a logit or a gradient, and the ledger knows what it asked for."""
    few = {"foolbox:BoundaryAttack": {"steps": 500}, "art:SignOPTAttack": {"max_iter": 3, "query_limit": 500}}[name]
    attack, access = built(name, **few)
    model, x = halfspace(classes=5), images(2)
    y = model(x).argmax(1)
    eps = 2.5 * model.distance(x, y, "L2").max().item()

    x_adv, oracle = launch(attack, model, x, y, f"L2:{eps:.4f}", access=access)

    assert access == "decision"
    assert (model(x_adv).argmax(1) != y).any()
    assert oracle.forwards.sum() > 200
    assert oracle.backwards.sum() == 0


@pytest.mark.parametrize("name", [name for name, _, _ in EXACT[::2]] + ["torchattacks:CW", "torchattacks:DeepFool"])
def test_a_library_leaves_no_trace(launch, small_cnn, images, name, capsys):
    """No gradient on a weight, no global changed, nothing printed; the same stream gives the same points."""
    attack, access = built(name)
    model, x = small_cnn(), images(2)
    y = model(x).argmax(1)
    family, before = peer_entry(name).families[0], x.clone()
    state, tracer, disabled = torch.get_rng_state(), sys.gettrace(), logging.root.manager.disable
    legacy = np.random.get_state()[1].copy()  # noqa: NPY002

    first, _ = launch(attack, model, x, y, f"{family}:0.3", access=access)
    torch.manual_seed(5)
    second, _ = launch(attack, model, x, y, f"{family}:0.3", access=access)
    torch.set_rng_state(state)

    assert torch.equal(first, second)
    assert torch.equal(x, before)
    assert all(weight.grad is None for weight in model.parameters())
    assert not first.requires_grad
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
    assert (sys.gettrace(), logging.root.manager.disable) == (tracer, disabled)
    assert capsys.readouterr() == ("", "")


def test_the_generators_are_put_back(stream):
    """Whatever a library seeds or draws; and its seed is that of the examples."""
    seeds, state = [], torch.get_rng_state()
    for streams in (stream(3), stream(3), stream(4)):
        with peer.session(streams, "any") as seed:
            torch.manual_seed(0)
            np.random.rand()  # noqa: NPY002
            seeds.append(seed)

    assert torch.equal(torch.get_rng_state(), state)
    assert seeds[0] == seeds[1] != seeds[2]


class TestView:
    """The defense as a library sees it."""

    def test_every_pass_is_counted_and_the_weights_get_no_gradient(self, halfspace, images):
        model, x = halfspace(classes=3), images(4).requires_grad_()
        oracle = Oracle(Defense(model), 4)

        logits = peer.View(oracle, x)(x)
        logits[:, 0].sum().backward(retain_graph=True)
        logits[:, 1].sum().backward()

        expected = (model.weight[0] + model.weight[1]).detach().expand(4, -1).view_as(x)
        assert torch.allclose(x.grad, expected)
        assert model.weight.grad is None
        assert oracle.forwards.tolist() == [1] * 4
        assert oracle.backwards.tolist() == [2] * 4

    def test_answers_and_gradients_are_finite(self, images):
        """A library would lose the row, and the defense would look robust."""

        class Hole(torch.nn.Module):
            def forward(self, x):
                mean = x.flatten(1).mean(1)
                return torch.stack([torch.full_like(mean, torch.nan), (mean - mean.detach()).sqrt()], 1)

        x = images(2).requires_grad_()

        logits = peer.View(Oracle(Defense(Hole()), 2), x)(x)
        logits.sum().backward()

        assert (logits.argmax(1) == 1).all()
        assert x.grad.isfinite().all()

    def test_without_the_right_to_gradients_there_are_none(self, halfspace, images):
        x = images(2).requires_grad_()

        logits = peer.View(Oracle(Defense(halfspace()), 2, access="score"), x)(x)

        assert not logits.requires_grad

    def test_decisions_are_one_hot_and_counted_in_turn(self, halfspace, images):
        """Classes that are no label of the batch share one place; four queries of three rows are 2, 1, 1."""
        model, x = halfspace(classes=10), images(5)
        told = model(x).argmax(1)
        oracle = Oracle(Defense(model), 3, access="decision")
        y = torch.tensor([0, int(told.median())])

        view = peer.Decisions(oracle, y)

        answers = torch.cat([view(x[:2]), view(x[2:4])])
        counted = oracle.forwards.tolist()
        all_at_once = view(x)

        assert counted == [2, 1, 1]
        assert oracle.forwards.sum() == 4 + 5
        assert torch.equal(all_at_once[:4], answers)
        assert answers.shape == (4, int(y.max()) + 2)
        assert (answers.sum(1) == 1).all()
        for label in y.tolist():
            assert torch.equal(answers.argmax(1) == label, told[:4] == label)


class TestCut:
    """What of a library's points is kept."""

    THREAT = ThreatModel.parse("L2:0.5")

    def test_a_point_outside_the_ball_or_the_box_is_brought_inside(self, images):
        x = images(3)
        far = x + torch.tensor([0.02, 1.0, 3.0])[:, None, None, None]

        kept = peer.cut(far, x, self.THREAT)

        assert torch.equal(kept[0], far[0])
        assert (distance(kept, x, "L2") <= 0.5).all()
        assert (kept[1:] != x[1:]).all()
        assert kept.max() <= 1

    def test_a_row_that_is_no_number_is_a_failure_and_no_clean_image(self, images):
        """The image in its place would count as withstood."""
        x = images(3)
        x_adv = x + 0.01
        x_adv[1, 0, 0, 0], x_adv[2, 0, 0, 0] = torch.nan, torch.inf

        with pytest.raises(BenchError, match="2 of 3 images that are no numbers: it did not attack them"):
            peer.cut(x_adv, x, self.THREAT)

    def test_another_shape_is_a_fault_of_the_library(self, images):
        with pytest.raises(BenchError, match="returned images of shape"):
            peer.cut(images(2)[:1], images(2), self.THREAT)

    def test_a_library_that_leaves_the_ball_is_cut(self, launch, halfspace, images, monkeypatch):
        """However wrong its own projection is."""
        foolbox = pytest.importorskip("foolbox")

        told = []

        def leave(self, model, inputs, criterion, *, epsilons, **options):
            told.append(epsilons)
            return inputs, inputs + 10 * epsilons, None

        monkeypatch.setattr(foolbox.attacks.LinfPGD, "__call__", leave)
        x = images(2)

        x_adv, _ = launch(Foolbox("LinfPGD"), halfspace(), x, torch.tensor([0, 1]), "Linf:0.05")

        assert torch.allclose(x_adv - x, torch.tensor(0.05), atol=1e-6)
        assert told == [0.05]


class TestArguments:
    """What a library is told of the threat model."""

    def test_the_step_of_torchattacks_keeps_its_share_of_eps(self):
        """A quarter of eps: its own default is 2/255, a fixed length, at an eps of 8/255."""
        torchattacks = load("bench.attacks.adapters.torchattacks:_kind")
        pytest.importorskip("torchattacks")
        set_by_harness = load("bench.attacks.adapters.torchattacks:_set_by_harness")
        there = inspect.signature(torchattacks("PGD").__init__).parameters

        given = set_by_harness(there, ThreatModel.parse("Linf:1"), 3)

        assert given == {"eps": 1.0, "alpha": pytest.approx(0.25)}

    @pytest.mark.parametrize(("threat", "norm"), [("Linf:1", math.inf), ("L2:1", 2), ("L1:1", 1)])
    def test_art_is_told_norm_and_step(self, threat, norm):
        """A third of eps, its own default; a step above eps it refuses."""
        pytest.importorskip("art")
        kind, set_by_harness = (load(f"bench.attacks.adapters.art:{name}") for name in ("_kind", "_set_by_harness"))
        there = inspect.signature(kind("ProjectedGradientDescent").__init__).parameters

        given = set_by_harness(there, ThreatModel.parse(threat), 7)

        assert (given["norm"], given["eps"], given["batch_size"]) == (norm, 1.0, 7)
        assert given["eps_step"] == pytest.approx(1 / 3)

    @pytest.mark.parametrize(("family", "constraint"), [("Linf", "linf"), ("L2", "l2")])
    def test_hopskipjump_is_told_its_norm(self, launch, halfspace, images, monkeypatch, family, constraint):
        """By name and registered; and the images it is given stay as they are."""
        foolbox = pytest.importorskip("foolbox")
        told, run = [], foolbox.attacks.HopSkipJumpAttack.run

        def tell(self, *arguments, **options):
            told.append(self.constraint)
            return run(self, *arguments, **options)

        monkeypatch.setattr(foolbox.attacks.HopSkipJumpAttack, "run", tell)
        model, x = halfspace(), images(2)
        y, before = model(x).argmax(1), x.clone()

        for attack in (Foolbox("HopSkipJumpAttack", {"steps": 1}), HopSkipJump(100)):
            launch(attack, model, x, y, f"{family}:1", access="decision")

        assert told == [constraint] * 2
        assert torch.equal(x, before)
