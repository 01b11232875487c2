"""The matrix: which cells there are, which are skipped, and what their keys tell apart."""

import pytest

from bench.catalogue import ATTACKS
from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.harness import matrix
from bench.threats import ThreatModel

DIGITS = (ThreatModel.parse("Linf:0.2"), ThreatModel.parse("L2:1"), ThreatModel.parse("stadv:0.4"))


def build(defenses="all", attacks="all", threats=DIGITS, n=20, **more):
    request = Selection.of(defenses, attacks, threats)
    return matrix.build(request, digits("test").first(n), **more)


def test_an_attack_without_a_fitting_threat_is_refused():
    with pytest.raises(BenchError, match="'stadv' needs a stadv threat"):
        build("standard", "stadv", DIGITS[:1])


@pytest.mark.parametrize("numbers", [{"draws": 0}, {"draws": 256}, {"batch": 0}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(BenchError, match="out of range"):
        build("standard", "fgsm", **numbers)


def test_every_pair_of_attack_and_fitting_threat_is_a_cell_and_meaningless_ones_say_why():
    plan = build("at,atop", "all")

    columns = {(planned.cell.defense.label, *planned.cell.column) for planned in plan}
    expected = {
        (defense, entry.name, str(threat))
        for defense in ("at", "atop")
        for entry in ATTACKS
        for threat in DIGITS
        if threat.family in entry.families and not entry.only_named
    }
    assert columns == expected
    skipped = {(planned.cell.defense.label, planned.cell.attack.label) for planned in plan if planned.skip}
    assert {("at", "pgd-eot-20"), ("atop", "apgd-t"), ("atop", "fab-t"), ("atop", "square")} <= skipped
    assert all(ATTACKS.get(name).not_for[{"at": "deterministic", "atop": "stochastic"}[of]] for of, name in skipped)


STANDARD = ["apgd-ce", "apgd-t", "fab-t", "square"]


def test_autoattack_beside_its_parts_is_their_worst_case():
    """They are columns anyway, so nothing is computed twice."""
    plan = build("at,atop", ",".join([*STANDARD, "apgd-dlr", "square-eot", "autoattack"]), DIGITS[:1])

    parts = {each.cell.defense.label: list(each.parts) for each in plan if each.cell.attack.label == "autoattack"}
    assert [part.attack.label for part in parts["at"]] == STANDARD
    assert [part.attack.label for part in parts["atop"]] == ["apgd-ce", "apgd-dlr", "square-eot"]
    assert {part.key for part in (*parts["at"], *parts["atop"])} <= {each.cell.key for each in plan}


def test_autoattack_alone_runs_each_part_on_what_the_others_left():
    """A stochastic defense draws its noise for a batch, so there the parts stay cells; the key is the same."""
    plan = {planned.cell.defense.label: planned for planned in build("at,atop", "autoattack", DIGITS[:1])}
    beside = build("at", ",".join([*STANDARD, "autoattack"]), DIGITS[:1])[-1]

    assert not plan["at"].parts
    assert [stage.label for stage in plan["at"].cell.attack.stages] == STANDARD
    assert [part.attack.label for part in plan["atop"].parts] == ["apgd-ce", "apgd-dlr", "square-eot"]
    assert plan["at"].cell.key == beside.cell.key
    assert beside.parts


def test_what_is_only_named_is_not_in_all():
    assert "autoattack-ref" not in {planned.cell.attack.label for planned in build("at", "all")}
    assert build("at", "autoattack-ref", DIGITS[:1])


def test_draws_are_for_stochastic_defenses_alone():
    plan = build("at,atop", "fgsm", draws=7)

    assert {(planned.cell.defense.label, planned.cell.draws) for planned in plan} == {("at", 1), ("atop", 7)}


def test_seen_is_what_the_card_says_the_defense_was_trained_on():
    plan = build("standard,at", "fgsm")

    seen = {(planned.cell.defense.label, planned.cell.threat.family): planned.cell.seen for planned in plan}
    assert seen[("at", "Linf")]
    assert not seen[("at", "L2")]
    assert not seen[("standard", "Linf")]


def test_a_parameter_is_another_cell():
    keys = {planned.cell.key for planned in build("standard", "pgd-20,pgd-20[steps=21]", DIGITS[:1])}

    assert len(keys) == 2


def test_two_functions_of_one_file_are_two_defenses(tmp_path):
    """Same file, same weights: only the function tells them apart, and it must."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "def plain(): return nn.Sequential(nn.Flatten(), nn.Identity(), nn.AdaptiveAvgPool1d(10))\n"
        "def clipped(): return nn.Sequential(nn.Flatten(), nn.ReLU6(), nn.AdaptiveAvgPool1d(10))\n"
    )

    plan = build(f"{path}:plain,{path}:clipped", "fgsm", DIGITS[:1])

    assert [planned.cell.defense.label for planned in plan] == ["mine:plain", "mine:clipped"]
    assert len({planned.cell.key for planned in plan}) == 2
