"""Files travel to machines that do not have them, and arrive to the byte."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.harness.executors import shipping
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def home(tmp_path):
    """The machine of the run: a user's file with neighbours, an attack of theirs, and a checkpoint."""
    home = tmp_path / "home"
    (home / "parts").mkdir(parents=True)
    (home / "mine.py").write_text("import helper\nfrom parts import inner\n")
    (home / "helper.py").write_text("import json\n")
    (home / "parts/__init__.py").write_text("")
    (home / "parts/inner.py").write_text("x = 1\n")
    (home / "unrelated.py").write_text("secret = 1\n")
    (home / "attack.py").write_text("y = 2\n")
    (home / "net.safetensors").write_bytes(bytes(range(256)) * 9)
    return home


@pytest.fixture
def cell(home):
    net = home / "net.safetensors"
    inner = DefenseRef("at", "bench.defenses.at:build", "d1", checkpoints={"at": str(net)}, weights={"at": digest(net)})
    mine = DefenseRef("mine", f"{home}/mine.py:build", "d0", behind=inner)
    stage = AttackRef("theirs", f"{home}/attack.py", "a0")
    whole = AttackRef("all", "a + b", "a1", stages=(stage,), reserve=(stage,), surrogate=inner)
    return Cell(mine, whole, ThreatModel.parse("Linf:0.1"), Slice("digits", "test", 8, "s"), 0, 1, 8)


def names(tree):
    return {name for name, _ in tree.files}


def test_a_tree_holds_what_is_imported_and_nothing_else(cell, home):
    found = shipping.trees(cell)
    assert {path: names(tree) for path, tree in found.items()} == {
        f"{home}/mine.py": {"mine.py", "helper.py", "parts/__init__.py", "parts/inner.py"},
        f"{home}/attack.py": {"attack.py"},
        f"{home}/net.safetensors": {"net.safetensors"},
    }
    assert [tree.files[0][0] for tree in found.values()] == [Path(path).name for path in found]
    assert all(digest(home / name) == sha for tree in found.values() for name, sha in tree.files)


def test_a_machine_without_the_files_gets_them(cell, home, tmp_path):
    trees = shipping.trees(cell)
    sent = {sha: shipping.content(tree, name) for tree in trees.values() for name, sha in tree.files}
    original = {name: (home / name).read_bytes() for tree in trees.values() for name, _ in tree.files}
    shutil.rmtree(home)
    asked = []

    def fetch(sha):
        asked.append(sha)
        return sent[sha]

    node = tmp_path / "node"
    places = {path: str(shipping.settle(tree, node, fetch) / tree.files[0][0]) for path, tree in trees.items()}
    assert sorted(asked) == sorted(sent)
    assert all(path.startswith(str(node)) for path in places.values())
    for path, tree in trees.items():
        for name, _ in tree.files:
            assert (Path(places[path]).parent / name).read_bytes() == original[name]
    here = shipping.moved(cell, places)
    assert here.key == cell.key
    assert here.defense.source == places[f"{home}/mine.py"] + ":build"
    assert here.defense.behind.source == "bench.defenses.at:build"
    checkpoint = {"at": places[f"{home}/net.safetensors"]}
    assert here.defense.behind.checkpoints == here.attack.surrogate.checkpoints == checkpoint
    assert here.attack.stages[0].source == here.attack.reserve[0].source == places[f"{home}/attack.py"]
    assert str(home) not in repr(replace(here, slice=cell.slice))
    # A second task finds them there.
    assert [shipping.settle(tree, node, None) for tree in trees.values()] == [Path(p).parent for p in places.values()]


def test_a_machine_that_has_the_files_reads_its_own(cell, home, tmp_path):
    for tree in shipping.trees(cell).values():
        assert shipping.settle(tree, tmp_path / "node", None) == home
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize("changed", ["mine.py", "helper.py"])
def test_other_bytes_under_the_same_path_are_not_taken(cell, home, tmp_path, changed):
    tree = shipping.trees(cell)[f"{home}/mine.py"]
    sent = {sha: shipping.content(tree, name) for name, sha in tree.files}
    (home / changed).write_text("raise SystemExit\n")
    there = shipping.settle(tree, tmp_path / "node", sent.__getitem__)
    assert there != home
    assert digest(there / changed) == dict(tree.files)[changed]


def test_what_was_damaged_on_the_way_is_refused(cell, home, tmp_path):
    tree = shipping.trees(cell)[f"{home}/net.safetensors"]
    sent = shipping.content(tree, "net.safetensors")
    (home / "net.safetensors").unlink()
    with pytest.raises(BenchError, match=r"net.safetensors did not arrive as it was sent"):
        shipping.settle(tree, tmp_path / "node", lambda _sha: np.delete(sent, 7))
    assert not list((tmp_path / "node").rglob("*.safetensors"))


def test_a_file_that_changed_since_is_not_sent(cell, home):
    tree = shipping.trees(cell)[f"{home}/net.safetensors"]
    (home / "net.safetensors").write_bytes(b"other")
    with pytest.raises(BenchError, match="was changed while the run was under way: run again"):
        shipping.content(tree, "net.safetensors")
    (home / "net.safetensors").unlink()
    with pytest.raises(BenchError, match=r"cannot read .*: No such file"):
        shipping.content(tree, "net.safetensors")
