"""The examples that ship with the package: printed, tested and run as docs/attacks.md says."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from bench import catalogue
from bench.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
SHIPPED = Path(catalogue.__file__).parent / "examples"
FAST = ["--threat", "Linf:0.2", "--n", "16", "--executor", "local", "--checks", "none"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def printed(capsys, kind):
    assert main(["example", kind]) == 0
    Path("mine.py").write_text(capsys.readouterr().out)


def commands():
    """Those of the section, in order."""
    section = PAGE.split("## An attack of your own")[1].split("\n###")[0]
    return re.findall(r"^    (bench .*)$", section, re.M)


def test_the_commands_of_the_documentation_lead_from_nothing_to_a_table(capsys):
    first, second, third = commands()
    assert first == "bench example attack > mine.py"
    printed(capsys, "attack")

    tested = main(shlex.split(second)[1:])
    told = capsys.readouterr().out
    ran = main([*shlex.split(third.replace(",autoattack", ",fgsm"))[1:], *FAST[2:]])
    table = capsys.readouterr().out

    assert tested == 0, told
    assert "0 broken" in told
    assert "FAIL" not in told
    assert ran == 0
    for column in ("mine:attack", "mine:attack[steps=20]", "fgsm"):
        assert column in table


def test_the_example_says_it_is_run_as_the_documentation_does():
    said = re.findall(r"^(bench .*)$", (SHIPPED / "attack.py").read_text(), re.M)

    assert said[:2] == commands()[:2]


def test_the_example_attack_is_as_strong_as_the_one_of_the_catalogue(capsys):
    """Momentum and the sign: as many fall as to PGD with as many steps, or nearly."""
    printed(capsys, "attack")

    assert (
        main(["run", "--defenses", "at", "--attacks", "./mine.py:attack[steps=20],pgd-20", *FAST, "--csv", "a.csv"])
        == 0
    )

    with Path("a.csv").open(newline="") as stream:
        accuracy = {
            row["attack"]: float(row["accuracy"]) for row in csv.DictReader(stream) if row["column"] == "attack"
        }
    assert accuracy["mine:attack[steps=20]"] <= accuracy["pgd-20"] + 1 / 16


def test_the_example_defense_is_the_one_of_the_documentation(capsys):
    printed(capsys, "defense")

    assert Path("mine.py").read_text() == (ROOT / "docs" / "examples" / "mine.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["./mine.py:build", "./mine.py:declared", "./mine.py"])
def test_the_example_defense_keeps_the_contracts(capsys, target):
    printed(capsys, "defense")

    assert main(["test-plugin", target]) == 0
    assert "0 broken" in capsys.readouterr().out


def test_an_example_there_is_none_of_is_a_mistake(capsys):
    assert main(["example", "purifier"]) == 2
    assert "unknown example 'purifier'" in capsys.readouterr().err


BROKEN = """
import torch

def attack(width: float = 2.0):
    def run(oracle, x, y, threat, *, stream):
        grad = oracle.gradient(x, y, torch.nn.CrossEntropyLoss(reduction="none"), torch.arange(len(x))).grad
        return (x + width * float(threat.eps) * grad.sign()).clamp(0, 1)
    run.families = ("Linf",)
    run.forwards = run.backwards = 1
    return run

def nonsense():
    def run(oracle, x, y, threat, *, stream): ...
    run.families = ("L7",)
    return run

class Net(torch.nn.Module):
    def forward(self, x):
        return (x - x.mean(0)).flatten(1) @ torch.eye(64, 10)

def build():
    return Net()

def neither():
    return 7
"""


class TestAPlugInThatIsBroken:
    @pytest.fixture(autouse=True)
    def _file(self):
        Path("mine.py").write_text(BROKEN)

    def test_each_breach_has_a_line_with_what_was_seen_and_a_remedy(self, capsys):
        status = main(["test-plugin", "./mine.py:attack"])

        told = capsys.readouterr().out
        assert status == 1
        assert re.search(r"^FAIL threat Linf .*V04: 3 of 3 examples leave Linf:0.4", told, re.M)
        assert "remedy: end with bench.oracle.geometry.project(x_adv, x, threat)" in told
        assert re.search(r"^PASS untouched", told, re.M)

    def test_parameters_reach_it(self, capsys):
        assert main(["test-plugin", "./mine.py:attack[width=1]", "--threat", "Linf:0.1"]) == 0
        assert "Linf:0.4 and Linf:0.1 of gray 8x8" in capsys.readouterr().out

    def test_as_json_it_is_the_same(self, capsys):
        status = main(["test-plugin", "./mine.py:attack", "--json"])

        told = json.loads(capsys.readouterr().out)
        rows = {(row["contract"], row["under"]): row for row in told["contracts"]}
        assert (status, told["kind"]) == (1, "attack")
        assert rows["threat", "Linf"]["verdict"] == "fail"
        assert rows["threat", "Linf"]["remedy"]
        assert rows["undefended", ""] == {
            "contract": "undefended",
            "says": "breaks an undefended network",
            "under": "",
            "verdict": "n/a",
            "seen": "one query is no search",
            "remedy": "",
        }

    def test_what_it_says_of_itself_is_a_contract_too(self, capsys):
        assert main(["test-plugin", "./mine.py:nonsense"]) == 1
        assert "families: 'L7' is none of Linf" in capsys.readouterr().out

    def test_a_defense_is_told_from_an_attack_by_what_it_is(self, capsys):
        assert main(["test-plugin", "./mine.py"]) == 1

        told = capsys.readouterr().out
        assert "./mine.py is a defense" in told
        assert re.search(r"^FAIL batches .*S04: logits of sample", told, re.M)

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("./mine.py:neither", "returned int: return a callable"),
            ("./mine.py:missing", "has no function 'missing'"),
            ("autoattack", "is the worst case of other attacks: test apgd-ce"),
            ("nosuch", "unknown attack or defense 'nosuch'"),
            ("./mine.py:attack,./mine.py:build", "names 2: give one"),
        ],
    )
    def test_a_mistake_is_one_line(self, capsys, target, said):
        assert main(["test-plugin", target]) == 2
        assert said in capsys.readouterr().err


def test_a_registered_name_is_tested_as_it_is(capsys):
    assert main(["test-plugin", "fgsm", "--threat", "L2"]) == 0
    assert "threat L2" in capsys.readouterr().out
