"""Documents of every format that was ever written are read as what they said then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.cli import main
from bench.errors import BenchError
from bench.results.cell import Cell
from bench.results.documents import FORMAT
from bench.results.outcome import Done
from bench.results.store import Store

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = range(1, FORMAT + 1)


@pytest.mark.fault("F22")
@pytest.mark.parametrize("number", FORMATS)
def test_a_folder_of_every_format_is_read(number):
    """The same four cells, the checks beside them, and which images they are of."""
    results = Store(GOLDEN / f"format-{number}").results()

    assert [(each.cell.defense.label, each.cell.attack.label) for each in results] == [
        ("at", "fgsm"),
        ("at", "stadv"),
        ("atop", "fgsm"),
        ("atop", "stadv"),
    ]
    assert all(isinstance(each.outcome, Done) for each in results)
    assert all(len(each.cell.slice.examples) == 12 for each in results)
    assert {found.id for found in results[0].findings} >= {"S01", "S11", "S17"}
    assert all(each.code["harness"] for each in results)


def test_all_formats_hold_the_same_verdicts_of_a_deterministic_defense():
    """The code between them changed nothing about these, and no reader may."""
    told = []
    for number in FORMATS:
        results = Store(GOLDEN / f"format-{number}").results()
        mine = [each.outcome.verdicts for each in results if each.cell.defense.label == "at"]
        told.append([(each.draws, each.clean.tolist(), each.adversarial.tolist()) for each in mine])

    assert told[0] == told[1] == told[2]
    assert len(told[0]) == 2


@pytest.mark.parametrize("number", FORMATS)
def test_every_command_that_reads_takes_every_format(number, capsys, tmp_path):
    folder = str(GOLDEN / f"format-{number}")

    assert main(["table", "--results", folder]) == 0
    assert main(["table", "--checks", "--results", folder]) == 0
    assert main(["leaderboard", "--results", folder]) == 0
    assert main(["results", "list", "--results", folder]) == 0
    assert main(["results", "verify", "--results", folder]) == 0
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert main(["gate", "--baseline", str(copy), "--results", folder, "--allow-underpowered"]) == 0
    assert "n=12, 6 cells" in capsys.readouterr().out


@pytest.mark.parametrize("number", FORMATS)
def test_nothing_of_any_format_is_taken_for_a_stray(number, capsys):
    assert main(["results", "prune", "--dry-run", "--results", str(GOLDEN / f"format-{number}")]) == 0
    assert "0 files to remove" in capsys.readouterr().out


@pytest.mark.fault("F22")
@pytest.mark.parametrize("number", FORMATS)
def test_a_run_beside_an_earlier_format_rewrites_nothing(number, tmp_path):
    """And computes its own: whether that code gave these verdicts nobody knows any more."""
    folder = tmp_path / "results"
    shutil.copytree(GOLDEN / f"format-{number}", folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}

    command = ["run", "--defenses", "at", "--attacks", "fgsm", "--threat", "Linf:0.2", "--n", "12", "--draws", "3"]
    assert main([*command, "--executor", "local", "--checks", "none", "--results", str(folder)]) == 0

    assert {path: path.read_bytes() for path in before} == before
    assert main(["table", "--results", str(folder), "--defenses", "atop"]) == 0


def test_a_later_version_may_say_more_and_an_earlier_one_less():
    """An unknown field is ignored, a missing one is as by default: neither is damage."""
    data = {
        "defense": {"label": "at", "source": "x", "digest": "d", "color": "red"},
        "attack": {"label": "fgsm", "source": "y", "digest": "a", "mood": "good"},
        "threat": "Linf:0.2",
        "slice": {"dataset": "digits", "split": "test", "n": 4, "digest": "s", "smell": "none"},
        "seed": 0,
        "draws": 1,
        "batch": 128,
        "taste": "sweet",
    }

    cell = Cell.from_json(data)

    assert cell.defense == DefenseRef("at", "x", "d")
    assert cell.attack == AttackRef("fgsm", "y", "a")
    assert (cell.precision, cell.protocol) == ("float32", "")


def test_a_key_stays_what_it_was_and_belongs_to_that_cell_alone():
    from dataclasses import replace

    (first, *_) = Store(GOLDEN / "format-1").results()

    assert (GOLDEN / "format-1").rglob(f"*.{first.cell.key[:16]}.json")
    assert replace(first.cell, seed=first.cell.seed).key == first.cell.key
    assert replace(first.cell, seed=7).key != first.cell.key
    assert Cell.from_json(first.cell.to_json()).key != first.cell.key


def test_what_is_not_what_its_format_has_is_said_to_be_damaged(tmp_path):
    (tmp_path / "matrix.json").write_text(json.dumps({"format": 1, "cells": [{"cell": {}, "skip": None}]}))

    with pytest.raises(BenchError, match=r"damaged \(it does not hold what its format has\)"):
        Store(tmp_path).results()
