"""What JPEG, elastic, fog, snow and Gabor have in common, and what the authors' own code finds with them."""

from __future__ import annotations

import os
import random
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from bench import _compat
from bench.attacks.unforeseen.rendered import Proof
from bench.catalogue import ATTACKS
from bench.catalogue.loading import load_defense
from bench.catalogue.registry import load as build
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.load import load
from bench.errors import BenchError
from bench.oracle.answers import margin
from bench.oracle.oracle import Oracle
from bench.threats import FAMILIES, ThreatModel
from bench.types import Defense

NAMES = ("jpeg-linf", "jpeg-l2", "jpeg-l1", "elastic", "fog", "snow", "gabor")
needs_cifar = pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10")

each = pytest.mark.parametrize("name", NAMES)


def attack_of(name, **changed):
    return replace(build(ATTACKS.get(name).target)(), **changed)


@pytest.fixture
def drawn(images, stream):
    """Images of a shape that touch the edges of the box, with a scene and variables within a bound."""

    def draw(attack, shape, eps=0.3, n=4):
        x, draws = (0.5 + 7 * (images(n, shape) - 0.5)).clamp(0, 1), stream(n)
        scene = attack.scene(x, draws)
        return x, attack.start(x, scene, eps, draws), scene

    return draw


@each
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 13, 40)], ids=str)
def test_a_rendering_is_a_matter_of_its_row_alone(drawn, images, stream, name, shape):
    """Scene, start and image of row 2 are the same without the other rows."""
    attack = attack_of(name)
    x, latent, scene = drawn(attack, shape)
    alone = attack.scene(x[2:3], stream(4).rows(torch.tensor([2])))

    together = attack.render(x, latent, scene)
    apart = attack.render(x[2:3], latent[2:3], alone)

    assert together.shape == x.shape
    assert together.min() >= 0
    assert together.max() <= 1
    assert all(torch.equal(part[2:3], own) for part, own in zip(scene, alone, strict=True))
    assert torch.equal(attack.start(x[2:3], alone, 0.3, stream(4).rows(torch.tensor([2]))), latent[2:3])
    assert torch.allclose(together[2:3], apart, atol=1e-6)
    assert not torch.allclose(together, x, atol=1e-4)


@each
def test_bounds_are_nested(drawn, name):
    """What is within eps is within twice eps, and what is brought within eps has at most that size."""
    attack = attack_of(name)
    _, latent, _ = drawn(attack, (3, 32, 32))

    inside, larger = attack.within(100 * latent, 0.3), attack.within(latent, 0.6)

    assert (attack.size(latent) <= 0.3 * (1 + 1e-6)).all()
    assert (attack.size(inside) <= 0.3 * (1 + 1e-6)).all()
    assert (attack.size(inside) > 0.29).all()
    assert torch.allclose(larger, latent, atol=1e-6)


@each
def test_the_proof_renders_the_proposal(small_cnn, images, stream, name):
    """Variables and scene of the very point that is returned, from whichever restart it is."""
    model, x = small_cnn(channels=3), images(6, (3, 16, 12))
    y = model(x).argmax(1)
    attack = attack_of(name, steps=3, n_restarts=3)
    threat = ThreatModel.parse(f"{name}:0.02")

    x_adv, proof = attack.propose(Oracle(Defense(model), 6), x, y, threat, stream=stream(6))

    assert attack.violations(x, x_adv, proof, threat) == []
    assert (x_adv - x).abs().max() > 1e-4


@each
def test_a_false_proof_is_named(drawn, name):
    """Variables beyond the bound, another image and variables that are no numbers are each told."""
    attack = attack_of(name)
    x, latent, scene = drawn(attack, (1, 8, 8))
    latent = attack.within(5 * latent, 0.3)
    x_adv, threat = attack.render(x, latent, scene), ThreatModel.parse(f"{name}:0.3")
    other = x_adv.clone()
    other[1, 0, 3, 4] += 1e-3

    too_large = attack.violations(x, x_adv, Proof(latent, scene), ThreatModel.parse(f"{name}:0.2"))
    another = attack.violations(x, other, Proof(latent, scene), threat)
    no_number = attack.violations(x, x_adv, Proof(latent * float("nan"), scene), threat)
    honest = attack.violations(x, x_adv, Proof(latent, scene), threat)

    assert "have size" in too_large[0]
    assert "more than 0.2" in too_large[0]
    assert "differs from x_adv by 0.001" in another[0]
    assert "not finite" in no_number[0]
    assert honest == []


@each
def test_steps_climb(robust_digits, stream, name):
    """At a bound that breaks few, ten steps raise the loss of nearly every digit above that after one."""
    model, x, y = robust_digits
    threat = ThreatModel.parse(f"{name}:{float(FAMILIES[name].eps[0]) / 4}")

    one, ten = (
        margin(model(attack(Oracle(Defense(model), 32), x, y, threat, stream=stream(32))), y)
        for attack in (attack_of(name, steps=steps, n_restarts=1, loss="margin") for steps in (1, 10))
    )

    assert (ten > one).float().mean() > 0.9


