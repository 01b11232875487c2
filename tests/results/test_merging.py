"""Merging: whatever the order, nothing is lost, nothing is invented, and nothing unverified is written."""

import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError, NondeterminismError
from bench.harness.alarm import unaware
from bench.results import merging
from bench.results.documents import read, write
from bench.results.outcome import Done, Failed
from bench.results.store import Store
from tests.results.shards import (
    MADE,
    RESERVE,
    cell,
    contents,
    fill,
    keep_images,
    keep_preflight,
    outcome,
    timeless,
)

ROOT = Path(__file__).parents[2]


def merge(*folders, into):
    return merging.merge([Path(folder) for folder in folders], Path(into), unaware)


@pytest.fixture
def three(tmp_path):
    """One cell whose shards three machines computed, with other cells that they have in common, or not."""
    pgd, fgsm, square = cell(), cell("fgsm"), cell("square", batch=10)
    folders = [tmp_path / name for name in "abc"]
    for index, folder in enumerate(folders):
        fill(folder, pgd, [index], seconds=index + 1.0)
        fill(folder, fgsm, [0, index], seconds=5.0 - index)
        keep_preflight(folder, pgd, "pass")
    fill(folders[0], square)
    fill(folders[1], square, seconds=9.0)
    Store(folders[2]).fail(square, "RuntimeError: lost")
    keep_images(folders[0], pgd, 0.5)
    for folder in folders[1:]:
        Store(folder).aside().add_shard(pgd, 1, outcome(pgd, 1), {**MADE, "seconds": 1.0})
    return folders


def test_the_shards_of_three_machines_are_the_cell_of_one(three, tmp_path):
    fill(tmp_path / "one", cell())

    found = merge(*three, into=tmp_path / "all")

    assert (found.cells, found.joined, found.open, found.alarmed) == (3, 2, 1, 0)
    (place,) = [place for place in timeless(tmp_path / "one") if "pgd-20" in place]
    assert timeless(tmp_path / "all")[place] == timeless(tmp_path / "one")[place]
    assert not list((tmp_path / "all").glob("digits/**/*shard*"))
    assert Store(tmp_path / "all").seconds(cell()) == 1.0 + 2.0 + 3.0
    assert not list((tmp_path / "all").rglob("*failed*")), "the cell that one machine lost was finished by another"
    assert len(list((tmp_path / "all" / "runs").iterdir())) == sum(len(list((f / "runs").iterdir())) for f in three)


def test_any_order_and_any_grouping_gives_the_same_bytes(three, tmp_path):
    merge(*three, into=tmp_path / "all")
    expected = contents(tmp_path / "all", runs=True)

    for number, (one, two, last) in enumerate(itertools.permutations(three)):
        merge(one, two, last, into=tmp_path / f"flat-{number}")
        merge(one, two, into=tmp_path / f"half-{number}")
        merge(tmp_path / f"half-{number}", last, into=tmp_path / f"whole-{number}")

        assert contents(tmp_path / f"flat-{number}", runs=True) == expected
        assert contents(tmp_path / f"whole-{number}", runs=True) == expected


def test_a_merge_again_changes_nothing(three, tmp_path):
    merge(*three, into=tmp_path / "all")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "all").rglob("*") if path.is_file()}

    found = merge(*three, into=tmp_path / "all")

    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "all").rglob("*") if path.is_file()} == before
    assert (found.copied, found.joined) == (0, 0)
    assert found.cells == 3


def test_one_of_the_folders_may_be_the_target_and_keeps_its_own_provenance(three, tmp_path):
    merge(*three, into=tmp_path / "all")
    own = Store(three[1]).provenance(cell("square", batch=10))

    merge(*three, into=three[1])

    assert timeless(three[1]) == timeless(tmp_path / "all")
    assert Store(three[1]).provenance(cell("square", batch=10)) == own
    assert not list(three[1].glob("digits/**/*shard*")), "the shards of finished cells are gone"


