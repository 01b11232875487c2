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

from bench import selection
from bench.attacks.adapters import peer
from bench.attacks.adapters.foolbox import Foolbox, HopSkipJump, _Witness
from bench.catalogue.attacks.peers import LIBRARIES, peer_entry
from bench.errors import BenchError
from bench.geometry import distance
from bench.oracle import Oracle
from bench.registry import load
from bench.request import parse_list
from bench.types import Defense, ThreatModel

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


class TestHopSkipJump:
    """The registered one, on a budget of labels."""

    @pytest.mark.parametrize("family", ["Linf", "L2"])
    def test_the_boundary_of_a_halfspace_is_found_from_labels(self, launch, halfspace, images, family):
        """1000 labels: within a fifth of its distance in L2, and twice that in Linf; never nearer."""
        pytest.importorskip("foolbox")
        model, x = halfspace(), images(1)
        y = model(x).argmax(1)
        length, found = model.distance(x, y, family).item(), []

        for factor in (0.97, {"L2": 1.2, "Linf": 2.0}[family]):
            x_adv, _ = launch(HopSkipJump(1000), model, x, y, f"{family}:{factor * length:.6f}", access="decision")
            found.append(bool(model(x_adv).argmax(1) != y))

        assert found == [False, True]

    def test_the_budget_is_kept(self, launch, halfspace, images):
        """300 labels per row, and the few that found its starting point."""
        pytest.importorskip("foolbox")
        model, x = halfspace(), images(3)

        _, oracle = launch(HopSkipJump(300), model, x, model(x).argmax(1), "L2:0.0001", access="decision")

        assert (oracle.forwards >= 301).all()
        assert (oracle.forwards <= 325).all()

    def test_the_nearest_wrong_point_of_all_queries_counts(self, halfspace, images):
        """Not the last one; and points the model is right about do not, however near."""
        model, x = halfspace(), images(2)
        y = model(x).argmax(1)
        towards = torch.stack([(model.weight[1 - label] - model.weight[label]).detach() for label in y]).view_as(x)
        way = towards / towards.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        length = model.distance(x, y, "L2").float().view(-1, 1, 1, 1)
        oracle = Oracle(Defense(model), 2, access="decision")
        witness = _Witness(oracle, x, y, ThreatModel.parse("L2:0.0001"), 9)

        for factor in (3.0, 1.1, 2.0, 0.9):
            witness(x + factor * length * way)

        assert torch.allclose(witness.nearest, x + 1.1 * length * way)

    def test_a_row_without_a_starting_point_keeps_its_image(self, launch, images):
        """A model that gives one label to everything: foolbox would refuse the whole batch."""
        pytest.importorskip("foolbox")
        constant = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
        torch.nn.init.zeros_(constant[1].weight)
        x = images(2)
        y = constant(x).argmax(1)

        by_name, _ = launch(Foolbox("HopSkipJumpAttack", {"steps": 2}), constant, x, y, "L2:1", access="decision")
        registered, _ = launch(HopSkipJump(50), constant, x, y, "L2:1", access="decision")

        assert torch.equal(by_name, x)
        assert torch.equal(registered, x)


class TestNames:
    """What is said of a name, a parameter or a library that is not there."""

    def ask(self, text):
        (request,) = parse_list(text, "attack", {})
        return selection.attack(request)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("foolbx:LinfPGD", "unknown attack library 'foolbx': did you mean foolbox"),
            ("foolbox:LinfPDG", "did you mean LinfPGD"),
            ("torchattacks:TIFGSM", "unknown torchattacks attack 'TIFGSM'"),
            ("art:HopSkipJump", "unknown art attack 'HopSkipJump'"),
            ("foolbox:LinfPGD[stpes=5]", "did you mean steps"),
            ("foolbox:LinfPGD[steps=five]", "'five' is not a whole number"),
            ("foolbox:LinfPGD[random_start=maybe]", "write true or false"),
            ("art:ProjectedGradientDescent[norm=2]", "unknown parameter of art:ProjectedGradientDescent 'norm'"),
        ],
    )
    def test_a_mistake_is_one_line_with_its_remedy(self, text, says):
        pytest.importorskip("foolbox")
        pytest.importorskip("art")

        with pytest.raises(BenchError) as error:
            self.ask(text)

        assert says in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_a_missing_library_is_one_line_with_the_command_that_installs_it(self, library, monkeypatch):
        def missing(name):
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr("importlib.metadata.version", missing)
        name = f"{library}:{next(iter(LIBRARIES[library].attacks))}"

        with pytest.raises(BenchError, match="is not installed: pip install") as error:
            self.ask(name)

        assert LIBRARIES[library].install in str(error.value)

    def test_a_library_that_does_not_import_is_one_line(self, monkeypatch):
        """Installed, but broken: what its import said, and the command."""
        monkeypatch.setitem(sys.modules, "foolbox", None)

        with pytest.raises(BenchError, match=r"foolbox does not load \(.*\): pip install 'atop-bench\[foolbox\]'"):
            Foolbox("LinfPGD")(None, torch.zeros(1, 1, 2, 2), None, ThreatModel.parse("Linf:0.1"), stream=None)

    def test_parameters_have_the_types_of_the_library(self):
        pytest.importorskip("foolbox")

        entry, ref = self.ask("foolbox:LinfPGD[steps=80,rel_stepsize=0.1,random_start=false]")

        assert ref.config == {
            "name": "LinfPGD",
            "parameters": {"steps": 80, "rel_stepsize": 0.1, "random_start": False},
        }
        assert (entry.families, ref.access) == (("Linf",), "gradient")
        assert (ref.forwards, ref.backwards) == (82, 80)
        assert ref.label == "foolbox:LinfPGD[random_start=false,rel_stepsize=0.1,steps=80]"

    def test_greek_letters_are_spelled_out(self, halfspace, launch, images):
        pytest.importorskip("adv_lib")
        _, ref = self.ask("advlib:fmn[alpha_init=0.5,steps=60]")
        model, x = halfspace(), images(1)
        y = model(x).argmax(1)

        x_adv, oracle = launch(load(ref.source)(**ref.config), model, x, y, "L2:5")

        assert (model(x_adv).argmax(1) != y).all()
        assert oracle.forwards.tolist() == [60]

    def test_another_version_or_parameter_is_another_digest(self, monkeypatch):
        pytest.importorskip("foolbox")
        plain, other = (self.ask(text)[1].digest for text in ("foolbox:LinfPGD", "foolbox:LinfPGD[steps=41]"))
        monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
        newer = self.ask("foolbox:LinfPGD")[1].digest

        assert len({plain, other, newer}) == 3

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_everything_named_exists_and_names_its_parameters(self, library):
        """The table against the library: no attack is misspelled, and what the harness sets is not offered."""
        for name in LIBRARIES[library].attacks:
            built(f"{library}:{name}")
            parameters = load(f"{LIBRARIES[library].target.partition(':')[0]}:parameters")(name)

            assert all(name.isascii() for name in parameters)
            assert not {"model", "norm", "targeted", "verbose"} & set(parameters)
