"""The self-test notices an attack that became weaker, and nothing else."""

from __future__ import annotations

import json

import pytest
from torch import Tensor

from bench.checks import selftest
from bench.cli import main
from bench.errors import BenchError

CHEAP = "fgsm,pgd-20[steps=3]"
THREATS = selftest._THREATS


class Quiet:
    def begin(self, cells, stored, beside=()): ...
    def advance(self, cell, passed): ...
    def end(self, cell, outcome): ...


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Golden verdicts of two cheap attacks."""
    path = tmp_path_factory.mktemp("golden") / "golden.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selftest, "_ATTACKS", CHEAP)
        patch.setattr(selftest, "_THREATS", ("Linf:0.2",))
        selftest.record_golden(Quiet(), path, jobs=1)
        yield path


def compare(golden):
    return selftest.compare_with_golden(Quiet(), attacks=CHEAP, jobs=1, golden=golden)


def test_the_same_attacks_are_as_strong_as_they_were(golden):
    found = compare(golden)

    assert {each.title for each in found} == {
        f"{defense} x {attack} (Linf:0.2)" for defense in ("at", "atop") for attack in CHEAP.split(",")
    }
    assert [each.weaker_by for each in found] == [0.0] * 4
    assert all(each.now == each.golden for each in found)


def test_an_attack_whose_steps_go_nowhere_is_named(golden, monkeypatch):
    """The direction is turned around: FGSM and PGD now descend, and both are reported.

    Not PGD on the stochastic defense: of so few steps and draws it keeps the best by chance alone.
    """
    import bench.attacks.lp.fgsm
    import bench.attacks.search
    from bench.attacks.search import direction

    def backwards(grad: Tensor, family: str) -> Tensor:
        return -direction(grad, family)

    monkeypatch.setattr(bench.attacks.lp.fgsm, "direction", backwards)
    monkeypatch.setattr(bench.attacks.search, "direction", backwards)

    found = compare(golden)

    assert {each.title for each in found if each.weaker_by > 0} >= {
        "at x fgsm (Linf:0.2)",
        "at x pgd-20[steps=3] (Linf:0.2)",
        "atop x fgsm (Linf:0.2)",
    }


def test_golden_verdicts_of_other_weights_are_not_compared(golden, tmp_path):
    data = json.loads(golden.read_text())
    data["verdicts"][0]["weights"] = "0" * 64
    other = tmp_path / "other.json"
    other.write_text(json.dumps(data))

    with pytest.raises(BenchError, match="other weights"):
        compare(other)


def test_the_shipped_golden_verdicts_hold_for_the_cheapest_attack(capsys, monkeypatch):
    """What a user types; all attacks take minutes, so the rest is run before a release."""
    monkeypatch.setattr(selftest, "_THREATS", THREATS)

    assert main(["selftest", "--attacks", "fgsm", "--jobs", "1"]) == 0

    out = capsys.readouterr().out
    assert "ok     at x fgsm (Linf:0.2)" in out
    assert "selftest: 0 of 4 cells weaker" in out


def test_an_attack_without_golden_verdicts_is_a_mistake(capsys):
    assert main(["selftest", "--attacks", "pgd-20[steps=2]", "--jobs", "1"]) == 2

    assert "no golden verdicts for" in capsys.readouterr().err
