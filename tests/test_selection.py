"""Names on the command line: what they resolve to, and what is said of a wrong one."""

import json
import subprocess
import sys

import pytest
import torch

from bench import matrix, selection
from bench.catalogue import ATTACKS, DEFENSES
from bench.cell import Cell, Slice
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.executors.task import Task, compute
from bench.registry import AttackEntry, DefenseEntry, Registry
from bench.request import Request, parse_list
from bench.types import ThreatModel

DIGITS = (ThreatModel.parse("Linf:0.2"), ThreatModel.parse("L2:1"), ThreatModel.parse("stadv:0.4"))


def build(defenses="all", attacks="all", threats=DIGITS, n=20, **more):
    request = matrix.MatrixRequest(defenses, attacks, threats, **more)
    return matrix.build(request, digits("test").first(n))


def test_a_list_is_split_at_its_commas_but_not_inside_brackets():
    requests = parse_list("at, pgd-20[steps=5,n_restarts=2],./my,dir.py:f", "attack", {"all": []})

    assert [request.label for request in requests[:2]] == ["at", "pgd-20[n_restarts=2,steps=5]"]


def test_all_means_everything_registered():
    labels = [request.label for request in parse_list("all", "attack", {"all": ATTACKS.names()})]

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
        selection.locate(entry.weight_names(entry.config)[-1], "elsewhere", tmp_path)


def test_the_command_for_an_image_folder_asks_for_its_path(tmp_path):
    """`imagefolder-pets` is what results are filed under, not what can be typed."""
    with pytest.raises(BenchError, match="'bench train ap --dataset imagefolder:PATH'"):
        selection.locate("ap", "imagefolder-pets", tmp_path)


def test_all_stands_for_the_defenses_there_are_weights_of(tmp_path):
    """Nobody has trained every defense on every dataset; a folder of one's own counts."""
    shipped = [ref.label for ref in matrix.defenses("all", digits("test").first(4), None)]

    assert {"standard", "at", "at-l2", "at-stadv", "fgsm-rs", "trades", "ap", "atop"} <= set(shipped)
    assert not selection.is_trained("trades", "cifar10", None)
    assert selection.is_trained("at", "cifar10", None)


def test_a_purifier_before_another_classifier_has_seen_what_either_has():
    """AToP on Linf before AT on L2: both are seen, and both files are in the key."""
    composed, plain = (
        selection.defense(Request("atop", parameters), "digits", None) for parameters in ({"classifier": "at-l2"}, {})
    )

    assert set(map(str, composed.trained_on)) == {"L2:1", "Linf:0.2"}
    assert set(composed.checkpoints) == {"at-l2", "atop-rt1"}
    assert composed.digest != plain.digest


def test_the_fine_tuning_chooses_the_checkpoint():
    """`ft=off` is the purifier as pre-trained, under the transform that is asked for."""
    found = {
        ft: [*selection.defense(Request("atop", {"ft": ft, "rt": rt}), "digits", None).checkpoints]
        for ft, rt in (("on", "3"), ("off", "3"), ("clean", "1"), ("paper", "2"))
    }

    assert found == {
        "on": ["standard", "atop-rt3"],
        "off": ["standard", "ap"],
        "clean": ["standard", "atop-clean-rt1"],
        "paper": ["standard", "atop-paper-rt2"],
    }


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


