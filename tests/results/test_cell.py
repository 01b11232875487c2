"""What makes two cells the same, and what is kept of a cell on disk."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel

LINF = ThreatModel.parse("Linf:8/255")
L2 = ThreatModel.parse("L2:0.5")


@pytest.fixture
def cell():
    defense = DefenseRef("atop[rt=2]", "atop", "d" * 64, stochastic=True, trained_on=(LINF,), config={"rt": "2"})
    attack = AttackRef("pgd-20", "bench.attacks.lp.pgd:PGD", "a" * 64, config={"steps": 20})
    return Cell(defense, attack, LINF, Slice("digits", "test", 100, "e" * 64), 3, 10, 32, "h" * 64)


def _with(part, **changes):
    return lambda cell: replace(cell, **{part: replace(getattr(cell, part), **changes)})


@pytest.mark.parametrize(
    "change",
    [
        _with("defense", digest="x"),
        _with("defense", stochastic=False),
        _with("defense", label="other"),
        _with("attack", digest="x"),
        _with("attack", label="other"),
        _with("slice", digest="x"),
        _with("slice", n=99),
        lambda cell: replace(cell, threat=L2),
        lambda cell: replace(cell, seed=4),
        lambda cell: replace(cell, draws=9),
        lambda cell: replace(cell, batch=16),
        lambda cell: replace(cell, protocol="x"),
        lambda cell: replace(cell, precision="bfloat16 channels-last / 160 rows"),
    ],
    ids=[
        "defense",
        "stochastic",
        "defense-label",
        "attack",
        "attack-label",
        "images",
        "n",
        "threat",
        "seed",
        "draws",
        "batch",
        "protocol",
        "precision",
    ],
)
def test_whatever_can_change_a_verdict_changes_the_key(cell, change):
    """A stored verdict is reused by key, so a key that stayed the same would serve a stale one."""
    changed = change(cell)

    assert changed.key != cell.key


@pytest.mark.parametrize(
    "change",
    [
        _with("defense", trained_on=()),
        _with("attack", forwards=9, backwards=9),
        _with("slice", dataset="other", split="train"),
    ],
    ids=["trained-on", "cost-estimate", "dataset-name"],
)
def test_what_no_verdict_depends_on_does_not_change_the_key(cell, change):
    """A corrected claim, estimate or name throws no finished work away: images are pinned by their digest."""
    changed = change(cell)

    assert changed.key == cell.key


def test_a_cell_survives_json(cell):
    """What a store writes is enough to find the cell again: same key, title, column and seen."""
    text = json.dumps(cell.to_json())

    back = Cell.from_json(json.loads(text))

    assert back == cell
    assert back.key == cell.key
    assert back.to_json() == cell.to_json()


@pytest.mark.parametrize(
    ("threat", "seen"), [("Linf:8/255", True), ("Linf:4/255", True), ("Linf:9/255", False), ("L2:0.01", False)]
)
def test_seen_is_the_trained_family_at_that_eps_or_less(cell, threat, seen):
    """Training at 8/255 has shown a defense every smaller Linf ball, no larger one and no other norm."""
    assert replace(cell, threat=ThreatModel.parse(threat)).seen is seen


def test_a_defense_trained_on_nothing_has_seen_nothing():
    """The undefended classifier counts every attack as unseen."""
    assert not DefenseRef("standard", "standard", "d").has_seen(LINF)


@pytest.mark.parametrize(("n", "batch"), [(100, 32), (96, 32), (1, 32), (33, 32)])
def test_shards_cover_every_example_exactly_once(cell, n, batch):
    """Shards are consecutive, no larger than the batch, and end at the last example."""
    shards = replace(cell, slice=replace(cell.slice, n=n), batch=batch).shards

    assert list(shards) == [(start, min(start + batch, n)) for start in range(0, n, batch)]
    assert [shards[index] for index in range(len(shards))] == list(shards)
    assert list(shards[1:]) == list(shards)[1:]
    assert [i for start, stop in shards for i in range(start, stop)] == list(range(n))
    assert all(0 < stop - start <= batch for start, stop in shards)


def test_a_cell_names_itself_as_the_tables_do(cell):
    """The title names defense, attack and exact threat; the column leaves the defense out."""
    assert cell.title == "atop[rt=2] x pgd-20 (Linf:8/255)"
    assert cell.column == ("pgd-20", "Linf:8/255")
