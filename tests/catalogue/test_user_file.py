"""A file of the user's: its parameters, its place, and what is said of a wrong one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.catalogue.loading import load_attack, load_defense
from bench.catalogue.selection import Selection
from bench.cli import main
from bench.harness.matrix import build
from tests.catalogue.mine import DIGITS, FAST, LINF, MODEL, SOURCES, examples, forget


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    forget()


def test_parameters_of_a_file_reach_its_function_and_the_key(here):
    """Three noises are three defenses; text takes the type that the function has for it."""
    Path("mine.py").write_text(
        MODEL + "\ndef build(shift: int = 1, *, sign=1.0):\n    return Model(shift * int(sign))\n"
    )
    request = Selection.of("./mine.py,./mine.py:build[shift=2],./mine.py:build[shift=2,sign=-1]", "fgsm", (LINF,))

    plan = build(request, examples())
    models = [load_defense(each.cell.defense, DIGITS).model for each in plan]

    assert [each.cell.defense.label for each in plan] == ["mine", "mine[shift=2]", "mine[shift=2,sign=-1]"]
    assert [model.shift for model in models] == [1, 2, -2]
    assert len({each.cell.key for each in plan}) == 3


def test_parameters_of_an_attack_from_a_file_reach_it(here):
    """A sweep over a user's attack is a sweep."""
    Path("weak.py").write_text(
        "def build(strength=1.0):\n"
        "    def attack(oracle, x, y, threat, *, stream):\n"
        "        return (x + strength * float(threat.eps)).clamp(0, 1)\n"
        "    attack.strength = strength\n"
        "    return attack\n"
    )
    request = Selection.of("at", "./weak.py,./weak.py:build[strength=0.5]", (LINF,))

    plan = build(request, examples())

    assert [each.cell.attack.label for each in plan] == ["weak", "weak[strength=0.5]"]
    assert [load_attack(each.cell.attack).strength for each in plan] == [1.0, 0.5]
    assert len({each.cell.key for each in plan}) == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("./mine.py:build[nosuch=5]", "unknown parameter of ./mine.py:build 'nosuch'"),
        ("./mine.py:build[sihft=5]", "did you mean shift"),
        ("./mine.py:build[shift=much]", "'much' is not a whole number"),
        ("./mine.py:needs", "needs size: write ./mine.py:needs[size=VALUE]"),
        ("./mine.py:fails[shift=2]", "it was called shift=2"),
    ],
)
def test_a_wrong_parameter_is_one_line_and_nothing_is_written(asked, said, here, capsys):
    """Unknown, mistyped, of another type, missing, or refused by the function itself."""
    Path("mine.py").write_text(
        MODEL + "\ndef build(shift=1):\n    return Model(shift)\n"
        "\ndef needs(size):\n    return Model(size)\n\ndef fails(shift=1):\n    raise ValueError('never')\n"
    )

    assert main(["run", "--defenses", asked, *FAST]) == 2

    assert said in capsys.readouterr().err
    assert not Path("bench-results").exists()


def test_a_file_of_the_users_stands_in_nobodys_way(here, capsys):
    """`socket.py` beside the models is not what workers import as socket; a neighbor is still found."""
    Path("socket.py").write_text("raise RuntimeError('imported in place of the standard library')\n")
    Path("neighbor.py").write_text("SHIFT = 2\n")
    Path("mine.py").write_text(SOURCES["an imported neighbor"])
    fast = [word for word in FAST if word not in ("--executor", "local")]

    assert main(["run", "--defenses", "./mine.py", *fast, "--executor", "processes", "--jobs", "2"]) == 0

    assert "FAIL" not in capsys.readouterr().out
