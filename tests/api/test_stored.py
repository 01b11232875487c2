"""What lies in a folder is what was returned; a folder that holds nothing says so."""

from __future__ import annotations

import os
import shutil

import pytest

import bench
from bench import api
from tests.api.nets import Templates, Watcher, own


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder that two runs have filled, and what the second returned."""
    root = tmp_path_factory.mktemp("stored") / "results"
    for attacks in ("fgsm", "fgsm,noise"):
        found = bench.evaluate(
            Templates(), attacks, "Linf:0.02", dataset=own(16), checks="none", watcher=Watcher(), results=root
        )
    return root, found


def test_what_is_read_is_what_was_returned(kept):
    root, found = kept

    again = bench.load(root)

    assert again.examples().drop(columns="id").equals(found.examples().drop(columns="id"))
    assert list(again.examples()["id"]) == list(found.examples()["id"])
    assert again.to_json() == found.to_json()
    assert bench.load(str(root)).to_json() == found.to_json()


def test_a_gate_takes_folders_and_results(kept):
    root, found = kept

    codes = {
        bench.gate(old, new, allow_underpowered=True).exit_code
        for old, new in ((root, root), (found, root), (str(root), found))
    }

    assert codes == {0}


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        ({"alpha": 0.5}, "--alpha 0.5 is out of range"),
        ({"alpha": 0}, "--alpha 0 is out of range"),
        ({"min_effect": 2}, "--min-effect 2 is out of range"),
        ({"must_detect": -0.1}, "--must-detect -0.1 is out of range"),
    ],
)
def test_a_promise_out_of_range_is_one_line(kept, promise, said):
    with pytest.raises(bench.BenchError, match=said):
        bench.gate(kept[0], kept[0], **promise)


def test_runs_are_told_in_their_order(kept):
    assert len(api.runs(kept[0])) == 2


def test_every_document_is_verified_and_a_damaged_one_is_named(kept, tmp_path):
    """A count that was changed by hand is one."""
    root = tmp_path / "copy"
    shutil.copytree(kept[0], root)
    count, damaged = api.verify(root)
    assert count > 2
    assert damaged == []

    victim = next(path for path in root.rglob("*.json") if '"adversarial"' in path.read_text())
    victim.write_text(victim.read_text().replace("16", "15", 1))

    count_again, damaged = api.verify(root)
    assert count_again == count
    assert len(damaged) == 1
    assert victim.name in damaged[0]


def test_what_nobody_asked_for_is_removed_and_nothing_else(kept, tmp_path):
    """A dry run removes nothing."""
    root = tmp_path / "copy"
    shutil.copytree(kept[0], root)
    assert api.prune(root) == []
    before = bench.load(root).to_json()
    stray = root / ".tmp-1-of-a-dead-writer.json"
    stray.touch()
    assert api.prune(root) == []  # it may be at work
    os.utime(stray, (0, 0))

    assert api.prune(root, dry_run=True) == [stray]
    assert stray.exists()
    assert api.prune(root) == [stray]
    assert not stray.exists()
    assert bench.load(root).to_json() == before


def test_what_is_finished_is_counted(kept, tmp_path):
    root, found = kept
    cells = [each.cell for each in found]

    assert api.finished(root, cells) == (2, 0)
    assert api.finished(tmp_path, cells) == (0, 0)


@pytest.mark.parametrize("read", [bench.load, api.runs, api.verify, api.prune])
def test_a_folder_that_is_not_there_is_one_line(read, tmp_path):
    with pytest.raises(bench.BenchError, match=r"does not exist: fill it with 'bench run --results"):
        read(tmp_path / "nowhere")


def test_a_folder_without_runs_is_one_line(tmp_path):
    with pytest.raises(bench.BenchError, match="no run in"):
        api.runs(tmp_path)
