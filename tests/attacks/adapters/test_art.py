"""What the threat model decides of an attack of ART, and what of its own is kept."""

import inspect
import math

import pytest

from bench.attacks.adapters import art
from bench.errors import BenchError
from bench.threats import ThreatModel


def there(kind):
    return inspect.signature(kind.__init__).parameters


class Bounded:
    def __init__(
        self, estimator, norm=math.inf, eps=0.3, eps_step=0.1, targeted=False, batch_size=32, verbose=True
    ): ...


class Nearest:
    def __init__(self, classifier, max_iter=10, batch_size=1): ...


@pytest.mark.parametrize(("family", "order"), [("Linf", math.inf), ("L2", 2), ("L1", 1)])
def test_the_threat_model_sets_norm_and_eps_and_the_step_keeps_its_share(family, order):
    given = art._set_by_harness(there(Bounded), ThreatModel.parse(f"{family}:0.6"), 5)

    assert given == {
        "norm": order,
        "eps": 0.6,
        "batch_size": 5,
        "targeted": False,
        "verbose": False,
        "eps_step": pytest.approx(0.2),
    }


def test_an_attack_is_given_nothing_that_it_does_not_take():
    assert art._set_by_harness(there(Nearest), ThreatModel.parse("L2:1"), 5) == {"batch_size": 5}


def test_what_the_harness_sets_is_not_offered():
    pytest.importorskip("art")

    offered = art.parameters("ProjectedGradientDescent")

    assert offered["max_iter"] == (int, 100)
    assert offered["eps_step"][0] is float
    assert not {"estimator", "norm", "eps", "targeted", "verbose"} & set(offered)


def test_the_harness_outranks_nobody_who_names_a_step(launch, small_cnn, images, monkeypatch):
    """A parameter of the user's stands, beside what the threat model says."""
    pytest.importorskip("art")
    seen = {}

    class Spy:
        def __init__(self, estimator, norm=math.inf, eps=0.3, eps_step=0.1, batch_size=32):
            seen.update(norm=norm, eps=eps, eps_step=eps_step, classes=estimator.nb_classes)

        def generate(self, x, y):
            return x + 1

    monkeypatch.setattr(art, "_kind", lambda name: Spy)
    x = images(3)

    x_adv, _ = launch(
        art.ART("Spy", {"eps_step": 0.7}), small_cnn(classes=7), x, small_cnn(classes=7)(x).argmax(1), "Linf:0.1"
    )

    assert seen == {"norm": math.inf, "eps": 0.1, "eps_step": 0.7, "classes": 7}
    assert (x_adv - x).abs().max().item() == pytest.approx(0.1)


def test_without_the_library_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "art.attacks.evasion", None)

    with pytest.raises(BenchError, match=r"art.attacks.evasion does not load .*: pip install 'atop-bench\[art\]'"):
        art.parameters("ProjectedGradientDescent")
