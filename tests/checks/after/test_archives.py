"""Archives are judged again by a fresh process, and their findings never replace those about attacks."""

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef
from bench.catalogue.selection import defenses
from bench.checks.after import archives, replay
from bench.datasets.digits import digits
from bench.datasets.imported import ACCESS
from bench.results.cell import Cell, Planned, Slice
from bench.results.finding import Finding
from bench.results.outcome import Done, Evidence, Kept, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel

EXAMPLES = digits("test").first(6)
LINF = ThreatModel.parse("Linf:0.2")


def stored(tmp_path, counts=(1, 1, 1, 1, 1, 1), nonfinite=0):
    """A finished archive of the clean images themselves, which `standard` gets right."""
    (defense,) = defenses("standard", EXAMPLES)
    part = Slice("digits", "test", 6, EXAMPLES.digest)
    cell = Cell(defense, AttackRef("import:mine", "m", "m", access=ACCESS), LINF, part, 0, 1, 6)
    store, held = Store(tmp_path), np.array(counts, dtype=np.uint8)
    store.ask([Planned(cell)])
    store.finish(cell, [Done(Verdicts(1, np.ones(6, np.uint8), held), evidence=Evidence(nonfinite=nonfinite))], {})
    store.keep_images(cell, Kept(EXAMPLES.x, EXAMPLES.y, EXAMPLES.y))
    return store, cell


def after(store, cell):
    archives.after([cell], store, EXAMPLES, "cpu")
    return {found.id: found.verdict for found in store.result(Planned(cell)).findings}


def test_every_verdict_comes_out_again(tmp_path):
    assert after(*stored(tmp_path)) == {"A13": "pass"}


def test_a_verdict_that_does_not_come_out_again_blocks(tmp_path):
    assert after(*stored(tmp_path, counts=(0, 1, 1, 1, 1, 1))) == {"A13": "block"}


def test_answers_that_are_no_numbers_block(tmp_path):
    assert after(*stored(tmp_path, nonfinite=2)) == {"A13": "pass", "S01": "block"}


def test_findings_about_attacks_stay(tmp_path):
    """Under the same defense and threat model, and both are read again by another store."""
    store, cell = stored(tmp_path)
    attacked = Cell(cell.defense, AttackRef("pgd-20", "p", "p"), LINF, cell.slice, 0, 1, 6)
    store.keep_checks(attacked, [Finding("A03", "flag", "-", "-", "A03: no")], "key")

    after(store, cell)

    again = Store(tmp_path)
    assert [found.id for found in again.checks(attacked, "key")] == ["A03"]
    assert [found.id for found in again.checks(cell)] == ["A13"]


def test_what_was_examined_is_not_examined_again(tmp_path, monkeypatch):
    store, cell = stored(tmp_path)
    before = after(store, cell)
    monkeypatch.setattr(replay, "replay", lambda *_: pytest.fail("judged again"))

    assert after(store, cell) == before