def test_other_verdicts_under_one_key_are_named_and_nothing_is_written(tmp_path):
    fill(tmp_path / "a", cell())
    fill(tmp_path / "b", cell(), flip=True)

    with pytest.raises(NondeterminismError) as raised:
        merge(tmp_path / "a", tmp_path / "b", into=tmp_path / "all")

    assert str(tmp_path / "a") in str(raised.value)
    assert str(tmp_path / "b") in str(raised.value)
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("finished", [False, True], ids=["both shards", "a shard and the whole"])
def test_other_verdicts_of_a_shard_are_nondeterminism_too(finished, tmp_path):
    fill(tmp_path / "a", cell(), None if finished else [0, 1])
    fill(tmp_path / "b", cell(), [1], flip=True)

    with pytest.raises(NondeterminismError):
        merge(tmp_path / "a", tmp_path / "b", into=tmp_path / "all")


def test_an_alarm_keeps_shards_apart_and_a_shard_computed_again_after_it_is_taken(tmp_path):
    """One shard escalated: the others, with survivors, have to be attacked by the reserve before the cell is done."""
    cascade = cell("core", reserve=RESERVE)
    fill(tmp_path / "a", cascade, [0], escalated=1)
    fill(tmp_path / "b", cascade, [1, 2])

    found = merge(tmp_path / "a", tmp_path / "b", into=tmp_path / "all")

    assert (found.cells, found.alarmed, found.open) == (0, 1, 0)
    assert sorted(Store(tmp_path / "all").shards(cascade)) == [0, 1, 2]
    fill(tmp_path / "c", cascade, [1, 2], escalated=1)  # broke what was left
    for order in itertools.permutations("abc"):
        target = tmp_path / "".join(order)
        assert merge(*(tmp_path / name for name in order), into=target).joined == 1
        assert not Store(target).find(cascade).verdicts.adversarial.any()
    plain = cell("core")
    fill(tmp_path / "d", plain, [1])
    fill(tmp_path / "e", plain, [1], escalated=1)
    with pytest.raises(NondeterminismError):
        merge(tmp_path / "d", tmp_path / "e", into=tmp_path / "no")


def test_a_block_of_one_machine_is_never_lost(tmp_path):
    """The worst fault there is: a number that a check forbids, printed because another machine did not see why."""
    for name, verdict in (("a", "pass"), ("b", "block"), ("c", "flag")):
        fill(tmp_path / name, cell("fgsm"), [0])
        keep_preflight(tmp_path / name, cell(), verdict, key=name)

    for order in itertools.permutations("abc"):
        target = tmp_path / "".join(order)
        merge(*(tmp_path / name for name in order), into=target)
        merge(
            *(tmp_path / name for name in order), into=shutil.copytree(tmp_path / "a", tmp_path / f"into-{target.name}")
        )
        for folder in (target, tmp_path / f"into-{target.name}"):
            (finding,) = Store(folder).preflight(cell().defense, cell().slice)
            assert finding.verdict == "block"


def test_findings_are_written_before_the_numbers_that_they_forbid(tmp_path, monkeypatch):
    """Killed at any moment, a merge leaves no number without its block."""
    fill(tmp_path / "a", cell())
    keep_preflight(tmp_path / "a", cell(), "block")
    order = []
    monkeypatch.setattr(merging, "write_whole", lambda path, content: order.append(path.relative_to(tmp_path / "all")))

    merge(tmp_path / "a", into=tmp_path / "all")

    folders = [place.parts[0] if place.parts[0] == "runs" else place.parts[1] for place in order]
    assert folders == ["preflight", "Linf-8_255", "runs"]


def test_shards_of_two_versions_are_told(tmp_path):
    fill(tmp_path / "a", cell(), [0, 2])
    fill(tmp_path / "b", cell(), [1], made={**MADE, "torch": "2.12.0"})

    found = merge(tmp_path / "a", tmp_path / "b", into=tmp_path / "all")

    (line,) = found.mixed
    assert line.endswith("torch 2.12.0 and 2.13.0")
    assert Store(tmp_path / "all").provenance(cell())["torch"] == "2.12.0 and 2.13.0"


def test_shards_that_tell_nothing_as_old_versions_wrote_them_are_joined(tmp_path):
    store = Store(tmp_path / "a")
    for index in range(3):
        store.add_shard(cell(), index, outcome(cell(), index), {})

    assert merge(tmp_path / "a", into=tmp_path / "all").joined == 1
    assert isinstance(Store(tmp_path / "all").find(cell()), Done)
    assert Store(tmp_path / "all").provenance(cell()) == {}