class TestComposites:
    """Attacks that are the worst case of others, which may have parameters and differ by threat family."""

    @staticmethod
    def parts(name, kind="deterministic", family="Linf", fits=lambda entry: True):
        return selection.composite(Request(name, {}), kind, fits, family)

    @pytest.mark.parametrize(
        ("name", "kind", "family", "labels"),
        [
            ("autoattack-standard", "deterministic", "Linf", ["apgd-ce", "apgd-t", "fab-t", "square"]),
            (
                "autoattack-standard",
                "deterministic",
                "L1",
                ["apgd-ce[large_reps=true,n_restarts=5]", "apgd-t[large_reps=true,targets=5]", "fab-t", "square"],
            ),
            (
                "autoattack-plus",
                "deterministic",
                "L2",
                [
                    *("apgd-ce[n_restarts=5]", "apgd-dlr[n_restarts=5]", "fab[n_restarts=5]"),
                    *("square", "apgd-t", "fab-t"),
                ],
            ),
            ("autoattack-rand", "stochastic", "Linf", ["apgd-ce", "apgd-dlr"]),
            ("autoattack", "deterministic", "L2", ["apgd-ce", "apgd-t", "fab-t", "square"]),
            ("autoattack", "stochastic", "Linf", ["apgd-ce", "apgd-dlr", "square-eot"]),
        ],
    )
    def test_the_versions_of_autoattack_are_its_own(self, name, kind, family, labels):
        """attacks.md 3.1, against the pyautoattack package's `_set_version`."""
        whole, parts = self.parts(name, kind, family)

        assert [part.label for part in parts] == labels
        assert whole.forwards == sum(part.forwards for part in parts)
        assert whole.source == " + ".join(labels)

    @pytest.mark.parametrize(("version", "family"), [("standard", "L2"), ("standard", "L1"), ("plus", "Linf")])
    def test_the_versions_of_autoattack_are_those_of_its_package(self, version, family):
        """The same parts in the same order, with its restarts, targets and large reps."""
        import pyautoattack

        theirs = pyautoattack.AutoAttack(torch.nn.Identity(), norm=family, eps=1.0, version=version, seed=0)
        restarts = {"apgd-ce": theirs.apgd, "apgd-dlr": theirs.apgd, "fab": theirs.fab, "apgd-t": theirs.apgd_targeted}

        _, parts = self.parts(f"autoattack-{version}", family=family)

        named = {part.label.partition("[")[0]: part.config for part in parts}
        assert list(named) == theirs.attacks_to_run
        for name, config in named.items():
            if name in restarts:
                assert config.get("n_restarts", 1) == restarts[name].n_restarts
                assert config.get("large_reps", False) == getattr(restarts[name], "use_largereps", False)
        assert named["apgd-t"].get("targets", 9) == theirs.apgd_targeted.n_target_classes

    def test_a_part_with_parameters_is_the_attack_a_user_would_name(self):
        """The same cell: what was computed for one is found for the other."""
        _, parts = self.parts("autoattack-plus")
        (request,) = parse_list("apgd-ce[n_restarts=5]", "attack", {})

        _, alone = selection.attack(request)

        assert parts[0] == alone
        assert parts[0].config["n_restarts"] == 5

    def test_a_part_that_does_not_fit_is_left_out_but_not_all_of_them(self):
        _, parts = self.parts("autoattack", fits=lambda entry: entry.access == "score")

        assert [part.label for part in parts] == ["square"]
        with pytest.raises(BenchError, match="no part of autoattack is defined for Linf on a deterministic defense"):
            self.parts("autoattack", fits=lambda entry: False)

    @pytest.mark.parametrize("entry", [entry for entry in ATTACKS if entry.parts], ids=lambda entry: entry.name)
    def test_every_part_is_an_attack(self, entry):
        """With parameters it has, of the types it takes."""
        for names in entry.parts.values():
            for name in names:
                (request,) = parse_list(name, "attack", {})
                selection.attack(request)

    @pytest.mark.parametrize("name", ["autoattack", "autoattack-standard", "autoattack-plus"])
    def test_a_version_of_autoattack_is_whole_wherever_it_is_defined(self, name):
        """Less than all of its parts must not be called by its name."""
        entry = ATTACKS.get(name)
        for family in entry.families:
            whole, _ = self.parts(name, "deterministic", family)
            kept, _ = self.parts(name, "deterministic", family, lambda part, family=family: family in part.families)

            assert kept == whole


class TestCosts:
    """What a dry run says of an attack whose parameters are not the usual ones."""

    @staticmethod
    def cost(text):
        (request,) = parse_list(text, "attack", {})
        ref = selection.attack(request)[1]
        return ref.forwards, ref.backwards

    @pytest.mark.parametrize(
        ("text", "least", "most"),
        [
            ("pgd-20", (21, 21), (21, 21)),
            ("pgd-20[steps=20,step_size=0.1]", (21, 21), (21, 21)),
            ("pgd-20[steps=40]", (41, 41), (42, 42)),
            ("pgd-20[n_restarts=3]", (63, 63), (63, 63)),
            ("pgd-20[steps=40,n_restarts=3]", (123, 123), (126, 126)),
            ("pgd-20[steps=5]", (6, 6), (8, 8)),
            ("apgd-t[targets=3]", (304, 303), (304, 303)),
            ("apgd-t[steps=50]", (460, 459), (465, 465)),
            ("square[queries=500]", (501, 0), (503, 0)),
        ],
    )
    def test_passes_grow_with_steps_restarts_targets_and_queries(self, text, least, most):
        """Never below what the attack takes, which is `least`, and hardly above."""
        found = self.cost(text)

        assert least[0] <= found[0] <= most[0]
        assert least[1] <= found[1] <= most[1]

    def test_an_attack_may_know_its_cost_itself(self, monkeypatch):
        monkeypatch.setattr("bench.attacks.pgd.PGD.cost", lambda self: (7 * self.steps, 1), raising=False)

        assert self.cost("pgd-20[steps=3]") == (21, 1)


