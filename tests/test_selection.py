"""Names on the command line: what they resolve to, and what is said of a wrong one."""

import subprocess
import sys

import pytest

from bench import matrix, selection
from bench.catalogue import ATTACKS, DEFENSES
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.registry import AttackEntry, DefenseEntry, Registry
from bench.types import ThreatModel

DIGITS = (ThreatModel.parse("Linf:0.2"), ThreatModel.parse("L2:1"), ThreatModel.parse("stadv:0.4"))


def build(defenses="all", attacks="all", threats=DIGITS, n=20, **more):
    request = matrix.MatrixRequest(defenses, attacks, threats, **more)
    return matrix.build(request, digits("test").first(n))


def test_a_list_is_split_at_its_commas_but_not_inside_brackets():
    requests = selection.parse_list("at, pgd-20[steps=5,n_restarts=2],./my,dir.py:f", "attack", {"all": []})

    assert [request.label for request in requests[:2]] == ["at", "pgd-20[n_restarts=2,steps=5]"]


def test_all_means_everything_registered():
    labels = [request.label for request in selection.parse_list("all", "attack", {"all": ATTACKS.names()})]

    assert labels == ATTACKS.names()


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


def test_an_attack_without_a_fitting_threat_is_refused():
    with pytest.raises(BenchError, match="'stadv' needs a stadv threat"):
        build("standard", "stadv", DIGITS[:1])


@pytest.mark.parametrize("numbers", [{"draws": 0}, {"draws": 256}, {"batch": 0}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(BenchError, match="out of range"):
        build("standard", "fgsm", **numbers)


def test_missing_weights_name_the_command_that_makes_them(tmp_path):
    entry = DEFENSES.get("atop")

    with pytest.raises(BenchError, match="bench train atop --dataset elsewhere --set rt=1"):
        selection.locate(entry.weights[-1].format_map(entry.config), "elsewhere", tmp_path)


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
    assert skipped == {("at", "pgd-eot-20"), ("atop", "apgd-t"), ("atop", "fab-t"), ("atop", "square")}


def test_autoattack_is_planned_as_its_parts():
    plan = {planned.cell.defense.label: planned for planned in build("at,atop", "autoattack", DIGITS[:1])}

    parts = {label: [part.attack.label for part in planned.parts] for label, planned in plan.items()}
    assert parts == {"at": ["apgd-ce", "apgd-t", "fab-t", "square"], "atop": ["apgd-ce", "apgd-dlr"]}
    alone = build("at", "apgd-ce", DIGITS[:1])[0].cell
    assert plan["at"].parts[0].key == alone.key


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


def test_a_name_can_be_registered_only_once():
    registry: Registry[AttackEntry] = Registry("attack", "bench.no-such-group")
    registry.add(AttackEntry("x", "a:A", "", "", ("Linf",), 1))

    with pytest.raises(BenchError, match="registered twice: as a:A and as b:B"):
        registry.add(AttackEntry("x", "b:B", "", "", ("Linf",), 1))


def test_third_parties_register_through_entry_points(monkeypatch):
    class Point:
        name, value = "theirs", "pkg:entry"

        def load(self):
            return DefenseEntry("theirs", "pkg:load", "", "")

    monkeypatch.setattr("bench.registry.importlib.metadata.entry_points", lambda group: [Point()])

    assert Registry("defense", "bench.defenses").names() == ["theirs"]


def test_a_plug_in_that_does_not_load_is_named(monkeypatch):
    class Point:
        name, value = "theirs", "pkg:entry"

        def load(self):
            raise ImportError("no pkg")

    monkeypatch.setattr("bench.registry.importlib.metadata.entry_points", lambda group: [Point()])

    with pytest.raises(BenchError, match="plug-in 'theirs'"):
        Registry("defense", "bench.defenses").names()


@pytest.mark.parametrize("command", [["list"], ["--help"], ["show", "atop"], ["show", "pgd-20"], ["run", "--help"]])
def test_looking_around_imports_neither_torch_nor_pandas(command):
    code = f"""
import sys
from bench.cli import main
status = main({command!r})
heavy = {{"numpy", "torch", "torchvision", "pandas", "sklearn", "scipy", "robustbench"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy or status else 0)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


class TestGroups:
    """What the name of a group stands for."""

    def columns(self, attacks, threats="Linf:0.2,stadv:0.4", defenses="at"):
        request = matrix.MatrixRequest(defenses, attacks, tuple(map(ThreatModel.parse, threats.split(","))))
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


@pytest.mark.parametrize(
    ("threat", "eps", "shown"),
    [
        ("", "2/255,0.1", ["Linf:2/255", "Linf:0.1"]),
        ("L2", "0.5,1", ["L2:0.5", "L2:1"]),
        ("L2:7", "0.5", ["L2:0.5"]),
        ("Linf:0.1,L2:1", "", ["Linf:0.1", "L2:1"]),
        ("", "", ["Linf:0.2", "stadv:0.4"]),
    ],
)
def test_a_sweep_is_one_family_at_several_eps(threat, eps, shown):
    defaults = tuple(map(ThreatModel.parse, ("Linf:0.2", "stadv:0.4")))

    assert [str(each) for each in matrix.threats(threat, eps, defaults)] == shown


def test_a_sweep_of_two_families_is_a_mistake():
    with pytest.raises(BenchError, match="a list for one family"):
        matrix.threats("Linf,L2", "0.1", ())
