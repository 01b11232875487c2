"""Checks within a run: which are run, what they keep from being computed, what is kept of them."""

from __future__ import annotations

import csv
import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bench import probes, replay, versions
from bench.checks.group import BLACK_BOX
from bench.cli import main
from bench.datasets.digits import digits
from bench.executors.task import Task, compute, passes
from bench.matrix import MatrixRequest, build
from bench.outcome import Done, Verdicts
from bench.types import ThreatModel

LINF = ThreatModel.parse("Linf:0.2")

# Logits of the shipped network for images in [0, 255], as probabilities, and with a memory.
BROKEN = """
    import torch
    from torch import nn
    from bench.executors.task import load_defense
    from bench.request import Request
    from bench.selection import defense
    from bench.types import ImageSpec

    class Around(nn.Module):
        def __init__(self, change):
            super().__init__()
            self.inner = load_defense(defense(Request("at", {}), "digits", None), ImageSpec((1, 8, 8), 10)).model
            self.change, self.calls = change, 0

        def forward(self, x):
            self.calls += 1
            return self.change(self.inner, x, self.calls)

    def bytes_wanted():
        return Around(lambda inner, x, calls: inner(x / 255))

    def probabilities():
        return Around(lambda inner, x, calls: inner(x).softmax(1))

    def tired():
        return Around(lambda inner, x, calls: inner(x) if calls < 1000 else inner(x).roll(1, 1))
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("broken.py").write_text(textwrap.dedent(BROKEN))


def bench(*words):
    return main([str(word) for word in words])


def planned(defenses="atop", attacks="fgsm,pgd-20,pgd-eot-20", threats=(LINF,), n=64):
    examples = digits("test").first(n)
    return build(MatrixRequest(defenses, attacks, tuple(threats)), examples), examples


class TestProbes:
    def test_all_of_them_when_cost_is_no_object(self):
        """Each role once, on few images; what the table shows anyway is not run again."""
        plan, examples = planned()

        found = {probe.role: probe.cell for probe in probes.plan(plan, examples, share=None)}

        assert sorted(found) == sorted(
            [
                "black box",
                "noise",
                "large eps",
                "base",
                "blind",
                "bpda",
                "frozen",
                "double eot",
                "double steps",
                "half eps",
                "double eps",
            ]
        )
        assert {cell.slice.n for role, cell in found.items() if role != "base"} == {probes.STOCHASTIC_IMAGES}
        assert found["base"].slice.n == 64
        assert str(found["half eps"].threat) == "Linf:0.1"
        assert str(found["large eps"].threat) == "Linf:0.5"
        assert (found["frozen"].defense.variant, found["frozen"].draws) == ("frozen", 1)

    def test_what_the_table_lacks_is_run_beside_it(self):
        plan, examples = planned(attacks="fgsm")

        assert "same eps" in {probe.role for probe in probes.plan(plan, examples, share=None)}

    @pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
    def test_they_keep_to_their_share_of_the_passes(self, share):
        plan, examples = planned("at,atop")

        found = probes.plan(plan, examples, share=share)

        spent = sum(passes(probe.cell, probe.cell.slice.n) for probe in found)
        allowed = share * sum(passes(each.cell, each.cell.slice.n) for each in plan if each.skip is None)
        assert spent <= allowed
        assert found or share < 0.1

    def test_the_black_box_is_searched_as_long_as_can_be_paid_for(self):
        """Half of what the probes may take at most; the shortest where even that is much, and none at all below."""

        def queries(attacks, share):
            plan, examples = planned("at", attacks)
            found = [probe.cell.attack for probe in probes.plan(plan, examples, share=share) if probe.role == BLACK_BOX]
            return [attack.config["queries"] for attack in found]

        assert queries("apgd-ce,fab-t", None) == [1000]
        assert queries("apgd-ce,fab-t", 0.1) == [300]
        assert queries("fgsm", 0.1) == []

    @pytest.mark.parametrize(("defense", "attack"), [("at", "square"), ("at", "autoattack"), ("atop", "autoattack")])
    def test_a_table_with_a_black_box_needs_no_probe_of_it(self, defense, attack):
        """AutoAttack holds one on either kind of defense."""
        plan, examples = planned(defense, attack)

        assert BLACK_BOX not in {probe.role for probe in probes.plan(plan, examples, share=None)}

    def test_there_are_none_for_threats_without_a_norm_and_for_blocked_cells(self):
        from dataclasses import replace

        moved, examples = planned(attacks="stadv", threats=[ThreatModel.parse("stadv:0.4")])
        plan, _ = planned()

        assert probes.plan(moved, examples, share=None) == []
        assert probes.plan([replace(each, blocked=True) for each in plan], examples, share=None) == []


@pytest.fixture(scope="module")
def attacked():
    """A cell of the shipped AT network on 16 digits, with the images it was judged on."""
    examples = digits("test").first(16)
    (plan,) = build(MatrixRequest("at", "pgd-20[steps=5]", (LINF,)), examples)
    report = compute(Task(plan.cell, 0, examples), "cpu", lambda n: None)
    return plan.cell, examples, report


class TestReplay:
    def test_a_fresh_process_says_the_same_and_notices_other_images(self, attacked):
        """The stored bytes give the verdicts again; the clean images in their place do not."""
        cell, examples, report = attacked
        honest = replay.Stored(cell, examples, report.x_adv, report.done)
        swapped = replay.Stored(cell, examples, examples.x, report.done)

        changed = replay.replay([honest, swapped], "cpu")

        assert changed[0] == 0
        assert changed[1] == int((report.done.verdicts.clean != report.done.verdicts.adversarial).sum()) > 0

    def test_images_outside_the_threat_model_are_not_reproducible(self, attacked):
        cell, examples, report = attacked
        far = np.clip(report.x_adv + 0.5, 0, 1).astype(np.float32)

        assert replay.replay([replay.Stored(cell, examples, far, report.done)], "cpu") == [16]

    def test_draws_may_differ_by_chance_and_no_more(self, attacked):
        """Sixteen images with half of ten draws right: 80 in all, give or take twenty."""
        from dataclasses import replace

        cell, examples, report = attacked
        moving = replace(cell, defense=replace(cell.defense, stochastic=True), draws=10)
        fives = np.full(16, 5, dtype=np.uint8)
        stored = replay.Stored(
            moving, examples, report.x_adv, Done(Verdicts(10, np.full(16, 10, dtype=np.uint8), fives))
        )

        near = replay._changed(stored, [6] * 8 + [5] * 8)
        far = replay._changed(stored, [9] * 16)

        assert (near, far) == (0, 16)

    def test_a_finding_counts_what_changed(self):
        assert replay.finding([0, 0], 32).verdict == "pass"
        assert replay.finding([0, 2], 32).verdict == "block"


def test_a_blocked_defense_is_not_computed_and_has_no_number(tmp_path, capsys):
    """It stands as BLOCK with its reason; the others are computed; the status says that cells are missing."""
    command = [
        "run",
        "--defenses",
        "at,./broken.py:bytes_wanted",
        "--attacks",
        "fgsm",
        "--threat",
        "Linf:0.2",
        "--n",
        24,
    ]

    status = bench(*command, "--executor", "local", "--csv", "board.csv")
    out, err = capsys.readouterr()

    assert status == 3
    assert "BLOCK broken:bytes_wanted: S14" in err
    assert "! broken:bytes_wanted: no leaderboard number: S14" in out
    assert not list((tmp_path / "bench-results").rglob("broken*/fgsm*"))
    lines = [line for line in Path("board.csv").read_text().splitlines() if "broken" in line]
    assert all(",blocked," in line and "S14" in line for line in lines)
    assert bench("leaderboard") == 0
    assert "BLOCK" in capsys.readouterr().out


def test_what_blocked_is_asked_again(capsys):
    """The error may have been the machine's: once it is gone, the same command computes the cells."""
    Path("flaky.py").write_text(
        "import torch\nfrom pathlib import Path\n"
        "class Flaky(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        if len(x) > 8 and not Path('mended').exists():\n"
        "            raise RuntimeError('out of luck')\n"
        "        return x.flatten(1)[:, 20:30]\n"
        "def build():\n    return Flaky()\n"
    )
    command = ["run", "--defenses", "./flaky.py:build", "--attacks", "fgsm", "--threat", "Linf:0.2", "--n", 24]

    assert bench(*command, "--executor", "local") == 3
    assert "RuntimeError: out of luck" in capsys.readouterr().err
    Path("mended").touch()
    assert bench(*command, "--executor", "local") == 0


