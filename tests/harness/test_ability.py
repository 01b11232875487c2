"""What cannot attack fails before its first cell; whatever can attack, however weakly, is left as it was."""

from __future__ import annotations

import contextlib
import importlib.util
import random
import textwrap
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.catalogue import ATTACKS, resolve
from bench.catalogue.attack_libraries import LIBRARIES, peer_entry
from bench.catalogue.loading import load_attack, load_defense
from bench.catalogue.refs import AttackRef
from bench.catalogue.request import parse_list
from bench.catalogue.selection import Selection
from bench.cli import main
from bench.datasets.digits import digits
from bench.harness import ability
from bench.harness.ability import FREE, IMAGES, Plane, problem, require_able
from bench.harness.cascade import attack_of
from bench.harness.evaluate import evaluate
from bench.harness.matrix import build
from bench.harness.task import Task, compute
from bench.harness.verify import Violation
from bench.oracle.answers import margin
from bench.oracle.geometry import distance, project
from bench.oracle.module import CountedModule
from bench.results.outcome import Cost
from bench.threats import FAMILIES, ThreatModel
from bench.types import ImageSpec

GRAY, COLOR, TWO = ImageSpec((1, 8, 8), 10), ImageSpec((3, 32, 32), 10), ImageSpec((1, 8, 8), 2)
SPECS = {"gray": GRAY, "color": COLOR, "two classes": TWO}
LINF = ThreatModel.parse("Linf:0.2")
MODULES = {"foolbox": "foolbox", "art": "art", "torchattacks": "torchattacks", "advlib": "adv_lib"}