def test_images_come_with_the_verdicts_that_they_were_judged_by(tmp_path):
    """Two machines round differently: same verdicts, other images. Eight cells, for one could be right by chance."""
    cells = [cell(f"pgd-{steps}") for steps in range(8)]
    for name, value in (("a", 0.25), ("b", 0.5)):
        for each in cells:
            fill(tmp_path / name, each, seconds=value)
            keep_images(tmp_path / name, each, value)

    for order in (("a", "b"), ("b", "a")):
        store = Store(tmp_path / "".join(order))
        merge(*(tmp_path / name for name in order), into=store.root)
        for each in cells:
            assert store.images(each).x_adv.ravel()[0] * 3 == store.provenance(each)["seconds"]


def test_a_failed_cell_stays_failed_until_somebody_finishes_it(tmp_path):
    fill(tmp_path / "a", cell(), [0])
    Store(tmp_path / "b").fail(cell(), "RuntimeError: lost")
    Store(tmp_path / "c").fail(cell(), "ValueError: other")

    for order in itertools.permutations("abc"):
        merge(*(tmp_path / name for name in order), into=tmp_path / "".join(order))
        assert isinstance(Store(tmp_path / "".join(order)).find(cell()), Failed)
    assert (
        len(
            {json.dumps(timeless(tmp_path / "".join(order)), sort_keys=True) for order in itertools.permutations("abc")}
        )
        == 1
    )
    fill(tmp_path / "d", cell())
    merge(tmp_path / "abc", tmp_path / "d", into=tmp_path / "abc")
    assert isinstance(Store(tmp_path / "abc").find(cell()), Done)


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "bit": lambda path: path.write_bytes(path.read_bytes().replace(b'"draws": 1', b'"draws": 2')),
    "no JSON": lambda path: path.write_text("<html>"),
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_text("{}"),
    "newer": lambda path: path.write_text(path.read_text().replace('"format": 3', '"format": 99')),
    "another cell's": lambda path: path.rename(path.with_name(path.name.replace(path.name.split(".")[1], "0" * 16))),
    "in no place": lambda path: path.rename(path.parents[3] / path.name),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_not_as_it_was_written_is_one_line_and_nothing_is_written(how, tmp_path):
    fill(tmp_path / "a", cell())
    fill(tmp_path / "b", cell("fgsm"))
    DAMAGE[how](next((tmp_path / "b").rglob("fgsm*.json")))

    with pytest.raises(BenchError) as raised:
        merge(tmp_path / "a", tmp_path / "b", into=tmp_path / "all")

    assert str(tmp_path / "b") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "all").exists()


def test_a_shard_with_verdicts_of_other_images_is_damaged_though_its_digest_is_right(tmp_path):
    fill(tmp_path / "a", cell(), [0, 1, 2])
    path = next((tmp_path / "a").rglob("*.shard-2.json"))
    short = read(path.with_name(path.name.replace("shard-2", "shard-0")))
    write(path, short)

    with pytest.raises(BenchError, match="4 counts for 2 examples"):
        merge(tmp_path / "a", into=tmp_path / "all")


@pytest.mark.parametrize("bit", range(0, 400, 37))
def test_images_with_a_flipped_bit_are_refused(bit, tmp_path):
    fill(tmp_path / "a", cell())
    keep_images(tmp_path / "a", cell(), 0.5)
    path = next((tmp_path / "a").rglob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1 - bit % 64] ^= 1 << bit % 8  # within the arrays
    path.write_bytes(content)

    with pytest.raises(BenchError):
        merge(tmp_path / "a", into=tmp_path / "all")


def linked_file(folder):
    path = next(folder.rglob("pgd*.json"))
    path.replace(folder.parent / "elsewhere.json")
    path.symlink_to(folder.parent / "elsewhere.json")


def linked_folder(folder):
    (folder / "digits").replace(folder.parent / "elsewhere")
    (folder / "digits").symlink_to(folder.parent / "elsewhere")


