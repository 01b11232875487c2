"""A part of a results folder: by defense, attack, threat model and dataset."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.cli import main
from bench.errors import BenchError
from bench.results.cell import Cell, Result, Slice
from bench.results.filter import Filter, left_out
from bench.results.finding import Finding
from bench.results.outcome import Done, Verdicts
from bench.results.ranking import ranks
from bench.threats import ThreatModel


def result(defense, attack, threat, dataset="digits"):
    part = Slice(dataset, "test", 4, dataset)
    return Result(
        Cell(DefenseRef(defense, "", ""), AttackRef(attack, "", ""), ThreatModel.parse(threat), part, 0, 1, 4), None
    )


STORED = [
    result("at", "pgd-20", "Linf:0.2"),
    result("at", "pgd-20[steps=50]", "L2:1"),
    result("atop", "pgd-20", "Linf:0.2"),
    result("atop[rt=2]", "stadv", "stadv:0.4"),
    result("atop[rt=2]", "pgd-20", "Linf:8/255", "cifar10"),
    result("at#new", "pgd-20", "Linf:0.2"),
]


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"defenses": "at"}, [0, 1, 5]),
        ({"defenses": "at#new"}, [5]),
        ({"defenses": "atop"}, [2, 3, 4]),
        ({"defenses": "atop[rt=2]"}, [3, 4]),
        ({"defenses": "atop[]"}, [2]),
        ({"defenses": "at[],atop"}, [0, 1, 2, 3, 4]),
        ({"attacks": "pgd-20[]", "defenses": "at"}, [0, 5]),
        ({"defenses": "at,atop[rt=2]"}, [0, 1, 3, 4, 5]),
        ({"attacks": "pgd-20"}, [0, 1, 2, 4, 5]),
        ({"attacks": "pgd-20[steps=50]"}, [1]),
        ({"threat": "Linf"}, [0, 2, 4, 5]),
        ({"threat": "Linf:0.2,L2"}, [0, 1, 2, 5]),
        ({"dataset": "cifar10"}, [4]),
        ({"defenses": "atop", "attacks": "pgd-20", "threat": "Linf", "dataset": "digits"}, [2]),
    ],
)
def test_names_choose_with_or_without_their_parameters(chosen, kept):
    """A name takes all of its variants along, a label itself alone; several conditions hold together."""
    assert Filter(**chosen).of(STORED) == [STORED[index] for index in kept]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"defenses": "atp"}, r"unknown stored defense 'atp': did you mean"),
        ({"attacks": "pgd-2"}, "did you mean pgd-20"),
        ({"threat": "Linf:0.3"}, r"Linf:0.3"),
        ({"threat": "L1"}, r"unknown stored threat 'L1'"),
        ({"dataset": "cifar100"}, "did you mean cifar10"),
    ],
)
def test_what_nothing_stored_is_called_is_a_mistake(chosen, said):
    """Nothing is printed of nothing: a mistyped name says what was meant."""
    with pytest.raises(BenchError, match=said):
        Filter(**chosen).of(STORED)


def test_every_command_that_reads_a_folder_takes_them(tmp_path, monkeypatch, capsys):
    """Table, ranks, curves and the gate, which then holds the chosen part alone."""
    monkeypatch.chdir(tmp_path)
    fast = ["--threat", "Linf:0.2", "--n", "8", "--checks", "none", "--executor", "local"]
    assert main(["run", "--defenses", "at,standard", "--attacks", "fgsm,pgd-20[steps=2]", *fast]) == 0
    shutil.copytree("bench-results", "before")
    capsys.readouterr()

    for command in (["table"], ["leaderboard"], ["gate", "--baseline", "before", "--allow-underpowered"]):
        assert main([*command, "--defenses", "at", "--attacks", "fgsm"]) == 0
        told = capsys.readouterr().out
        assert not any(line.startswith(("standard ", "REGRESSION standard")) for line in told.splitlines())
        assert "pgd-20" not in told
    assert main(["table", "--defenses", "atp"]) == 2
    assert "did you mean at" in capsys.readouterr().err


def test_what_blocks_a_defense_stays_when_its_threat_model_is_left_out():
    """Checks after the attacks block under one threat model, and all numbers of the row with it; of others, nothing."""
    blocks = Finding("A05", "block", "3", "0", "A05: 3 silent successes")
    flags = Finding("A11", "flag", "1", "0", "A11: no gain")
    done = Done(Verdicts(1, np.ones(4, np.uint8), np.ones(4, np.uint8)))
    linf, l2, other, elsewhere = (
        replace(result(*where), outcome=done)
        for where in (
            ("at", "pgd-20", "Linf:0.2"),
            ("at", "pgd-20", "L2:1"),
            ("ap", "pgd-20", "L2:1"),
            ("at", "pgd-20", "L2:1", "cifar10"),
        )
    )
    stored = [replace(linf, findings=(blocks, flags)), l2, other, elsewhere]

    chosen = Filter(threat="L2").of(stored)

    assert [each.findings for each in chosen] == [(blocks,), (), ()]
    assert [(row["defense"], row["accuracy"]) for row in ranks(chosen) if row["dataset"] == "digits"] == [
        ("ap", 100.0),
        ("at", None),
    ]
    assert Filter(threat="L2").chosen(stored) == stored[1:]


def test_an_attack_that_knew_the_draws_is_missing_in_no_worst_case():
    done = Done(Verdicts(1, np.ones(4, np.uint8), np.ones(4, np.uint8)))
    usual, known = (replace(result("at", name, "Linf:0.2"), outcome=done) for name in ("pgd-20", "known-draws"))
    known = replace(known, cell=replace(known.cell, attack=replace(known.cell.attack, known_draws=True)))

    assert left_out([usual], [usual, known]) == 0
    assert left_out([known], [usual, known]) == 1
