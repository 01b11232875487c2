"""Few classes and images that are not square: every attack either runs on them or is declared not to."""

import importlib.metadata
import math
import warnings

import numpy as np
import pytest
import torch

from bench.attacks.adapters import library as peer
from bench.catalogue import ATTACKS
from bench.catalogue.attack_libraries import LIBRARIES, peer_entry
from bench.catalogue.registry import Limits, load
from bench.catalogue.selection import Selection
from bench.cli import main
from bench.datasets.examples import Examples
from bench.harness import matrix
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense, ImageSpec

TWO, THREE = ImageSpec((1, 8, 8), 2), ImageSpec((1, 8, 8), 3)
WIDE, HIGH, TINY = ImageSpec((1, 8, 12), 10), ImageSpec((1, 12, 8), 10), ImageSpec((1, 4, 4), 10)
SPECS = {"2 classes": TWO, "3 classes": THREE, "wide": WIDE, "high": HIGH, "4 pixels": TINY}
SQUARE = ImageSpec((1, 8, 8), 10)
KINDS = ("deterministic", "stochastic")

PEERS = [
    (f"{library}:{attack}", family)
    for library, of in LIBRARIES.items()
    for attack, told in of.attacks.items()
    for family in told.families
]
LIMITED = [
    (name, family)
    for name, family in PEERS
    if any(peer_entry(name).refuses("deterministic", family, spec) for spec in SPECS.values())
]
# Parameters that shorten an attack, by their names in the libraries.
FEW = {
    **dict.fromkeys(("steps", "num_steps", "n_iter", "iter", "max_iter", "nb_iter"), 4),
    **dict.fromkeys(("restarts", "n_restarts", "nb_random_init", "num_targets", "binary_search_steps"), 1),
    "max_iterations": 10,  # some look at every tenth of them
    "nb_sample": 8,
    "n_queries": 20,
    "query_limit": 60,
}
# In whose loops are others.
SLOW = {"art:SignOPTAttack": {"max_iter": 1}, "advlib:alma": {"num_steps": 20}, "art:BoundaryAttack": {"max_iter": 5}}
DLR = [
    ("torchattacks:APGD", {"loss": "dlr"}, 3),
    ("torchattacks:UPGD", {"loss": "dlr"}, 3),
    ("torchattacks:APGDT", {}, 4),
    ("art:AutoProjectedGradientDescent", {"loss_type": "difference_logits_ratio"}, 3),
    ("art:AutoConjugateGradient", {"loss_type": "difference_logits_ratio"}, 3),
    ("art:AutoProjectedGradientDescent", {"loss_type": "cross_entropy"}, 2),
    ("advlib:pgd_linf", {"loss_function": "dlr"}, 3),
    ("advlib:pgd_linf", {}, 2),
    ("advlib:apgd", {}, 3),
    ("advlib:apgd", {"loss_function": "ce"}, 2),
    ("advlib:apgd", {"loss_function": "DLR"}, 3),
    ("advlib:apgd", {"loss_function": "CE"}, 2),
    ("advlib:apgd_targeted", {}, 4),
    ("advlib:apgd_targeted", {"loss_function": "ce", "num_targets": "9"}, 2),
]


