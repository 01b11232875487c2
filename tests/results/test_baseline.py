"""A baseline is replaced as a whole, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.errors import BenchError
from bench.results import baseline, housekeeping
from bench.results.documents import read
from tests.api.nets import Templates, Watcher, own


def evaluated(root, seed, attacks="fgsm,noise"):
    model = {"net": Templates(seed=seed)}
    return bench.evaluate(model, attacks, "Linf:0.02", dataset=own(16), checks="none", watcher=Watcher(), results=root)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Results of two networks of one name."""
    root = tmp_path_factory.mktemp("baseline")
    for name, seed in (("old", 0), ("new", 1)):
        evaluated(root / name, seed)
    return root


@pytest.fixture
def here(folders, tmp_path):
    """Copies that a test may change."""
    for name in ("old", "new"):
        shutil.copytree(folders / name, tmp_path / name)
    return tmp_path


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def replaced(here):
    baseline.replace(here / "old", here / "new", baseline.documents(here / "new", bench.load(here / "new").cells))


def test_the_documents_are_those_that_a_comparison_reads(here):
    """No images, no shards, no locks; the same cells come out of them."""
    (here / "new" / "locks").mkdir(exist_ok=True)
    (here / "new" / "locks" / "x.json").write_text("{}")
    cell = next((here / "new").rglob("fgsm.*.json"))
    shutil.copy(cell, cell.with_name(cell.name.replace(".json", ".shard-0.json")))

    found = baseline.documents(here / "new", bench.load(here / "new").cells)

    assert {path.suffix for path in found} == {".json"}
    assert not any("shard" in path.name or "locks" in path.parts for path in found)
    assert {path.parts[0] for path in found} >= {"runs"}
    assert any(path.name.startswith("examples.") for path in found)
    replaced(here)
    assert bench.load(here / "old").examples().equals(bench.load(here / "new").examples())
    assert housekeeping.damaged(here / "old") == []


def test_a_cell_that_a_later_run_replaced_is_left_out(here):
    evaluated(here / "new", seed=0)  # the network of "old", under the same name
    every = {path.name for path in (here / "new").rglob("fgsm.*.json")}

    found = baseline.documents(here / "new", bench.load(here / "new").cells)

    assert len(every) == 2
    assert len([path for path in found if path.name.startswith("fgsm.")]) == 1
    replaced(here)
    assert bench.load(here / "old").examples().equals(bench.load(here / "new").examples())


def test_the_parts_of_a_worst_case_come_along(tmp_path):
    """`autoattack` beside one of its parts: what the part's column needs is there."""
    root = tmp_path / "new"
    bench.run(defenses="at", attacks="apgd-ce,autoattack", threat="Linf:0.2", n=8, checks="none", results=root)
    baseline.replace(tmp_path / "old", root, baseline.documents(root, bench.load(root).cells))

    assert bench.load(tmp_path / "old").examples().equals(bench.load(root).examples())
    named = {key for run in (root / "runs").iterdir() for row in read(run)["cells"] for key in row.get("parts", ())}
    stored = {path.name.split(".")[-2] for path in (tmp_path / "old").rglob("*.json")}
    assert {key[:16] for key in named} & {path.name.split(".")[-2] for path in root.rglob("*.json")} <= stored


def test_what_no_run_wrote_stays(here):
    (here / "old" / "README.md").write_text("why these numbers")
    (here / "old" / "notes.json").write_text("[1]")

    replaced(here)

    assert (here / "old" / "README.md").read_text() == "why these numbers"
    assert (here / "old" / "notes.json").read_text() == "[1]"


def test_an_update_first_gives_back_the_name_that_a_killed_one_took(here):
    (here / "old" / "README.md").write_text("why these numbers")
    (here / "old").rename(here / ".old-old")

    replaced(here)

    assert (here / "old" / "README.md").exists()
    assert sorted(path.name for path in here.iterdir()) == ["new", "old"]


def test_a_folder_of_something_else_is_never_replaced(here):
    (here / "mine").mkdir()
    (here / "mine" / "thesis.tex").write_text("years of work")

    with pytest.raises(BenchError, match="is no results folder"):
        baseline.replace(here / "mine", here / "new", [])
    assert files(here / "mine") == {Path("thesis.tex"): b"years of work"}


@pytest.mark.parametrize(("old", "new"), [("new", "new"), ("new", "new/inside"), ("new/inside", "new")])
def test_folders_in_each_other_are_refused(here, old, new):
    (here / "new" / "inside").mkdir()
    before = files(here / "new")

    with pytest.raises(BenchError, match="lie in each other"):
        baseline.replace(here / old, here / new, [])
    assert files(here / "new") == before