def test_despite_a_block_the_cells_are_computed_but_not_ranked(capsys):
    command = [
        "run",
        "--defenses",
        "at,./broken.py:bytes_wanted",
        "--attacks",
        "fgsm",
        "--threat",
        "Linf:0.2",
        "--n",
        24,
    ]

    status = bench(*command, "--executor", "local", "--despite", "s14")
    shown = capsys.readouterr().out
    bench("leaderboard")

    assert status == 0
    assert "BLOCK" not in shown.split("Accuracies in")[0]
    assert "BLOCK  deterministic   broken:bytes_wanted" in capsys.readouterr().out


def test_a_flagged_number_carries_a_mark(capsys):
    status = bench(
        *["run", "--defenses", "./broken.py:probabilities", "--attacks", "fgsm", "--threat", "Linf:0.2"],
        *["--n", 24, "--executor", "local"],
    )
    out, err = capsys.readouterr()

    assert status == 0
    assert "FLAG  broken:probabilities: S12" in err
    assert "! broken:probabilities: S12: outputs are probabilities" in out
    assert "!" in next(line for line in out.splitlines() if line.startswith("broken:prob"))


# Gradient ascent that sees adversarial points, and returns images that are nearly the ones it was given.
DISCARDING = """
    def build():
        def attack(oracle, x, y, threat, *, stream):
            from bench.answers import margin
            from bench.geometry import project
            import torch
            rows, at = torch.arange(len(x)), x
            for _ in range(10):
                at = project(at + 0.05 * oracle.gradient(at, y, margin, rows).grad.sign(), x, threat)
            oracle.gradient(at, y, margin, rows)
            return project(x + 1e-3, x, threat)
        return attack
"""