def linked_root(folder):
    folder.replace(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("target", [False, True], ids=["in a source", "in the target"])
@pytest.mark.parametrize("link", [linked_file, linked_folder, linked_root])
def test_no_link_is_followed_nor_written_through(link, target, tmp_path):
    fill(tmp_path / "a", cell())
    fill(tmp_path / "b", cell("fgsm"))
    link(tmp_path / "a")
    before = contents(tmp_path / "a"), contents(tmp_path / "b")

    folders, into = (["b"], "a") if target else (["a", "b"], "all")
    with pytest.raises(BenchError, match="symbolic link"):
        merge(*(tmp_path / name for name in folders), into=tmp_path / into)

    assert (contents(tmp_path / "a"), contents(tmp_path / "b")) == before
    assert not (tmp_path / "all").exists()


def test_a_pipe_in_the_place_of_a_document_is_refused_and_not_waited_for(tmp_path):
    fill(tmp_path / "a", cell())
    os.mkfifo(tmp_path / "a" / "digits" / "x.json")

    with pytest.raises(BenchError, match="pipe"):
        merge(tmp_path / "a", into=tmp_path / "all")


def test_folders_that_cannot_be_merged_are_named(tmp_path):
    fill(tmp_path / "a", cell())
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    cases = {
        "no results in": ([tmp_path / "empty"], tmp_path / "all"),
        "does not exist": ([tmp_path / "gone"], tmp_path / "all"),
        "is a file": ([tmp_path / "a"], tmp_path / "file"),
        "name results folders": ([], tmp_path / "all"),
        "lies within": ([tmp_path / "a"], tmp_path / "a" / "digits"),
        "'.*/a' lies within": ([tmp_path / "a"], tmp_path),
    }
    for message, (folders, into) in cases.items():
        before = contents(tmp_path, runs=True)
        with pytest.raises(BenchError, match=message):
            merge(*folders, into=into)
        assert contents(tmp_path, runs=True) == before


def test_what_is_none_of_ours_stays_where_it_is_and_is_named(tmp_path):
    fill(tmp_path / "a", cell())
    (tmp_path / "a" / "README.md").write_text("mine")
    (tmp_path / "a" / "locks").mkdir()
    (tmp_path / "a" / "locks" / "x.json").write_text("")
    (tmp_path / "a" / ".tmp-1234-x.json").write_text("")

    found = merge(tmp_path / "a", into=tmp_path / "all")

    assert found.others == (str(tmp_path / "a" / "README.md"),)
    assert set(contents(tmp_path / "all")) == {p for p in contents(tmp_path / "a") if p.startswith("digits/")}


def test_a_document_that_changes_while_it_is_merged_is_not_copied_unseen(tmp_path, monkeypatch):
    fill(tmp_path / "a", cell())
    later = merging._require_one_history

    def meanwhile(chosen):
        later(chosen)
        keep_preflight(tmp_path / "a", cell(), "pass")

    keep_preflight(tmp_path / "a", cell(), "block")
    monkeypatch.setattr(merging, "_require_one_history", meanwhile)

    with pytest.raises(BenchError, match="changed while it was merged"):
        merge(tmp_path / "a", into=tmp_path / "all")


@pytest.mark.parametrize("format_", ["format-1", "format-2"])
def test_folders_of_earlier_versions_are_merged_and_read_alike(format_, tmp_path):
    old = ROOT / "tests" / "golden" / format_
    fill(tmp_path / "a", cell())

    merge(old, tmp_path / "a", into=tmp_path / "all")

    def told(folder):
        return {r.cell.key: r.outcome and r.outcome.verdicts.adversarial.tolist() for r in Store(folder).results()}

    assert told(tmp_path / "all") == told(old) | told(tmp_path / "a")


def test_what_two_old_folders_asked_for_is_kept_of_both(tmp_path):
    old = ROOT / "tests" / "golden" / "format-1"
    shutil.copytree(old, tmp_path / "b")
    document = json.loads((old / "matrix.json").read_text())
    write(tmp_path / "b" / "matrix.json", {**document, "cells": document["cells"][:1]})

    merge(old, tmp_path / "b", into=tmp_path / "all")

    asked = [path.name for path in (tmp_path / "all").glob("runs/*")] + ["matrix.json"]
    assert len(asked) == 2
    assert len(Store(tmp_path / "all").results()) == len(Store(old).results())


def test_published_results_merge_into_themselves(tmp_path):
    found = merge(ROOT / "results" / "baseline", into=tmp_path / "all")

    assert timeless(tmp_path / "all") == timeless(ROOT / "results" / "baseline")
    assert found.cells == len({path.name for path in (ROOT / "results" / "baseline").glob("*/*/*/*.json")
                               if not path.name.startswith("checks.")})  # fmt: skip
    assert np.all([merge(tmp_path / "all", into=tmp_path / "all").copied == 0])