@each
def test_a_norm_is_refused(launch, small_cnn, images, name):
    """Its eps is no distance between images."""
    model, x = small_cnn(), images(1)

    with pytest.raises(BenchError, match="is not defined for L2"):
        launch(attack_of(name), model, x, model(x).argmax(1), "L2:1")


@pytest.fixture(scope="module")
def shipped():
    """A shipped network and the first examples it gets right."""

    def choose(dataset, name, n):
        data = load(dataset, "test", n=2 * n)
        model = load_defense(defense(Request(name, {}), dataset, None), data.spec).model
        x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        right = (model(x).argmax(1) == y).nonzero().squeeze(1)[:n]
        return model, x[right], y[right]

    return choose


@each
@pytest.mark.parametrize("dataset", ["digits", pytest.param("cifar10", marks=[pytest.mark.data, needs_cifar])])
def test_an_undefended_network_falls_at_the_usual_bound(shipped, launch, name, dataset):
    """Below a tenth, with less work than usual."""
    model, x, y = shipped(dataset, "standard", 40)
    threat = ThreatModel.parse(f"{name}:{FAMILIES[name].usual(tuple(x.shape[1:]))}")

    x_adv, _ = launch(attack_of(name, steps=25), model, x, y, threat)

    assert (model(x_adv).argmax(1) == y).sum() < 4


class OnDevice(TorchFunctionMode):
    """advex_uar asks for a GPU by name; give it the CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if "cuda" in str(kwargs.get("device", "")):
            kwargs["device"] = "cpu"
        if getattr(func, "__name__", "") == "cuda":
            return args[0]
        return func(*args, **kwargs)


@pytest.fixture
def authors():
    """Run an attack of the authors' package, which draws from the global generators and takes images of 0 to 255."""
    pytest.importorskip("scipy")
    _compat.torchvision()
    package = pytest.importorskip("advex_uar.attacks")

    def run(name, model, x, y, eps, step_size, *, steps=20, **options):
        state = random.getstate(), np.random.get_state()  # noqa: NPY002  (the generator it uses)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        with torch.random.fork_rng(), OnDevice(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            attack = getattr(package, name)(steps, eps, step_size, x.shape[-1], scale_each=True, **options)
            if name == "ElasticAttack":
                # Its grid ends in the centers of the outer pixels and is read as if it ended at their rims,
                # which shrinks the image whatever eps is; and beyond the edge it is black.
                attack.deformer.base_flow = attack.deformer.base_flow * (1 - 1 / x.shape[-1])
                attack.deformer.warp = partial(F.grid_sample, padding_mode="border", align_corners=False)
            found = attack._forward(lambda z: model(z / 255), 255 * x, y, avoid_target=True, scale_eps=False)
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        return torch.where(found.isnan(), x, found.detach() / 255).clamp(0, 1)

    return run


@pytest.mark.data
@needs_cifar
@pytest.mark.parametrize(
    ("name", "theirs", "eps", "unit", "options", "ours"),
    [
        ("jpeg-linf", "JPEGAttack", 0.125, 1, {"opt": "linf"}, {}),
        ("jpeg-l2", "JPEGAttack", 2, 1, {"opt": "l2"}, {}),
        ("jpeg-l1", "JPEGAttack", 8, 1, {"opt": "l1"}, {}),
        ("elastic", "ElasticAttack", 0.5, 1, {"kernel_size": 5, "kernel_std": 3 / 224 * 32}, {}),
        ("fog", "FogAttack", 0.2, 255, {}, {}),
        ("snow", "SnowAttack", 0.0625, 1, {}, {}),
        # Their mask holds the sparse pixels at zero and leaves all others free: nearly a kernel per pixel.
        ("gabor", "GaborAttack", 0.1, 255, {}, {"density": 1.0}),
    ],
)
def test_the_authors_code_breaks_at_most_one_more(
    shipped, launch, authors, tally, name, theirs, eps, unit, options, ours
):
    """The same eps, 20 steps of the same relative size up the cross-entropy, on a robust network.

    JPEG in their code takes the resolution of the colors before anything else; both start after that.
    """
    model, x, y = shipped("cifar10", "at", 32)
    root = 20**-0.5
    if theirs == "JPEGAttack":
        x = authors(theirs, model, x, y, eps, 0, steps=0, rand_init=False, **options)
    attack = attack_of(name, steps=20, n_restarts=1, loss="ce", step_size=max(root, attack_of(name).step_size), **ours)

    x_adv, _ = launch(attack, model, x, y, f"{name}:{eps}")
    reference = authors(theirs, model, x, y, eps * unit, root * (eps if unit == 1 and name != "snow" else 1), **options)

    broken, expected = (int((model(each).argmax(1) != y).sum()) for each in (x_adv, reference))
    tally(f"uar {name}", broken, expected, "broken, ours of advex_uar's")
    assert expected >= 4
    assert broken >= expected - 1
