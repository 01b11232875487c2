"""The results folder: atomic, append-only, and clear about what is wrong with it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench.results.documents as documents_module
import bench.results.store as store_module
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.results.cell import Cell, Planned, Result, Slice
from bench.results.documents import NondeterminismError
from bench.results.finding import Finding
from bench.results.outcome import Cost, Done, Evidence, Failed, Kept, Skipped, Verdicts
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


@pytest.mark.parametrize("draws", [1, 9, 10, 255])
def test_what_is_finished_is_found_again_count_by_count(tmp_path, draws):
    store, cell = Store(tmp_path), make_cell(draws, batch=6)
    done = counts(draws, 0, 1, draws, draws, 0, draws // 2)

    store.finish(cell, [done], {})

    found = Store(tmp_path).find(cell)
    assert np.array_equal(found.verdicts.clean, done.verdicts.clean)
    assert np.array_equal(found.verdicts.adversarial, done.verdicts.adversarial)
    assert found.cost == done.cost


def test_shards_are_joined_in_order_and_leave_no_trace(tmp_path):
    store, cell = Store(tmp_path), make_cell()
    store.add_shard(cell, 1, counts(1, 0, 1), {})
    store.add_shard(cell, 0, counts(1, 1, 1, 0, 0), {})

    shards = store.shards(cell)
    done = store.finish(cell, [shards[0], shards[1]], {})

    assert done.verdicts.clean.tolist() == [1, 1, 0, 0, 0, 1]
    assert done.cost == Cost(20, 10)
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_only_the_shards_of_the_cell_itself_are_found(tmp_path):
    """Another seed has another key, and a number beyond the last shard is not of this cell."""
    store, cell = Store(tmp_path), make_cell()
    other = replace(cell, seed=1)
    store.add_shard(cell, 1, counts(1, 0, 1), {})
    store.add_shard(other, 0, counts(1, 1, 1, 0, 0), {})
    (path,) = tmp_path.rglob("*.shard-1.json")
    shutil.copy(path, path.with_name(path.name.replace("shard-1", "shard-7")))

    assert list(store.shards(cell)) == [1]
    assert list(store.shards(other)) == [0]
    store.add_shard(cell, 0, counts(1, 1, 1, 0, 0), {})
    assert list(store.shards(cell)) == [0, 1]
    store.drop_shard(cell, 1)
    assert list(store.shards(cell)) == [0]


@pytest.mark.skipif(os.name != "posix", reason="folders are not brought to the disk here")
def test_a_cell_waits_for_the_disk_no_more_often_than_it_must(tmp_path, monkeypatch):
    """Once for each file, and once for their names when the cell is told of."""
    store, waits = Store(tmp_path), []
    monkeypatch.setattr("os.fsync", waits.append)
    kept = Kept(np.zeros((1, 1, 2, 2), dtype=np.float32), np.zeros(1, np.int64), np.zeros(1, np.int64))
    one, two = make_cell(batch=6), make_cell(batch=3, attack="fgsm")
    store.finish(one, [counts(1, 0, 1, 0, 1, 0, 1)], {})  # makes the folders
    waits.clear()

    store.keep_images(one, kept)
    store.finish(replace(one, seed=1), [counts(1, 0, 1, 0, 1, 0, 1)], {})
    assert len(waits) == 3

    waits.clear()
    for index in range(2):
        store.add_shard(two, index, counts(1, 0, 1, 0), {})
    assert len(waits) == 2
    store.keep_shards()
    store.keep_shards()
    assert len(waits) == 3
    waits.clear()
    store.finish(two, [counts(1, 0, 1, 0)] * 2, {})
    assert len(waits) == 2


def test_each_document_is_read_once_and_the_findings_of_a_defense_with_its_first_cell(tmp_path, monkeypatch):
    store = Store(tmp_path)
    cells = [make_cell(batch=6, attack=f"pgd-20[steps={steps}]") for steps in range(1, 6)]
    store.ask([Planned(cell) for cell in cells])
    for cell in cells:
        store.finish(cell, [counts(1, 0, 1, 0, 1, 0, 1)], {"seconds": 1.0})
    store.keep_preflight(cells[0].defense, cells[0].slice, [Finding("S05", "flag", "1", "0", "S05: it remembers")], "k")
    store.keep_checks(cells[0], [Finding("A13", "pass", "0 of 6", "0", "A13: the same")], "k")
    opened, real = [], documents_module.read
    for module in (store_module, documents_module):
        monkeypatch.setattr(module, "read", lambda path: opened.append(path) or real(path))

    store = Store(tmp_path)
    results = store.results()
    assert [store.result(planned) for planned in store.planned()] == results

    there = [path for path in opened if path.is_file() and path.parent.name != "runs"]
    assert sorted(there) == sorted(path for path in tmp_path.rglob("*.json") if path.parent.name != "runs")
    assert {len(result.findings) for result in results} == {2}


def test_of_a_shard_before_and_after_an_alarm_the_one_after_it_stays(tmp_path):
    """Whoever writes last: a share knows of no alarm, while a plain run in the same folder has answered it."""
    reserve = (AttackRef("square", "bench.attacks.score:Square", "q" * 64),)
    plain = make_cell()
    cell = replace(plain, attack=replace(plain.attack, reserve=reserve))
    before = counts(1, 1, 1, 0, 0)
    broken = np.zeros(4, dtype=np.uint8)
    after = replace(before, verdicts=replace(before.verdicts, clean=before.verdicts.clean, adversarial=broken))
    before = replace(before, verdicts=replace(before.verdicts, adversarial=before.verdicts.clean))
    after = replace(after, evidence=Evidence(escalated=2))
    for name, order in (("a", (before, after, before)), ("b", (after, before))):
        for done in order:
            Store(tmp_path / name).add_shard(cell, 0, done, {})
        assert not Store(tmp_path / name).shards(cell)[0].verdicts.adversarial.any()
    # Without a reserve there is nothing that could have broken more, and a reserve never mends.
    Store(tmp_path / "c").add_shard(plain, 0, before, {})
    with pytest.raises(NondeterminismError):
        Store(tmp_path / "c").add_shard(plain, 0, after, {})
    mended = replace(before, evidence=Evidence(escalated=2))
    Store(tmp_path / "d").add_shard(cell, 0, replace(after, evidence=Evidence()), {})
    with pytest.raises(NondeterminismError):
        Store(tmp_path / "d").add_shard(cell, 0, mended, {})


def test_a_shard_of_a_cell_that_another_run_has_finished_is_not_left_behind(tmp_path):
    cell = make_cell()
    Store(tmp_path).finish(cell, [counts(1, 1, 1, 0, 0), counts(1, 0, 1)], {})

    Store(tmp_path).add_shard(cell, 1, counts(1, 0, 1), {})

    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_a_document_of_fewer_images_than_its_cell_has_is_damaged(tmp_path):
    """A shard that was copied to the place of its cell, with a digest that is right."""
    cell = make_cell()
    Store(tmp_path).add_shard(cell, 0, counts(1, 1, 1, 0, 0), {})
    (path,) = tmp_path.rglob("*.shard-0.json")
    path.rename(path.with_name(path.name.replace(".shard-0", "")))

    with pytest.raises(BenchError, match="4 counts for 6 examples"):
        Store(tmp_path).find(cell)


def test_the_same_verdicts_again_are_no_change(tmp_path):
    store, cell = Store(tmp_path), make_cell()
    store.finish(cell, [counts(1, 1, 0)], {"seconds": 1})
    (path,) = tmp_path.rglob("*.json")
    before = path.read_bytes()

    store.finish(cell, [counts(1, 1, 0)], {"seconds": 2})

    assert path.read_bytes() == before


def test_other_verdicts_for_the_same_key_are_refused_and_change_nothing(tmp_path):
    store, cell = Store(tmp_path), make_cell()
    store.finish(cell, [counts(1, 1, 0)], {})
    (path,) = tmp_path.rglob("*.json")
    before = path.read_bytes()

    with pytest.raises(NondeterminismError, match="differ"):
        store.finish(cell, [counts(1, 0, 0)], {})

    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 1),
        ("draws", 2),
        ("batch", 5),
        ("threat", ThreatModel.parse("Linf:7/255")),
        ("protocol", "another"),
        ("defense", DefenseRef("at", "bench.defenses.at:load", "e" * 64)),
        ("attack", AttackRef("pgd-20[steps=5]", "bench.attacks.lp.pgd:PGD", "b" * 64)),
        ("slice", Slice("digits", "test", 6, "t" * 64)),
    ],
)
def test_anything_that_can_change_a_verdict_changes_the_key(tmp_path, field, value):
    store, cell = Store(tmp_path), make_cell()
    store.finish(cell, [counts(1, 1, 0)], {})

    other = replace(cell, **{field: value})

    assert other.key != cell.key
    assert store.find(other) is None


def test_a_result_says_how_long_it_took_and_a_derived_one_how_long_its_parts_did(tmp_path):
    """Parts need not be columns; a part that could not be run cost nothing; what nobody noted is not known."""
    store = Store(tmp_path)
    parts = [make_cell(attack=name) for name in ("one", "two", "of no gradient")]
    whole, alone, old = (make_cell(attack=name) for name in ("whole", "alone", "old"))
    for cell, made in ((parts[0], 1.5), (parts[1], 2.0), (whole, 0.0), (alone, 0.0)):
        store.finish(cell, [counts(1, 1, 0, 1, 1, 0, 0)], {"seconds": made})
    store.finish(old, [counts(1, 1, 0, 1, 1, 0, 0)], {})
    missing = make_cell(attack="missing")
    store.ask([Planned(whole, parts=tuple(parts)), *map(Planned, (parts[0], alone, old, missing))])

    took = {result.cell.attack.label: result.seconds for result in Store(tmp_path).results()}

    assert took == {"whole": 3.5, "one": 1.5, "alone": 0.0, "old": None, "missing": None}


def test_a_failure_is_told_until_the_cell_is_done(tmp_path):
    store, cell = Store(tmp_path), make_cell()

    store.fail(cell, "ValueError: no")
    before = store.find(cell)
    store.finish(cell, [counts(1, 1, 0, 1, 0, 1, 0)], {})

    assert before == Failed("ValueError: no")
    assert isinstance(store.find(cell), Done)
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_the_folder_is_refused_when_it_is_a_file(tmp_path):
    place = tmp_path / "results"
    place.write_text("mine")

    with pytest.raises(BenchError, match="is a file; pass a folder"):
        Store(place)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_the_folder_is_refused_when_it_cannot_be_read(tmp_path):
    tmp_path.chmod(0)
    try:
        with pytest.raises(BenchError, match="cannot be read"):
            Store(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_the_matrix_remembers_what_was_asked_and_replaces_what_is_asked_anew(tmp_path):
    store, cell = Store(tmp_path), make_cell()
    retrained = replace(cell, defense=replace(cell.defense, digest="f" * 64))
    other = make_cell(attack="square")

    store.ask([Planned(cell), Planned(other, skip="no")])
    store.ask([Planned(retrained)])

    assert store.results() == [Result(retrained, None), Result(other, Skipped("no"))]


def test_the_same_question_is_remembered_once(tmp_path):
    """A resumed run adds no file."""
    store, cell = Store(tmp_path), make_cell()

    for _ in range(3):
        store.ask([Planned(cell)])

    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_folder_copied_over_another_one_is_the_union(tmp_path):
    """What two machines asked and computed, copied together by hand."""
    first, second = Store(tmp_path / "a"), Store(tmp_path / "b")
    one, two = make_cell(), make_cell(attack="square")
    for store, cell in ((first, one), (second, two)):
        store.ask([Planned(cell)])
        store.finish(cell, [counts(1, 1, 0, 1)] * 2, {})

    shutil.copytree(tmp_path / "b", tmp_path / "a", dirs_exist_ok=True)

    assert {result.cell.attack.label for result in first.results()} == {"pgd-20[steps=5]", "square"}
    assert all(isinstance(result.outcome, Done) for result in first.results())


def test_what_an_earlier_version_asked_is_still_there_and_comes_first(tmp_path):
    """matrix.json is read and never written again."""
    store, cell, other = Store(tmp_path), make_cell(), make_cell(attack="square")
    old = {"format": 1, "cells": [{"cell": {**cell.to_json(), "harness": "c0de"}, "skip": None}]}
    (tmp_path / "matrix.json").write_text(json.dumps(old))

    store.ask([Planned(other)])

    assert [result.cell.attack.label for result in store.results()] == ["pgd-20[steps=5]", "square"]
    assert json.loads((tmp_path / "matrix.json").read_text()) == old


def test_a_run_that_asks_while_another_one_does_takes_nothing_away(tmp_path, monkeypatch):
    """The other one asks between the look at what is known and the writing of it."""
    cell, other = make_cell(), make_cell(attack="square")
    original, waiting = store_module.write, [Planned(other)]

    def late(path, document):
        if waiting:
            Store(tmp_path).ask([waiting.pop()])
        original(path, document)

    monkeypatch.setattr(store_module, "write", late)
    Store(tmp_path).ask([Planned(cell)])

    assert {result.cell.attack.label for result in Store(tmp_path).results()} == {"pgd-20[steps=5]", "square"}


@pytest.mark.fault("F13")
@pytest.mark.slow
def test_of_four_runs_started_together_in_one_folder_none_is_lost(tmp_path):
    """Each asks for an attack of its own, and all of them stand in the table."""
    command = [sys.executable, "-c", "import sys; from bench.cli import main; sys.exit(main())", "run"]
    options = ["--defenses", "at", "--threat", "Linf:0.2", "--n", "8", "--checks", "none", "--executor", "local"]
    attacks = ["fgsm", "pgd-20[steps=1]", "pgd-20[steps=2]", "apgd-ce[steps=2]"]
    words = [[*command, *options, "--results", str(tmp_path), "--attacks", attack] for attack in attacks]

    running = [subprocess.Popen(each, stdout=subprocess.DEVNULL) for each in words]

    assert [each.wait() for each in running] == [0] * 4
    results = Store(tmp_path).results()
    assert sorted(result.cell.attack.label for result in results) == sorted(attacks)
    assert all(isinstance(result.outcome, Done) for result in results)


def test_verdicts_of_an_earlier_version_are_found_by_this_one():
    """The published baseline is older than some facts in a key; a whole leaderboard would be gone."""
    results = Store(Path(__file__).resolve().parents[2] / "results" / "baseline").results()

    assert len(results) == 24
    assert [result.cell.title for result in results if result.outcome is None] == []


def test_an_empty_folder_says_how_to_fill_it(tmp_path):
    with pytest.raises(BenchError, match="fill it with 'bench run'"):
        Store(tmp_path).results()


def test_names_from_users_stay_inside_the_folder(tmp_path):
    cell = replace(make_cell(), defense=DefenseRef("../../evil\n/x", "x", "d"), attack=AttackRef("..", "x", "a"))

    Store(tmp_path / "results").finish(cell, [counts(1, 1)], {})

    (path,) = tmp_path.rglob("*.json")
    assert path.resolve().is_relative_to((tmp_path / "results").resolve())
    assert len(path.relative_to(tmp_path / "results").parts) == 4
