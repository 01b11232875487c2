"""Documents: whole or named as damaged, whatever bit flips."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.harness.formats import SearchFormats
from bench.results.cell import Cell, Planned, Slice
from bench.results.documents import of_cell, read_images, write, write_images
from bench.results.finding import Finding
from bench.results.housekeeping import damaged
from bench.results.outcome import Cost, Done, Evidence, Kept, Skipped, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel


def make_cell(draws=1, batch=4, attack="pgd-20[steps=5]"):
    return Cell(
        DefenseRef("at", "bench.defenses.at:load", "d" * 64, trained_on=(ThreatModel.parse("Linf:0.2"),)),
        AttackRef(attack, "bench.attacks.lp.pgd:PGD", "a" * 64, config={"steps": 5}),
        ThreatModel.parse("Linf:8/255"),
        Slice("digits", "test", 6, "s" * 64),
        seed=0,
        draws=draws,
        batch=batch,
    )


def counts(draws, *values):
    array = np.array(values, dtype=np.uint8)
    return Done(Verdicts(draws, array, array // 2), Cost(10, 5))


@pytest.mark.fault("F09")
def test_a_flipped_verdict_is_noticed(tmp_path):
    store, cell = Store(tmp_path), make_cell()
    store.finish(cell, [counts(1, 1, 0, 0, 1, 0, 0)], {})
    (path,) = tmp_path.rglob("*.json")
    document = json.loads(path.read_text())
    document["verdicts"]["adversarial"] = "111"
    path.write_text(json.dumps(document))

    with pytest.raises(BenchError, match="digest does not match"):
        store.find(cell)


@pytest.mark.parametrize("draws", [1, 10])
@pytest.mark.parametrize("place", ["verdicts.clean", "verdicts.adversarial", "ledger.forwards", "ledger.backwards"])
@pytest.mark.parametrize("text", ["1 0x1 1", "01/1", "01:1", "0\u06611"])
def test_a_document_of_another_program_with_other_characters_is_damaged(tmp_path, draws, place, text):
    """Its digest is right, but these are no counts."""
    store, cell = Store(tmp_path), make_cell(draws)
    document = of_cell(cell, counts(draws, 1, 0, 0, 1, 0, 0), {})
    part, _, name = place.partition(".")
    document[part][name] = text
    store.finish(cell, [counts(draws, 1, 0, 0, 1, 0, 0)], {})
    (path,) = tmp_path.rglob("*.json")
    write(path, document)

    with pytest.raises(BenchError, match=r"it does not hold what a cell holds|not numbers between spaces"):
        store.find(cell)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 1}', "\x00\x01"])
def test_a_damaged_document_is_named_with_the_remedy(tmp_path, content):
    store, cell = Store(tmp_path), make_cell()
    store.finish(cell, [counts(1, 1, 0)], {})
    (path,) = tmp_path.rglob("*.json")
    path.write_text(content)

    with pytest.raises(BenchError, match=r"delete it|upgrade|move it"):
        store.find(cell)


def filled(root):
    """A folder with one document of each kind."""
    store, cell = Store(root), make_cell(batch=6)
    store.ask([Planned(cell)])
    store.keep_preflight(cell.defense, cell.slice, [Finding("S05", "block", "1", "0", "S05: it remembers")], "k")
    store.keep_checks(cell, [Finding("A13", "block", "1 of 6", "0", "A13: not reproducible")], "k")
    store.keep_search_formats(cell.defense, cell.slice, SearchFormats().to_json(), "k" * 16)
    store.keep_answers("mine", "d" * 64, "m" * 16, "{}")
    evidence = Evidence(2, 1, (0, 3), sampled=4, escalated=1)
    store.finish(cell, [replace(counts(1, 1, 0, 1, 0, 1, 1), evidence=evidence)], {"seconds": 1.5, "torch": "2.13"})
    store.keep_images(cell, Kept(np.full((2, 1, 2, 2), 0.5, dtype=np.float32), np.arange(2), np.arange(2)))
    return store, cell


def looked_at(store, cell):
    """All that can be read of that folder."""
    (result,) = store.results()
    images = store.images(cell)
    plan = store.search_formats(cell.defense, cell.slice, "k" * 16, SearchFormats.from_json)
    return (
        result,
        store.seconds(cell),
        (images.x_adv.tobytes(), images.clean.tolist(), images.adversarial.tolist()),
        plan,
        store.answers("mine", "d" * 64),
    )


@pytest.mark.fault("F09")
def test_a_bit_that_flips_anywhere_is_noticed_or_changes_nothing(tmp_path):
    """Verdicts, evidence, checks, plans, images, what was asked: a stored block does not turn into a pass unnoticed."""
    store, cell = filled(tmp_path)
    expected = looked_at(store, cell)
    drawn, said = np.random.default_rng(0), []
    paths = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    for path in paths:
        whole = path.read_bytes()
        for place in drawn.choice(len(whole) * 8, 60, replace=False):
            flipped = bytearray(whole)
            flipped[place // 8] ^= 1 << (place % 8)
            path.write_bytes(bytes(flipped))
            try:
                assert looked_at(Store(tmp_path), cell) == expected, (path.name, int(place))
            except BenchError as error:
                said.append((path.name, str(error)))
        path.write_bytes(whole)

    assert len(paths) == 7
    assert len(said) > 0.8 * 60 * len(paths)
    assert all(name in text and "delete" not in text for name, text in said)


def test_documents_of_the_first_format_are_read_and_their_cells_held_to_their_digest(tmp_path):
    """Whole ones are read, a changed count is refused."""
    source = Path(__file__).resolve().parents[1] / "golden" / "format-1"
    shutil.copytree(source, tmp_path / "old")
    cells = [path for path in (tmp_path / "old").rglob("*.json") if '"verdicts"' in path.read_text()]
    assert all(json.loads(path.read_text())["format"] == 1 for path in cells)
    assert all(isinstance(result.outcome, Done | Skipped) for result in Store(tmp_path / "old").results())

    document = json.loads(cells[0].read_text())
    document["verdicts"]["adversarial"] = "1" * len(document["verdicts"]["adversarial"])
    cells[0].write_text(json.dumps(document))

    with pytest.raises(BenchError, match="its digest does not match"):
        Store(tmp_path / "old").results()


def test_the_same_images_are_the_same_bytes(tmp_path):
    """The library puts the metadata in an order of its own each time; so folders of two machines would differ."""
    kept = Kept(np.full((3, 1, 2, 2), 0.5, dtype=np.float32), np.zeros(3, np.int64), np.ones(3, np.int64))

    for number in range(16):
        write_images(tmp_path / str(number), "a" * 64, kept)

    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    found = read_images(tmp_path / "0", "a" * 64)
    assert np.array_equal(found.x_adv, kept.x_adv)
    assert np.array_equal(found.adversarial, kept.adversarial)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ledger": {"forwards": "1 2 3"}}, "passes of 3 images, not of 6"),
        ({"evidence": {"silent": 0, "nonfinite": 0, "borderline": [], "distances": [0.5]}}, "distances of 1 images"),
        ({"verdicts": {"draws": 5, "clean": "110110", "adversarial": "000000"}}, "5 draws, its cell asks for 1"),
        ({"verdicts": {"draws": 1, "clean": "1", "adversarial": "1"}}, "1 counts for 6 examples"),
    ],
)
def test_verify_names_a_cell_whose_parts_do_not_fit_together(tmp_path, change, said):
    """Its digest is right; `bench results verify` looks as closely as whatever makes a number of it."""
    cell = make_cell()
    Store(tmp_path).finish(cell, [counts(1, 1, 0, 0, 1, 0, 0)], {})
    (path,) = tmp_path.rglob("*.json")
    write(path, of_cell(cell, counts(1, 1, 0, 0, 1, 0, 0), {}) | change)

    (line,) = damaged(tmp_path)

    assert said in line
    with pytest.raises(BenchError, match=said):
        Store(tmp_path).find(cell)