# It stops where both classes are as likely: of two classes that is the boundary itself, which is never crossed.
IN_TRUTH = {("foolbox:NewtonFoolAttack", "L2", "two classes")}


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch):
    """No answer is kept from another test; what libraries warn of while they are imported is not ours to mend."""
    monkeypatch.setattr(ability, "_known", {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def usual(family, spec):
    return ThreatModel.parse(f"{family}:{FAMILIES[family].usual(spec.shape)}")


def named(text):
    """A reference as the command line makes it."""
    (request,) = parse_list(text, "attack")
    return resolve.attack(request)[1]


def of_entry(entry):
    return AttackRef(entry.name, entry.target, entry.name, entry.access, config=entry.config, needs=entry.needs)


def asked(ref, threat, spec=GRAY, allowed=FREE):
    """Why an attack is unable; empty where it passes."""
    try:
        require_able(ref, partial(load_attack, ref), threat, spec, allowed=allowed)
    except Violation as error:
        return str(error)
    return ""


@pytest.fixture
def undecided(monkeypatch):
    """The attacks that could not be judged, as they are asked."""
    run, found = ability._Bench.run, []

    def noted(self, *args, **options):
        tried = run(self, *args, **options)
        found.extend([] if tried else [self.ref.label])
        return tried

    monkeypatch.setattr(ability._Bench, "run", noted)
    return found


class TestTheProblem:
    """Its worst case is known: what is nearer than `near` breaks nothing, and a hair more breaks everything."""

    @pytest.mark.parametrize("eps", [0.1, 1, 10])
    @pytest.mark.parametrize("family", ["Linf", "L2", "L1"])
    @pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
    def test_the_nearest_adversarial_point_is_as_far_as_it_says(self, spec, family, eps):
        threat = replace(usual(family, spec), eps=min(usual(family, spec).eps * round(10 * eps) / 10, 1))
        given = problem(spec, threat)
        plane = Plane(given, spec.classes)
        flat = given.weight.flatten()
        ways = {
            "Linf": torch.ones_like(flat),
            "L2": flat / flat.norm(),
            "L1": torch.nn.functional.one_hot(flat.argmax(), len(flat)).float(),
        }
        way = given.near * ways[family].view(given.weight.shape)

        short, long_ = (given.x + factor * way for factor in (0.99, 1.01))

        assert (plane(given.x).argmax(1) == 1).all()
        assert (plane(short).argmax(1) == 1).all()
        assert (plane(long_).argmax(1) == 0).all()
        assert long_.max() <= 1
        assert distance(long_, given.x, family).max() <= float(threat.eps) / 3

    @pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
    def test_in_l0_the_pixel_in_the_middle_is_enough(self, spec):
        """Its channels have to move by what `near` says; any other pixel, moved to the edge, breaks nothing."""
        given = problem(spec, usual("L0", spec))
        plane = Plane(given, spec.classes)
        middle = torch.zeros(spec.shape)
        middle[:, spec.shape[1] // 2, spec.shape[2] // 2] = 1
        other = torch.zeros(spec.shape)
        other[:, 0, 0] = 1

        assert (plane(given.x + 0.99 * given.near * middle).argmax(1) == 1).all()
        assert (plane(given.x + 1.01 * given.near * middle).argmax(1) == 0).all()
        assert (plane(given.x + given.near * other).argmax(1) == 1).all()
        assert (given.x + 1.01 * given.near * middle).max() <= 1

    @pytest.mark.parametrize("family", ["Linf", "L2", "L1"])
    def test_no_point_as_near_is_nearer(self, family):
        """Of many random points at that distance none is adversarial."""
        given = problem(GRAY, usual(family, GRAY))
        noise = torch.randn(20_000, *GRAY.shape, generator=torch.Generator().manual_seed(0)).sign()
        noise *= torch.rand(20_000, *GRAY.shape, generator=torch.Generator().manual_seed(1)) ** 4
        size = distance(noise, torch.zeros_like(noise), family).float().view(-1, 1, 1, 1)

        points = given.x[:1] + 0.999 * given.near * noise / size

        assert (Plane(given, 10)(points).argmax(1) == 1).all()

    def test_images_are_as_near_at_a_large_eps_as_at_the_usual_one(self):
        assert problem(GRAY, ThreatModel.parse("Linf:0.9")).near == problem(GRAY, LINF).near == pytest.approx(0.05)
        assert problem(GRAY, ThreatModel.parse("Linf:0.1")).near == pytest.approx(0.025)


class TestEveryAttackOfOurs:
    """With the parameters it is registered with, under every family that it is defined for."""

    @pytest.mark.parametrize("setting", SPECS)
    def test_is_able(self, setting, undecided):
        spec = SPECS[setting]
        pairs = [(entry, family) for entry in ATTACKS if entry.target for family in entry.families]
        found = {
            (entry.name, family): asked(of_entry(entry), usual(family, spec), spec)
            for entry, family in pairs
            if FAMILIES[family].refuses(spec.shape) is None and family != "corruption"
        }

        assert len(found) > 80
        assert {pair: fault for pair, fault in found.items() if fault} == {}
        assert set(undecided) == {"noise"}

    @pytest.mark.parametrize("factor", ["1/100", "1/10", "4"])
    def test_is_able_at_a_small_and_at_a_large_eps(self, factor):
        found = {}
        for entry in (entry for entry in ATTACKS if entry.target):
            for family in {"Linf", "L2", "L1"} & set(entry.families):
                threat = usual(family, COLOR)
                threat = replace(threat, eps=threat.eps * type(threat.eps)(factor))
                found[entry.name, family] = asked(of_entry(entry), threat, COLOR)

        assert {pair: fault for pair, fault in found.items() if fault} == {}

    def test_costs_next_to_nothing(self, monkeypatch):
        """The rows that all of them together ask about are those of a few cells of PGD-20 on 512 images."""
        spent = []
        see = ability.Watched.see
        monkeypatch.setattr(
            ability.Watched, "see", lambda self, x, logits: (spent.append(len(x)), see(self, x, logits))
        )

        for entry in ATTACKS:
            for family in entry.families if entry.target else ():
                asked(of_entry(entry), usual(family, GRAY))

        assert sum(spent) < 30_000

    @pytest.mark.parametrize(
        "text",
        [
            "pgd-20[steps=1]",
            "pgd-20[steps=1,step_size=0.1]",
            "fgsm[step_size=0.1]",
            "apgd-ce[steps=1]",
            "apgd-ce[n_restarts=5,large_reps=true]",
            "fab-t[steps=1]",
            "fmn[steps=1]",
            "cw-l2[steps=10]",
            "malt[targets=1,steps=1]",
            "blind[steps=1]",
            "bpda[eot=10]",
            "square[queries=1]",
            "square[queries=20]",
            "square-eot[queries=20]",
            "rays[queries=10]",
        ],
    )
    @pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
    def test_is_able_where_it_is_weak(self, text, spec):
        """This says nothing of strength: one step, few queries or short steps are the user's to choose."""
        ref = named(text)

        families = ATTACKS.get(ref.label.partition("[")[0]).families
        assert [fault for family in families if (fault := asked(ref, usual(family, spec), spec))] == []


@pytest.mark.slow
@pytest.mark.parametrize("setting", SPECS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_every_attack_of_a_library_is_able_with_its_defaults(library, setting):
    if importlib.util.find_spec(MODULES[library]) is None:
        pytest.skip(f"{library} is not installed")
    spec, found = SPECS[setting], set()
    for name in LIBRARIES[library].attacks:
        entry = peer_entry(f"{library}:{name}")
        allowed = 6 * (entry.forwards + 2 * entry.backwards)  # 5 % of a cell of 128 images
        found |= {
            (entry.name, family, setting)
            for family in entry.families
            if asked(of_entry(entry), usual(family, spec), spec, allowed)
        }

    assert found == {place for place in IN_TRUTH if place[0].startswith(f"{library}:") and place[2] == setting}


# Each within the ranges of its parameters, and none of them can move anything that matters.
NONSENSE = [
    ("pgd-20[step_size=1e-6]", "Linf:0.2"),
    ("pgd-20[step_size=1e-6]", "L2:1"),
    ("pgd-20[step_size=1e-6]", "L1:5"),
    ("pgd-20[step_size=1e-9,random_start=false]", "Linf:0.2"),
    ("pgd-20[steps=200,step_size=1e-5]", "L2:1"),
    ("fgsm[step_size=1e-6]", "Linf:0.2"),
    ("fgsm-rs[step_size=1e-6]", "L2:1"),
    ("pgd-eot-200[step_size=1e-7]", "Linf:0.2"),
    ("cw-20[step_size=1e-7]", "Linf:0.2"),
    ("cw-l2[step_size=1e-9]", "L2:1"),
    ("blind[step_size=1e-7]", "Linf:0.2"),
    ("derandomized[step_size=1e-7]", "Linf:0.2"),
    ("bpda[step_size=1e-7]", "L2:1"),
    ("foolbox:LinfPGD[abs_stepsize=1e-12]", "Linf:0.2"),
    ("foolbox:LinfPGD[abs_stepsize=1e-12,random_start=false]", "Linf:0.2"),
    ("foolbox:L2PGD[rel_stepsize=1e-9]", "L2:1"),
    ("foolbox:LinfBasicIterativeAttack[abs_stepsize=1e-9]", "Linf:0.2"),
    ("foolbox:L2CarliniWagnerAttack[stepsize=1e-12,steps=10]", "L2:1"),
    ("foolbox:DDNAttack[init_epsilon=1e-9]", "L2:1"),
    ("foolbox:NewtonFoolAttack[stepsize=1e-12]", "L2:1"),
    ("foolbox:EADAttack[initial_stepsize=1e-12,steps=10]", "L1:5"),
    ("art:ProjectedGradientDescent[eps_step=1e-9]", "Linf:0.2"),
    ("art:ProjectedGradientDescent[eps_step=1e-9]", "L1:5"),
    ("art:MomentumIterativeMethod[eps_step=1e-9]", "L2:1"),
    ("art:NewtonFool[eta=1e-12]", "L2:1"),
    ("art:CarliniL2Method[learning_rate=1e-12]", "L2:1"),
    ("torchattacks:PGD[alpha=1e-12]", "Linf:0.2"),
    ("torchattacks:MIFGSM[alpha=1e-12]", "Linf:0.2"),
    ("advlib:pgd_linf[relative_step_size=1e-9]", "Linf:0.2"),
]


@pytest.mark.parametrize(("text", "threat"), NONSENSE, ids=[" ".join(pair) for pair in NONSENSE])
def test_a_parameter_that_keeps_an_attack_from_attacking_is_noticed(text, threat):
    library = text.partition(":")[0]
    if library in MODULES and importlib.util.find_spec(MODULES[library]) is None:
        pytest.skip(f"{library} is not installed")

    fault = asked(named(text), ThreatModel.parse(threat))

    assert fault.startswith("V13: cannot attack: it ")
    assert fault.endswith(" is enough for; look at its parameters")


def ascent(oracle, x, y, threat, *, steps=10, sign=1):
    """Ten steps that reach any corner of the ball."""
    rows, at = torch.arange(len(x), device=x.device), x
    for _ in range(steps):
        grad = oracle.gradient(at, y, margin, rows).grad
        at = project(at + sign * 0.5 * float(threat.eps) * grad.sign(), x, threat)
    return at


def among(shelf):
    """Put a user's attack on a shelf, by its name."""

    def put(function):
        shelf[function.__name__] = function
        return function

    return put


def brought(function, threat=LINF, spec=GRAY, **options):
    """What is said of a user's attack."""
    ref = AttackRef("mine", "./mine.py:build", function.__name__)
    try:
        require_able(ref, lambda: function, threat, spec, allowed=options.pop("allowed", FREE), **options)
    except Violation as error:
        return str(error)
    return ""


# What users bring that cannot attack, or loses what it has found.
USELESS = {}


@among(USELESS)
def unchanged(oracle, x, y, threat, *, stream):
    return x


@among(USELESS)
def another_copy(oracle, x, y, threat, *, stream):
    return x.clone()


@among(USELESS)
def the_wrong_variable(oracle, x, y, threat, *, stream):
    """What it finds nobody else sees: the view of a library knows of no labels."""
    x_adv, network = x.clone().requires_grad_(), CountedModule(oracle)
    for _ in range(10):
        (grad,) = torch.autograd.grad(torch.nn.functional.cross_entropy(network(x_adv), y), x_adv)
        x_adv = project(x_adv + 0.05 * grad.sign(), x, threat).detach().requires_grad_()
    network(x_adv)
    return x


@among(USELESS)
def downhill(oracle, x, y, threat, *, stream):
    return ascent(oracle, x, y, threat, sign=-1)


@among(USELESS)
def no_gradient(oracle, x, y, threat, *, stream):
    rows = torch.arange(len(x))
    return project(x + 0 * oracle.gradient(x, y, margin, rows).grad, x, threat)


@among(USELESS)
def a_step_for_bytes(oracle, x, y, threat, *, stream):
    """The step is 1/255 of what it should be."""
    grad = oracle.gradient(x, y, margin, torch.arange(len(x))).grad
    return project(x + float(threat.eps) / 255 * grad.sign(), x, threat)


@among(USELESS)
def a_lost_result(oracle, x, y, threat, *, stream):
    x_adv = x.clone()
    for _ in range(10):
        x_adv.detach() + 0.05 * oracle.gradient(x_adv, y, margin, torch.arange(len(x))).grad.sign()
    return x_adv


@among(USELESS)
def back_to_the_image(oracle, x, y, threat, *, stream):
    """Clamped to where it came from after every step."""
    at = x
    for _ in range(10):
        grad = oracle.gradient(at, y, margin, torch.arange(len(x))).grad
        at = (at + 0.05 * grad.sign()).clamp(x - 1e-6, x + 1e-6)
    return at


@among(USELESS)
def noise(oracle, x, y, threat, *, stream):
    """A gradient is asked for, and noise is taken."""
    oracle.gradient(x, y, margin, torch.arange(len(x)))
    return project(x + float(threat.eps) * (2 * stream.uniform(*x.shape[1:]) - 1), x, threat)


@among(USELESS)
def the_last_class(oracle, x, y, threat, *, stream):
    """Towards the label it should lead away from."""
    rows = torch.arange(len(x))
    away = oracle.gradient(x, y, lambda logits, y: logits.gather(1, y[:, None]).squeeze(1), rows).grad
    return project(x + float(threat.eps) * away.sign(), x, threat)


@among(USELESS)
def never_accepts(oracle, x, y, threat, *, stream):
    rows = torch.arange(len(x))
    for _ in range(20):
        oracle.logits(x + 1e-3, rows)
    return x


@among(USELESS)
def a_search_that_goes_astray(oracle, x, y, threat, *, stream):
    """It asks for logits, and keeps what is worse."""
    for _ in range(20):
        oracle.logits(x - 1e-3, torch.arange(len(x)))
    return project(x - 0.1, x, threat)


@among(USELESS)
def out_of_the_box_and_back(oracle, x, y, threat, *, stream):
    oracle.gradient(x, y, margin, torch.arange(len(x)))
    return (x * 255).round() / 255


@pytest.mark.parametrize("function", USELESS.values(), ids=USELESS)
def test_an_attack_of_a_user_that_cannot_attack_is_noticed_and_told_the_way_out(function):
    fault = brought(function)

    assert fault.startswith("V13: cannot attack: it ")
    assert "8 images of a linear classifier that Linf 0.05 is enough for" in fault
    assert fault.endswith("look at its parameters, or let it say why it is exempt (docs/attacks.md)")


def test_it_is_told_apart_what_moves_nothing_and_what_breaks_nothing():
    assert "it hands in as they were 8 of 8 images" in brought(the_wrong_variable)
    assert "it breaks 0 of 8 images" in brought(downhill)


# What users bring that is an attack, or that nothing can be said of here.
ABLE = {}


@among(ABLE)
def an_ascent(oracle, x, y, threat, *, stream):
    return ascent(oracle, x, y, threat)


@among(ABLE)
def keeps_the_image_where_it_fails(oracle, x, y, threat, *, stream):
    at = ascent(oracle, x, y, threat)
    broken = ~torch.isin(torch.arange(len(x)), oracle.open(torch.arange(len(x))))
    return torch.where(broken[:, None, None, None], at, x)


@among(ABLE)
def discards_what_it_found(oracle, x, y, threat, *, stream):
    """A05 tells, of the images of the cell, and says what to change."""
    oracle.gradient(ascent(oracle, x, y, threat), y, margin, torch.arange(len(x)))
    return x


@among(ABLE)
def one_short_step(oracle, x, y, threat, *, stream):
    return project(x + 0.1 * (ascent(oracle, x, y, threat, steps=1) - x), x, threat)


@among(ABLE)
def never_asks(oracle, x, y, threat, *, stream):
    """It follows a network of its own, which this says nothing of."""
    return project(x - 0.1, x, threat)


@among(ABLE)
def looks_and_follows_its_own(oracle, x, y, threat, *, stream):
    oracle.logits(x, torch.arange(len(x)))
    return project(x - 0.1, x, threat)


@among(ABLE)
def leaves_alone_what_its_own_network_gets_wrong(oracle, x, y, threat, *, stream):
    return torch.where((y == 7)[:, None, None, None], project(x - 0.1, x, threat), x)


@among(ABLE)
def raises(oracle, x, y, threat, *, stream):
    raise RuntimeError("this network has no third stage")


@among(ABLE)
def no_numbers(oracle, x, y, threat, *, stream):
    """The verifier's to find, on the images of the cell."""
    return x * torch.nan


@among(ABLE)
def another_shape(oracle, x, y, threat, *, stream):
    return x[:, :, :4]


@among(ABLE)
def never_ends(oracle, x, y, threat, *, stream):
    while True:
        with contextlib.suppress(Exception):
            oracle.logits(x, torch.arange(len(x)))


@pytest.mark.parametrize("function", ABLE.values(), ids=ABLE)
def test_what_attacks_or_cannot_be_judged_here_passes(function):
    assert brought(function) == ""


def test_an_attack_that_says_why_it_is_exempt_is_not_asked():
    def meant_to_be_weak(oracle, x, y, threat, *, stream):
        return x

    assert brought(meant_to_be_weak) != ""
    meant_to_be_weak.exempt = "the control of a study"
    ability._known.clear()

    assert brought(meant_to_be_weak) == ""


class Rendering:
    """An attack without an Lp bound."""

    def __init__(self, by, *, asks=False):
        self.by, self.asks = by, asks

    def propose(self, oracle, x, y, threat, *, stream):
        if self.asks:
            oracle.gradient((x + 0.1).clamp(0, 1), y, margin, torch.arange(len(x)))
        return x + self.by, None

    def violations(self, x, x_adv, proof, threat):
        return []


def test_an_attack_without_an_lp_bound_has_to_move_and_no_more():
    ref = AttackRef("mine", "./mine.py:build", "mine")

    def fault(attack, digest):
        try:
            require_able(replace(ref, digest=digest), lambda: attack, ThreatModel.parse("stadv:0.4"), GRAY, allowed=0)
        except Violation as error:
            return str(error)
        return ""

    assert "it hands in as they were 8 of 8 images of a linear classifier; look" in fault(Rendering(0.0), "still")
    assert fault(Rendering(1e-3), "moves") == ""
    assert fault(Rendering(0.0, asks=True), "moves to no avail") == ""


# in a cell


def planned(attacks, threat=LINF, defense="at", n=16, **options):
    examples = digits("test").first(n)
    (plan,) = build(Selection.of(defense, attacks, (threat,)), examples, **options)
    return Task(plan.cell, 0, examples)


@pytest.mark.parametrize("attacks", ["pgd-20[steps=3]", "square[queries=30]", "fab-t[steps=3]", "noise", "core"])
def test_the_verdicts_and_costs_of_an_able_attack_are_those_without_the_question(attacks):
    task = planned(attacks)
    defense = load_defense(task.cell.defense, GRAY)

    found = compute(task, "cpu", lambda n: None).done
    alone, _ = evaluate(task.cell, defense, attack_of(task.cell.attack), task.shard)

    assert found.verdicts.adversarial.tolist() == alone.verdicts.adversarial.tolist()
    assert found.cost == alone.cost != Cost()


def test_the_passes_of_the_question_are_not_shown_as_progress_of_the_cell():
    passed = []

    report = compute(planned("fgsm"), "cpu", passed.append)

    assert sum(passed) == report.done.cost.forwards == 16


def test_the_global_generators_are_left_as_they_were():
    def draws(oracle, x, y, threat, *, stream):
        return project(x + torch.rand_like(x) + random.random() + np.random.rand(), x, threat)  # noqa: NPY002

    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    brought(draws)

    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]


def test_it_is_asked_once_and_of_an_instance_of_its_own():
    built = []

    @dataclass
    class Counting:
        calls: int = 0

        def __call__(self, oracle, x, y, threat, *, stream):
            self.calls += 1
            return ascent(oracle, x, y, threat)

    def one():
        built.append(Counting())
        return built[-1]

    ref = AttackRef("mine", "./mine.py:build", "once")
    for _ in range(3):
        require_able(ref, one, LINF, GRAY, allowed=0)
    require_able(ref, one, LINF, COLOR, allowed=0)

    assert [attack.calls for attack in built] == [1, 1]


def test_a_search_may_take_its_share_of_its_cells_and_no_more():
    queries = []

    def long_(oracle, x, y, threat, *, stream):
        for _ in range(3000):
            queries.append(len(x))
            oracle.logits(x, torch.arange(len(x)))
        return x

    first = brought(long_)
    few = len(queries)
    second = brought(long_, allowed=3 * FREE)

    assert (first, few) == ("", FREE // IMAGES + 1)
    assert second.startswith("V13")


def test_an_unable_member_of_a_cascade_is_named():
    task = planned("core")
    stages = (*task.cell.attack.stages[:1], named("pgd-20[step_size=1e-9]"))
    cell = replace(task.cell, attack=replace(task.cell.attack, stages=stages))

    report = compute(replace(task, cell=cell), "cpu", lambda n: None)

    assert report.done is None
    assert report.error.startswith("pgd-20[step_size=1e-9]: V13: cannot attack: ")


def test_a_stochastic_defense_is_no_excuse():
    report = compute(planned("pgd-eot-20[step_size=1e-9]", defense="atop"), "cpu", lambda n: None)

    assert report.error.startswith("V13: cannot attack")


MINE = """
    def build():
        def attack(oracle, x, y, threat, *, stream):
            import torch
            from bench.oracle.answers import margin
            oracle.gradient(x, y, margin, torch.arange(len(x)))
            return x
        return attack

    def no_numbers():
        return lambda oracle, x, y, threat, *, stream: x * float("nan")
"""


def test_in_a_table_it_stands_as_failed_and_the_other_cells_as_ever(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("mine.py").write_text(textwrap.dedent(MINE))
    attacks = "fgsm,./mine.py:build,./mine.py:no_numbers"

    status = main(
        ["run", "--defenses", "at", "--attacks", attacks, "--threat", "Linf:0.2", "--n", "16", "--executor", "local"]
    )

    out, err = capsys.readouterr()
    (row,) = (line.split() for line in out.splitlines() if line.startswith("at "))
    assert status == 3
    assert row[2].endswith("*")
    assert row[3:5] == ["FAIL", "FAIL"]
    assert "FAIL at x mine (Linf:0.2): V13: cannot attack: it hands in as they were 8 of 8 images" in err
    assert "FAIL at x mine:no_numbers (Linf:0.2): V02: x_adv holds NaN or Inf" in err