class TestAnAttackThatDiscardsItsSuccesses:
    """Its column bears the mark and the remedy; the defense keeps the number that the other attacks gave it."""

    @pytest.fixture(autouse=True)
    def _attack(self):
        Path("discarding.py").write_text(textwrap.dedent(DISCARDING))

    def run(self, attacks):
        command = ["run", "--defenses", "at,standard", "--attacks", attacks, "--threat", "Linf:0.2", "--n", 24]
        return bench(*command, "--executor", "local", "--csv", "board.csv")

    def lines(self):
        with Path("board.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    def test_the_number_of_the_defense_stands_on_the_others(self, capsys):
        status = self.run("pgd-20[steps=5],./discarding.py:build")

        shown = capsys.readouterr().out
        bench("leaderboard", "--json")
        ranks = json.loads(capsys.readouterr().out)
        alone = {
            line["defense"]: line
            for line in self.lines()
            if line["column"] == "attack" and line["attack"] != "discarding"
        }
        worst = {line["defense"]: line for line in self.lines() if line["column"] == "worst-all"}
        assert status == 0
        assert "silent successes in discarding: its column is no evidence; return the point" in " ".join(shown.split())
        assert "no leaderboard number" not in shown
        assert {place["defense"]: place["rank"] for place in ranks} == {"at": 1, "standard": 2}
        assert {name: line["accuracy"] for name, line in worst.items()} == {
            name: line["accuracy"] for name, line in alone.items()
        }

    def test_the_mark_is_on_its_column_and_on_the_worst_case(self, capsys):
        self.run("pgd-20[steps=5],./discarding.py:build")

        checks = {(line["column"], line["attack"]): line["checks"].split() for line in self.lines()}
        (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("at "))
        assert "A05" in checks["attack", "discarding"]
        assert "A05" not in checks["attack", "pgd-20[steps=5]"]
        assert "A05" in checks["worst-all", ""]
        assert [text.endswith("!") for text in row.split()[3:5]] == [False, True]

    def test_alone_it_is_no_number_at_all(self, capsys):
        self.run("./discarding.py:build")

        shown = " ".join(capsys.readouterr().out.split())
        assert "no leaderboard number: A05" in shown
        assert "no other attack was run; return the point that was misclassified" in shown


def test_a_defense_that_changes_in_use_is_found_by_the_replay(capsys):
    """It is honest for a thousand calls, which no examination before the attack lasts."""
    command = ["run", "--defenses", "./broken.py:tired", "--attacks", "square[queries=1200]", "--threat", "Linf:0.2"]

    bench(*command, "--n", 8, "--executor", "local")

    assert "A13" in capsys.readouterr().out


def test_a_replay_is_remembered_where_the_images_are_gone(capsys, monkeypatch):
    """As of results that are published without them: other checks look again, and this one cannot."""
    command = ["run", "--defenses", "./broken.py:tired", "--attacks", "pgd-20", "--n", 32, "--threat", "Linf:0.2"]
    bench(*command, "--executor", "local")
    before = _replays()
    assert before
    for path in Path("bench-results").rglob("*.safetensors"):
        path.unlink()
    monkeypatch.setattr(versions, "of_checks", lambda: "other checks")

    bench(*command, "--executor", "local")

    assert _replays() == before


def _replays():
    documents = [json.loads(path.read_text()) for path in Path("bench-results/digits").rglob("checks.*.json")]
    return [found for document in documents for found in document["findings"] if found["id"] == "A13"]


def test_findings_are_kept_and_not_made_twice(tmp_path, capsys, monkeypatch):
    """All rows of both kinds lie beside the verdicts; a second run examines nothing."""
    command = [
        "run",
        "--defenses",
        "at",
        "--attacks",
        "fgsm,pgd-20",
        "--threat",
        "Linf:0.2",
        "--n",
        24,
        "--executor",
        "local",
    ]
    bench(*command)
    monkeypatch.setattr("bench.soundness.examine", None)
    monkeypatch.setattr("bench.replay.replay", None)

    assert bench(*command) == 0

    capsys.readouterr()
    assert bench("table", "--checks") == 0
    printed = capsys.readouterr().out
    (before,) = (tmp_path / "bench-results" / "digits" / "preflight").glob("at.*.json")
    (after,) = (tmp_path / "bench-results" / "digits" / "Linf-0.2" / "at").glob("checks.*.json")
    ids = [row["id"] for path in (before, after) for row in json.loads(path.read_text())["findings"]]
    assert ids == [*(f"S{i:02d}" for i in range(1, 18)), *(f"A{i:02d}" for i in range(1, 15))]
    assert [line.split()[0] for line in printed.splitlines() if line[:1] in "SA" and line[1:3].isdigit()] == ids


@pytest.mark.parametrize(
    ("defense", "status", "starts"), [("at", 0, "passed: S01"), ("./broken.py:probabilities", 1, "S12: ")]
)
def test_check_prints_a_line_per_finding(capsys, defense, status, starts):
    assert bench("check", defense) == status

    assert capsys.readouterr().out.startswith(starts)


def test_check_gives_all_rows_as_json(capsys):
    assert bench("check", "./broken.py:probabilities", "--json") == 1

    rows = json.loads(capsys.readouterr().out)["findings"]
    assert [row["id"] for row in rows] == [f"S{i:02d}" for i in range(1, 18)]
    assert {row["verdict"] for row in rows if row["id"] == "S12"} == {"flag"}