@pytest.fixture(autouse=True)
def _quietly_imported():
    """What the libraries warn of while they are imported is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def shortened(name):
    """An attack of a library with few steps, or a skip where that is not installed."""
    entry = peer_entry(name)
    for distribution in entry.requires:
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{distribution} is not installed")
    known = load(f"{entry.target.partition(':')[0]}:parameters")(entry.config["name"])
    few = {key: value for key, value in {**FEW, **SLOW.get(name, {})}.items() if key in known}
    return load(entry.target)(**entry.config, parameters=few), entry


@pytest.fixture
def run(launch, small_cnn):
    """Run an attack on two images of a kind, half of them of the first class, and return what it proposes."""

    def attempt(attack, access, spec, threat):
        model = small_cnn(spec.shape[0], spec.classes)
        x = torch.rand(2, *spec.shape, generator=torch.Generator().manual_seed(0))
        y = model(x).argmax(1)
        return launch(attack, model, x, y, threat, access=access)[0], x

    return attempt


@pytest.mark.parametrize(("name", "family"), PEERS, ids=[" ".join(pair) for pair in PEERS])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_an_attack_of_a_library_runs_where_nothing_declines_it(run, name, family, spec):
    """Whatever it fails on has to be declared, so that it is skipped with a reason."""
    attack, entry = shortened(name)
    reason = entry.refuses("deterministic", family, spec)
    if reason:
        pytest.skip(reason)

    x_adv, x = run(attack, entry.access, spec, f"{family}:0.3")

    assert x_adv.shape == x.shape


@pytest.mark.parametrize(("name", "family"), LIMITED, ids=[" ".join(pair) for pair in LIMITED])
def test_what_is_declined_is_what_the_library_fails_on(run, name, family):
    """A limit that is too strict would take an attack from somebody for nothing."""
    attack, entry = shortened(name)
    declined = [spec for spec in SPECS.values() if entry.refuses("deterministic", family, spec)]

    run(attack, entry.access, SQUARE, f"{family}:1e-5")
    for spec in declined:
        with pytest.raises((IndexError, RuntimeError, ValueError, ZeroDivisionError)):
            run(attack, entry.access, spec, f"{family}:1e-5")


@pytest.mark.parametrize(("name", "parameters", "fewest"), DLR)
def test_the_loss_decides_how_many_classes_there_must_be(name, parameters, fewest):
    """By the parameters as they are typed: the ratio of differences of logits needs three, towards a target four."""
    entry = peer_entry(name, parameters)

    for family in entry.families:
        reasons = {count: entry.refuses("deterministic", family, ImageSpec((3, 32, 32), count)) for count in (2, 3, 4)}
        assert [count for count, reason in reasons.items() if reason is None] == list(range(fewest, 5))
        for count in range(2, fewest):
            assert reasons[count] == f"{name} needs {fewest} classes or more, these images have {count}"


def test_more_targets_than_there_are_other_classes_are_all_of_them(launch, small_cnn):
    """As in our own targeted attacks: nine do not exist among three classes."""
    pytest.importorskip("adv_lib")
    attack = load("bench.attacks.adapters.advlib:AdvLib")
    x, model = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), small_cnn(classes=3)
    loss = {"loss_function": "ce", "n_iter": 4}

    proposals = [
        launch(attack("apgd_targeted", {**loss, **targets}), model, x, model(x).argmax(1), "Linf:0.01")[0]
        for targets in ({}, {"num_targets": 9}, {"num_targets": 2})
    ]

    assert torch.equal(proposals[0], proposals[1])
    assert torch.equal(proposals[1], proposals[2])


def test_labels_that_are_all_of_the_first_class_are_no_sigmoid(small_cnn):
    """ART declines answers of two columns, which a batch of one class would have, of however many there are."""
    x = torch.rand(2, 1, 8, 8)
    oracle = Oracle(Defense(small_cnn()), 2, access="decision")

    view = peer.Decisions(oracle, torch.zeros(2, dtype=torch.int64))

    assert view.classes == 3
    assert view(x).shape == (2, 3)
    assert (view(x).sum(1) == 1).all()


def test_the_reference_is_for_square_images_in_l2_where_it_runs_square(run):
    """Its rand version, for stochastic defenses, has no random search."""
    entry = ATTACKS.get("autoattack-ref")

    told = {(kind, family): entry.refuses(kind, family, HIGH) for kind in KINDS for family in entry.families}

    assert [key for key, reason in told.items() if reason] == [("deterministic", "L2")]
    assert told["deterministic", "L2"] == "autoattack-ref needs images as high as wide, these are 8x12"
    assert entry.refuses("deterministic", "L2", TINY) == "autoattack-ref needs images of 5 pixels a side, these have 4"
    assert entry.refuses("deterministic", "L2", SQUARE) is None
    with pytest.raises(RuntimeError, match="match the"):
        run(load(entry.target)(**entry.config), entry.access, HIGH, "L2:1e-5")


def plan(attacks, spec, threat):
    """What is planned for a model of such images."""
    x = np.random.default_rng(0).random((6, *spec.shape)).astype(np.float32)
    examples = Examples("some", "test", list("abcdef"), x, np.arange(6) % spec.classes, spec)
    threats = (ThreatModel.parse(threat),)
    model = f"./linear.py:build[pixels={math.prod(spec.shape)},classes={spec.classes}]"
    return matrix.build(Selection.of(model, attacks, threats), examples)


@pytest.fixture
def _linear(tmp_path, monkeypatch):
    """`./linear.py`, a model of as many pixels and classes as it is asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linear.py").write_text(
        "from torch import nn\n"
        "def build(pixels: int, classes: int): return nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes))\n"
    )


@pytest.mark.usefixtures("_linear")
def test_what_an_attack_is_not_defined_for_is_planned_as_skipped_with_its_reason():
    pytest.importorskip("art")

    planned = {each.cell.attack.label: each.skip for each in plan("pgd-20,art:SquareAttack", HIGH, "Linf:0.1")}

    assert planned == {
        "pgd-20": None,
        "art:SquareAttack": "art:SquareAttack needs images as high as wide, these are 8x12",
    }


@pytest.mark.usefixtures("_linear")
def test_a_parameter_that_asks_for_more_classes_is_planned_as_skipped():
    pytest.importorskip("art")
    dlr = "art:AutoProjectedGradientDescent[loss_type=difference_logits_ratio]"

    skips = [each.skip for each in plan(f"art:AutoProjectedGradientDescent,{dlr}", TWO, "Linf:0.1")]

    assert skips == [None, "art:AutoProjectedGradientDescent needs 3 classes or more, these images have 2"]


@pytest.mark.usefixtures("_linear")
def test_a_worst_case_leaves_out_the_parts_that_are_not_defined_for_the_images(monkeypatch):
    entry = ATTACKS.get("square")
    bounded = type(entry)(**{**vars(entry), "limits": {"L2": Limits(square=True)}})
    monkeypatch.setitem(ATTACKS._entries, "square", bounded)

    parts = {family: plan("autoattack", HIGH, f"{family}:0.1")[0].cell.attack.stages for family in ("Linf", "L2")}

    assert [part.label for part in parts["Linf"]] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert [part.label for part in parts["L2"]] == ["apgd-ce", "apgd-t", "fab-t"]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("pgd-20", ["gray or color, any size; 2 classes or more"]),
        ("torchattacks:APGDT", ["gray or color, any size; 4 classes or more"]),
        ("advlib:apgd", ["gray or color, any size; 3 classes or more"]),
        (
            "autoattack-ref",
            [
                "gray or color, any size; 2 classes or more",
                "deterministic L2: gray or color, at least 5 pixels a side, as high as wide; 2 classes or more",
            ],
        ),
    ],
)
def test_show_tells_on_which_images_an_attack_is_defined(name, lines, capsys, monkeypatch):
    """Also of a library that is not installed, as far as the catalogue knows it."""
    monkeypatch.setattr("bench.report.listing._parameters", lambda entry: [])

    assert main(["show", name]) == 0

    out = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("  images      ") for line in out if line.startswith("  images")] == lines