def test_a_damaged_document_replaces_nothing(here):
    victim = next((here / "new").rglob("fgsm.*.json"))
    found = baseline.documents(here / "new", bench.load(here / "new").cells)
    victim.write_text(victim.read_text().replace("fgsm", "fgsn", 1))
    before = files(here / "old")

    with pytest.raises(BenchError, match="damaged"):
        baseline.replace(here / "old", here / "new", found)
    assert files(here / "old") == before
    assert sorted(path.name for path in here.iterdir()) == ["new", "old"]


def documents_of(folder):
    return {path: content for path, content in files(folder).items() if path.suffix == ".json"}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the child of the fork calls no thread
@pytest.mark.parametrize("exchanges", [True, False], ids=["one call", "three renames"])
def test_wherever_an_update_fails_the_baseline_is_the_old_one_or_the_new_one(folders, tmp_path, monkeypatch, exchanges):
    """Every call that changes the disk is made to fail in turn, like a kill: nothing is cleaned up behind it."""
    if not exchanges:
        monkeypatch.setattr(baseline, "_exchanged", lambda one, other: False)
    reference = tmp_path / "reference"
    found = baseline.documents(folders / "new", bench.load(folders / "new").cells)
    baseline.replace(reference, folders / "new", found)
    states = []
    for step in range(100):
        place = tmp_path / str(step)
        place.mkdir()
        shutil.copytree(folders / "old", place / "old")
        if _killed_at(step, place / "old", folders / "new", found):
            baseline.restore(place / "old")
            states.append(files(place / "old"))
        else:
            break
    assert len(states) > len(found) + 2
    old, new = files(folders / "old"), files(reference)
    assert all(state in (old, new) for state in states)
    assert states[0] == old
    assert new in states


def _killed_at(step, old, new, found):
    """Fork, and let the child die without a word at its call number `step`; return whether it came so far."""
    child = os.fork()
    if child == 0:
        calls = [0]

        def counted(function):
            def call(*args, **more):
                calls[0] += 1
                if calls[0] > step:
                    os._exit(9)
                return function(*args, **more)

            return call

        for owner, name in ((shutil, "copyfile"), (shutil, "rmtree"), (Path, "rename"), (Path, "mkdir")):
            setattr(owner, name, counted(getattr(owner, name)))
        baseline._exchanged = counted(baseline._exchanged)
        baseline.replace(old, new, found)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2")
def test_two_folders_are_exchanged_in_one_call_where_the_system_can(here):
    old, new = files(here / "old"), files(here / "new")

    if not baseline._exchanged(os.fsencode(here / "old"), os.fsencode(here / "new")):
        pytest.skip("this file system cannot")
    assert (files(here / "old"), files(here / "new")) == (new, old)
    assert not baseline._exchanged(os.fsencode(here / "old"), os.fsencode(here / "nowhere"))


def test_what_a_killed_update_left_is_removed_when_it_is_old(here):
    left, young = here / ".tmp-00000000-old", here / ".tmp-00000001-old"
    for folder in (left, young):
        folder.mkdir()
    os.utime(left, (0, 0))

    replaced(here)

    assert not left.exists()
    assert young.exists()


def test_an_update_can_be_killed_by_a_signal(here):
    """In the middle of the copies: the old one is there, and the next update goes through."""
    script = (
        "import os, signal, shutil, sys\nfrom pathlib import Path\nfrom bench.results import baseline\n"
        "copy, done = shutil.copyfile, []\n"
        "def dying(*a):\n    done.append(copy(*a))\n    len(done) > 1 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "shutil.copyfile = dying\n"
        "new = Path(sys.argv[2])\n"
        "baseline.replace(Path(sys.argv[1]), new, [p.relative_to(new) for p in sorted(new.rglob('*.json'))])\n"
    )
    before = files(here / "old")

    done = subprocess.run([sys.executable, "-c", script, here / "old", here / "new"], check=False)

    assert done.returncode == -signal.SIGKILL
    assert files(here / "old") == before
    replaced(here)
    assert bench.load(here / "old").examples().equals(bench.load(here / "new").examples())


def test_who_made_the_cells_is_counted(here):
    found = baseline.documents(here / "new", bench.load(here / "new").cells)

    ((told, count),) = baseline.made_by(here / "new", found).items()

    assert count == 2
    assert f"atop-bench {bench.__version__}, torch " in told


def test_a_cell_that_nobody_can_be_held_to_is_told(here):
    assert baseline.unfinished(bench.load(here / "new").cells) == []
    next((here / "new").rglob("fgsm.*.json")).unlink()
    assert baseline.unfinished(bench.load(here / "new").cells) == ["net x fgsm (Linf:0.02): missing"]