class TestTransferFromAnotherDefense:
    """`transfer[source=at]`: the other defense is part of what the attack is."""

    @staticmethod
    def ask(text, dataset="digits"):
        (request,) = parse_list(text, "attack", {})
        return selection.attack(request, dataset)[1]

    def test_the_reference_brings_the_other_defense_with_its_checkpoints(self):
        ref = self.ask("transfer[source=at]")

        assert ref.surrogate is not None
        assert ref.surrogate.label == "at"
        assert ref.surrogate.checkpoints
        assert (ref.config["source"], ref.needs) == ("at", "source")
        assert (
            len({ref.digest, self.ask("transfer[source=standard]").digest, self.ask("transfer[source=ap]").digest}) == 3
        )
        assert self.ask("transfer").surrogate == self.ask("transfer[source=standard]").surrogate

    def test_other_weights_of_the_source_are_another_attack(self, monkeypatch):
        before = self.ask("transfer[source=at]").digest
        monkeypatch.setattr("bench.fingerprint.of_file", lambda path: "other bytes")

        assert self.ask("transfer[source=at]").digest != before

    def test_a_stochastic_source_costs_its_draws(self):
        plain, random = self.ask("transfer[source=at]"), self.ask("transfer[source=atop]")

        assert (plain.forwards, plain.backwards, plain.eot) == (41, 41, 1)
        assert (random.forwards, random.backwards, random.eot) == (20 * 41, 20 * 41, 1)

    def test_a_mistake_is_one_line(self):
        with pytest.raises(BenchError, match="unknown defense 'atpo': did you mean"):
            self.ask("transfer[source=atpo]")
        with pytest.raises(BenchError, match="did you mean source"):
            self.ask("transfer[sorce=at]")
        with pytest.raises(BenchError, match="in a run only"):
            selection.attack(Request("transfer", {}))

    def test_a_cell_survives_the_store(self):
        """Source and digest are written down and read back; cells of other attacks are as they were."""
        examples = digits("test").first(4)
        part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
        target = selection.defense(Request("standard", {}), "digits", None)
        for text in ("transfer[source=at]", "pgd-20"):
            cell = Cell(target, self.ask(text), DIGITS[0], part, 0, 1, 64)

            again = Cell.from_json(json.loads(json.dumps(cell.to_json())))

            assert again.key == cell.key
            assert (again.attack.surrogate is None) == (text == "pgd-20")
            assert again.to_json() == cell.to_json()

    @pytest.mark.parametrize(("source", "broken"), [("at", False), ("standard", True)])
    def test_a_run_attacks_the_source_and_judges_the_target(self, source, broken):
        """Standard falls to itself; what fools AT at this size fools the standard network less often."""
        examples = digits("test").first(32)
        part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
        target = selection.defense(Request("standard", {}), "digits", None)
        cell = Cell(target, self.ask(f"transfer[source={source}]"), DIGITS[0], part, 0, 1, 64)

        report = compute(Task(cell, 0, examples), "cpu", lambda passed: None)

        assert report.error == ""
        left = int(report.done.verdicts.adversarial.sum())
        clean = int(report.done.verdicts.clean.sum())
        assert left < clean
        assert (left == 0) is broken
        assert (report.done.cost.forwards, report.done.cost.backwards) == (41 * clean, 40 * clean)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, r"is no folder: name one that holds digits/at.safetensors"),
        (lambda folder: folder.write_text(""), r"is no folder"),
        (lambda folder: (folder / "digits" / "at.safetensors").mkdir(parents=True), r"at.safetensors' is no file"),
    ],
    ids=["nowhere", "a file", "a directory for a file"],
)
def test_weights_that_were_named_and_are_not_there_are_no_reason_to_take_others(make, said, tmp_path):
    """`--weights` that leads nowhere scored the shipped weights, as if they were the user's."""
    folder = tmp_path / "weights"
    make(folder)

    with pytest.raises(BenchError, match=said):
        build("at", "fgsm", weights=folder)


def test_a_defense_that_falls_back_on_shipped_weights_says_so(tmp_path):
    """A folder may hold some of the checkpoints; whose the others are is a note beside the number."""
    (tmp_path / "digits").mkdir()

    (planned,) = build("at", "fgsm", DIGITS[:1], weights=tmp_path)

    assert planned.cell.defense.notes == (f"at is taken from the shipped weights: there is none in {tmp_path}",)
    assert build("at", "fgsm", DIGITS[:1])[0].cell.defense.notes == ()
