"""A stored verdict stands for the bytes and the answers that it is of."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.catalogue.loading import load_defense
from bench.catalogue.refs import DefenseRef
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.catalogue.selection import Selection
from bench.cli import main
from bench.errors import BenchError
from bench.harness.matrix import build
from bench.harness.recognition import recognized
from bench.results.store import Store
from tests.catalogue.mine import DIGITS, FAST, LINF, MODEL, SOURCES, examples, forget


def change(shift, monkeypatch):
    Path("setting.json").write_text(str(shift))
    monkeypatch.setenv("SHIFT", str(shift))
    Path("neighbor.py").write_text(f"SHIFT = {shift}\n")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    forget()


@pytest.mark.parametrize("what", SOURCES)
def test_what_a_file_depends_on_makes_another_cell_and_the_old_one_again(what, here, monkeypatch, capsys):
    """The same command, the same file, other answers: computed anew; put back, the first verdicts stand."""
    Path("mine.py").write_text(SOURCES[what])

    def run(shift):
        forget()
        change(shift, monkeypatch)
        assert main(["run", "--defenses", "./mine.py", *FAST]) == 0
        told = capsys.readouterr()
        return "0 to run" in told.err + told.out, "other answers than before" in told.err

    first, other, back, again = run(1), run(3), run(1), run(3)

    assert first == (False, False)
    assert other[0] is False
    assert other[1] is (what != "an imported neighbor")  # whose bytes are part of the digest
    assert back == again == (True, False)


def test_what_else_a_command_names_changes_no_key(here):
    """The neighbor of another file in the folder is nobody's but that file's."""
    Path("neighbor.py").write_text("SHIFT = 2\n")
    Path("mine.py").write_text(SOURCES["an imported neighbor"])
    Path("other.py").write_text(MODEL + "\ndef build():\n    return Model(5)\n")

    alone = build(Selection.of("./other.py", "fgsm", (LINF,)), examples())
    forget()
    both = build(Selection.of("./mine.py,./other.py", "fgsm", (LINF,)), examples())

    assert both[1].cell.key == alone[0].cell.key


def test_a_worker_refuses_what_the_key_does_not_name(here):
    """A file that was overwritten while a run was under way, and a checkpoint likewise."""
    Path("mine.py").write_text(SOURCES["a file that it reads"])
    Path("setting.json").write_text("1")
    (planned,) = build(Selection.of("./mine.py", "fgsm", (LINF,)), examples())
    ref = planned.cell.defense
    Path("setting.json").write_text("4")

    with pytest.raises(BenchError, match="mine was changed while the run was under way"):
        load_defense(ref, DIGITS)


def test_a_worker_refuses_weights_that_were_replaced(here):
    """The key names their bytes."""
    ref = defense(Request("at", {}), "digits", None)
    copied = Path("at.safetensors")
    copied.write_bytes(Path(ref.checkpoints["at"]).read_bytes())
    copied.with_suffix(".json").write_bytes(Path(ref.checkpoints["at"]).with_suffix(".json").read_bytes())
    mine = replace(ref, checkpoints={"at": str(copied)}, digest="mine")
    assert load_defense(mine, DIGITS).model

    other = defense(Request("standard", {}), "digits", None)
    copied.write_bytes(Path(other.checkpoints["standard"]).read_bytes())

    with pytest.raises(BenchError, match=r"at\.safetensors was changed while the run was under way"):
        load_defense(replace(mine, digest="mine again"), DIGITS)


def test_the_same_answers_up_to_rounding_keep_their_key(here, tmp_path):
    """Another processor's last bits are no other model; without a store the answers stand for themselves."""
    Path("mine.py").write_text(MODEL + "\ndef build():\n    return Model(1)\n")
    plan = build(Selection.of("./mine.py", "fgsm", (LINF,)), examples())
    store = Store(tmp_path / "r")
    first = recognized(plan, store)
    first.remember(store)

    ref = plan[0].cell.defense
    told = json.loads(ref.answers)
    told["model"]["logits"] = (torch.tensor(told["model"]["logits"]) * (1 + 1e-6)).tolist()
    nearly = json.dumps(told)
    assert nearly != ref.answers
    moved = [replace(each, cell=replace(each.cell, defense=replace(ref, answers=nearly))) for each in plan]
    again = recognized(moved, store)

    assert first.plan[0].cell.key == again.plan[0].cell.key
    assert first.met
    assert not again.met
    assert isinstance(first.plan[0].cell.defense, DefenseRef)


def test_two_machines_whose_answers_differ_in_the_last_bits_fill_one_table(here, monkeypatch, capsys):
    """Copied together, their folders hold one defense: its numbers stand in one row, under the keys they have."""
    from bench.catalogue import behaviour

    monkeypatch.setenv("COLUMNS", "200")
    Path("mine.py").write_text(MODEL + "\ndef build():\n    return Model(1)\n")
    asked = behaviour.of_defense

    def elsewhere(*args):
        told = json.loads(asked(*args))
        told["model"]["logits"] = (torch.tensor(told["model"]["logits"]) * (1 + 1e-6)).tolist()
        return json.dumps(told, sort_keys=True)

    command = ["run", "--defenses", "./mine.py", *FAST[2:], "--results"]
    assert main([*command, "one", "--attacks", "fgsm"]) == 0
    forget()
    monkeypatch.setattr(behaviour, "of_defense", elsewhere)
    assert main([*command, "two", "--attacks", "pgd-20[steps=3]"]) == 0
    alone = {each.cell.attack.label: each.cell.key for name in ("one", "two") for each in Store(Path(name)).results()}
    shutil.copytree("two", "one", dirs_exist_ok=True)
    capsys.readouterr()

    assert main(["table", "--results", "one"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mine")]
    assert "..." not in row
    results = Store(Path("one")).results()
    assert {each.cell.attack.label: each.cell.key for each in results} == alone
    assert len({each.cell.defense.digest for each in results}) == 1


def test_two_models_under_one_name_are_not_taken_for_one(here, monkeypatch, capsys):
    """The answers differ by more than rounding: the table refuses, as for weights that changed."""
    Path("mine.py").write_text(SOURCES["the environment"])
    command = ["run", "--defenses", "./mine.py", *FAST[2:], "--results", "one", "--attacks"]
    change(1, monkeypatch)
    assert main([*command, "fgsm"]) == 0
    forget()
    change(3, monkeypatch)
    assert main([*command, "pgd-20[steps=3]"]) == 0

    assert main(["table", "--results", "one"]) == 2
    assert "stands for two different ones" in capsys.readouterr().err
