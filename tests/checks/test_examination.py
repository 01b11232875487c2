"""Checks within a run: which are run, what they keep from being computed, what is kept of them."""

from __future__ import annotations

import csv
import json
import textwrap
from pathlib import Path

import pytest

from bench.cli import main
from tests.checks.broken import BROKEN


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("broken.py").write_text(textwrap.dedent(BROKEN))


def bench(*words):
    return main([str(word) for word in words])


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
            from bench.oracle.answers import margin
            from bench.oracle.geometry import project
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
        assert [text.endswith("!") for text in row.split()[2:4]] == [False, True]

    def test_alone_it_is_no_number_at_all(self, capsys):
        self.run("./discarding.py:build")

        shown = " ".join(capsys.readouterr().out.split())
        assert "no leaderboard number: A05" in shown
        assert "no other attack was run; return the point that was misclassified" in shown


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
    monkeypatch.setattr("bench.checks.examination.examine", None)
    monkeypatch.setattr("bench.checks.after.replay.replay", None)

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
