"""Names on the command line: what they resolve to, and what is said of a wrong one."""

import pytest

from bench.catalogue import resolve, selection
from bench.catalogue.request import parse_list
from bench.catalogue.selection import Selection
from bench.catalogue.weights import shipped
from bench.datasets.digits import digits
from bench.datasets.threats import HEADLINE, threat
from bench.errors import BenchError
from bench.harness import matrix
from bench.threats import CORRUPTION, FAMILIES, ThreatModel

DIGITS = (ThreatModel.parse("Linf:0.2"), ThreatModel.parse("L2:1"), ThreatModel.parse("stadv:0.4"))


def build(defenses="all", attacks="all", threats=DIGITS, n=20, **more):
    request = Selection.of(defenses, attacks, threats)
    return matrix.build(request, digits("test").first(n), **more)


@pytest.mark.parametrize(
    ("defenses", "attacks", "says"),
    [
        ("atpo", "all", "did you mean"),
        ("at", "pgd20", "did you mean pgd-20"),
        ("at", "pgd-20[stpes=5]", "did you mean steps"),
        ("at", "pgd-20[steps=five]", "not a whole number"),
        ("at", "pgd-20[steps]", "not key=value"),
        ("at", "pgd-20[steps=5", "is not a name"),
        ("at,at", "fgsm", "named twice"),
        ("atop[rt=9]", "fgsm", "must be one of none, 1, 2, 3"),
        ("at[rt=1]", "fgsm", "unknown parameter"),
        ("", "fgsm", "is not a name"),
        ("./nowhere.py:build", "fgsm", "no file"),
    ],
)
def test_a_wrong_name_is_named_with_its_remedy(defenses, attacks, says):
    with pytest.raises(BenchError) as error:
        build(defenses, attacks)

    assert says in str(error.value)


def test_all_stands_for_the_defenses_there_are_weights_of(tmp_path):
    """Nobody has trained every defense on every dataset; a folder of one's own counts."""
    there = [ref.label for ref in selection.defenses("all", digits("test").first(4), None)]

    assert {"standard", "at", "at-l2", "at-stadv", "fgsm-rs", "trades", "ap", "atop"} <= set(there)
    assert resolve.is_trained("at", "cifar10", None)
    assert not resolve.is_trained("at", "cifar10-of-nobody", None)
    (tmp_path / "cifar10-of-nobody").mkdir()
    for suffix in ("json", "safetensors"):
        (tmp_path / "cifar10-of-nobody" / f"at.{suffix}").write_bytes(
            (shipped() / "cifar10" / f"at.{suffix}").read_bytes()
        )
    assert resolve.is_trained("at", "cifar10-of-nobody", tmp_path)


class TestGroups:
    """What the name of a group stands for."""

    def columns(self, attacks, threats="Linf:0.2,stadv:0.4", defenses="at"):
        request = Selection.of(defenses, attacks, tuple(map(ThreatModel.parse, threats.split(","))))
        return matrix.build(request, digits("test").first(4))

    def test_lp_and_non_lp_share_everything_between_them(self):
        lp, non_lp = ({each.cell.attack.label for each in self.columns(group)} for group in ("lp", "non-lp"))

        assert lp & non_lp == set()
        assert lp | non_lp == {each.cell.attack.label for each in self.columns("all")}
        assert "stadv" in non_lp

    def test_score_asks_for_no_gradient(self):
        found = self.columns("score")

        assert found
        assert {each.cell.attack.access for each in found} == {"score"}

    @pytest.mark.parametrize(
        ("group", "expected"),
        [
            ("seen", {("at", "Linf")}),
            ("unseen", {("standard", "Linf"), ("standard", "stadv"), ("at", "stadv")}),
        ],
    )
    def test_seen_and_unseen_are_judged_per_defense(self, group, expected):
        """AT has seen Linf; the standard network has seen nothing."""
        cells = [each.cell for each in self.columns(group, defenses="standard,at") if each.skip is None]

        assert {(cell.defense.label, cell.threat.family) for cell in cells} == expected

    def test_groups_that_share_members_and_further_names_go_together(self):
        labels = [each.cell.attack.label for each in self.columns("lp,score,pgd-20[steps=3]", threats="Linf:0.2")]

        assert len(labels) == len(set(labels))
        assert {"square", "pgd-20", "pgd-20[steps=3]"} <= set(labels)


def threats(text, eps="", attacks="default", dataset="digits"):
    found = selection.threats(
        text, eps, parse_list(attacks, "attack"), HEADLINE, lambda family: threat(family, dataset)
    )
    return [str(each) for each in found]


@pytest.mark.parametrize(
    ("text", "eps", "shown"),
    [
        ("", "2/255,0.1", ["Linf:2/255", "Linf:0.1"]),
        ("L2", "0.5,1", ["L2:0.5", "L2:1"]),
        ("L2:7", "0.5", ["L2:0.5"]),
        ("jpeg-linf", "0.5,1", ["jpeg-linf:0.5", "jpeg-linf:1"]),
        ("Linf:0.1,L2:1", "", ["Linf:0.1", "L2:1"]),
        ("linf, L2:3", "", ["Linf:0.2", "L2:3"]),
        ("", "", ["Linf:0.2", "L2:1", "stadv:0.4"]),
    ],
)
def test_a_family_is_taken_at_its_usual_size_or_at_those_given(text, eps, shown):
    assert threats(text, eps) == shown


def test_a_sweep_of_two_families_is_a_mistake():
    with pytest.raises(BenchError, match="a list for one family"):
        threats("Linf,L2", "0.1")


def test_a_family_nobody_knows_is_named_with_its_neighbor():
    with pytest.raises(BenchError, match=r"'recolour'.*did you mean recolor"):
        threats("recolour")


def test_all_attacks_bring_every_family_at_its_usual_size():
    found = threats("", attacks="all", dataset="cifar10")

    assert [each.partition(":")[0] for each in found] == [
        *HEADLINE,
        *(name for name in FAMILIES if name not in (*HEADLINE, CORRUPTION)),
    ]
    assert found[:3] == ["Linf:8/255", "L2:0.5", "stadv:0.8"]
    assert f"recolor:{FAMILIES['recolor'].eps[1]}" in found


def test_a_named_attack_brings_its_family_only_where_no_other_fits():
    assert threats("", attacks="pgd-20") == ["Linf:0.2", "L2:1", "stadv:0.4"]
    assert threats("", attacks="pgd-20,elastic")[3:] == [f"elastic:{FAMILIES['elastic'].eps[0]}"]
