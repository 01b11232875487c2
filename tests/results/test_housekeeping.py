"""A results folder as a whole: its runs, its damage, and what nobody asked for."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from bench.cli import main
from bench.results import housekeeping
from tests.results.shards import cell, fill

ROOT = Path(__file__).resolve().parents[2]
FAST = ["--threat", "Linf:0.2", "--n", "8", "--checks", "none", "--executor", "local"]


@pytest.fixture
def filled(tmp_path, monkeypatch, capsys):
    """Two runs in the default folder, one of them of a worst case with parts of its own."""
    monkeypatch.chdir(tmp_path)
    for defenses, attacks in (("at,standard", "fgsm"), ("atop", "pgd-20[steps=1],pgd-eot-20[steps=1,eot=2]")):
        assert main(["run", "--defenses", defenses, "--attacks", attacks, *FAST]) == 0
    capsys.readouterr()
    return tmp_path / "bench-results"


def test_the_runs_of_a_folder_are_listed(filled, capsys):
    """When, how many cells, of what, by which code."""
    assert main(["results", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "at, standard" in lines[2]
    assert "atop" in lines[3]

    assert main(["results", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["cells"], row["skipped"], row["attacks"]) for row in rows] == [
        (2, 0, ["fgsm"]),
        (2, 0, ["pgd-20[steps=1]", "pgd-eot-20[eot=2,steps=1]"]),
    ]


def test_what_the_first_format_asked_is_listed_without_a_time(capsys):
    """Its one file of what was asked has none."""
    assert main(["results", "list", "--results", str(ROOT / "tests" / "golden" / "format-1")]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("before")


@pytest.mark.parametrize("folder", ["baseline", "cifar10", "cifar10-claims"])
def test_published_results_are_whole(folder, capsys):
    assert main(["results", "verify", "--results", str(ROOT / "results" / folder)]) == 0
    assert "0 damaged" in capsys.readouterr().out
    assert main(["results", "prune", "--dry-run", "--results", str(ROOT / "results" / folder)]) == 0
    assert capsys.readouterr().out == "0 files to remove\n"


def test_the_command_of_the_published_baseline_finds_all_of_it(capsys):
    """Its keys name versions: whatever else changed, it was made by code that gives these verdicts."""
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("GATED = ")]

    assert main(["run", *line.split()[2:], "--dry-run", "--results", str(ROOT / "results" / "baseline")]) == 0
    assert "images: 0 to run, 0 to derive, 18 stored" in capsys.readouterr().out


@pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10")
@pytest.mark.parametrize("number", range(3))
def test_the_commands_of_the_published_table_find_all_of_it(number, monkeypatch, capsys):
    """As they are printed beside it, for the table and for the claims."""
    text = (ROOT / "results" / "cifar10" / "README.md").read_text().replace("\\\n", " ")
    commands = [line.split() for line in text.splitlines() if line.startswith("    bench run ")]
    assert len(commands) == 3
    monkeypatch.chdir(ROOT)
    words = [word.strip('"') for word in commands[number][1:]]
    words[words.index("FOLDER")] = os.environ["BENCH_DATA"]

    assert main([*words, "--dry-run"]) == 0
    assert "images: 0 to run, 0 to derive, " in capsys.readouterr().out


def test_a_changed_document_is_named(filled, capsys):
    """One count in one cell; the others are said to be whole."""
    assert main(["results", "verify"]) == 0
    whole = int(capsys.readouterr().out.split()[0])
    (path,) = filled.rglob("standard/fgsm.*.json")
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))

    assert main(["results", "verify"]) == 1

    told = capsys.readouterr()
    assert path.name in told.err
    assert told.out == f"{whole} documents, 1 damaged\n"


def test_changed_images_are_named(filled, capsys):
    """A pixel of an adversarial example, and the examples of one cell in place of another's."""
    one, other, *_ = sorted(filled.rglob("*.safetensors"))
    content = bytearray(one.read_bytes())
    content[-3] ^= 1
    one.write_bytes(content)
    other.rename(other.with_name("fgsm.0123456789abcdef.safetensors"))

    assert main(["results", "verify"]) == 1

    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 2
    assert one.name in told.err
    assert "fgsm.0123456789abcdef.safetensors" in told.err


def test_pruning_takes_what_no_run_names_and_nothing_else(filled, capsys):
    """A cell under another key, its images, a shard of a finished cell, an old file; all that is shown stays."""
    before = sorted(path for path in filled.rglob("*") if path.is_file())
    (cell,) = filled.rglob("standard/fgsm.*.json")
    orphan = cell.with_name("fgsm.0123456789abcdef.json")
    shutil.copy(cell, orphan)
    images = orphan.with_suffix(".safetensors")
    images.write_bytes(b"")
    shutil.copy(cell, cell.with_name(f"{cell.stem}.shard-3.json"))
    old, young = cell.with_name(".tmp-1-fgsm.json"), cell.with_name(".tmp-2-fgsm.json")
    lock = filled / "locks" / "0123"
    lock.parent.mkdir()
    for path in (old, young, lock):
        path.touch()
    for path in (old, lock):
        os.utime(path, (time.time() - 7200,) * 2)

    assert main(["results", "prune", "--dry-run"]) == 0
    assert "5 files to remove" in capsys.readouterr().out
    assert orphan.exists()
    assert main(["results", "prune"]) == 0

    assert sorted(path for path in filled.rglob("*") if path.is_file()) == sorted([*before, young])
    assert main(["run", "--defenses", "at,standard", "--attacks", "fgsm", *FAST]) == 0
    assert "0 to run" in capsys.readouterr().err


@pytest.mark.fault("F14")
@pytest.mark.parametrize("place", ["runs", "recognized", "digits/Linf-0.2/at", "checks"])
def test_what_another_run_is_writing_is_read_by_nobody(filled, place, capsys):
    """Half of a document under its temporary name, or the whole of it: as a killed run leaves it for ever."""
    (folder := filled / place).mkdir(exist_ok=True)
    documents = list(folder.glob("*.json")) or [next(filled.rglob("at/fgsm.*.json"))]
    commands = (["table"], ["results", "list"], ["results", "verify"], ["results", "prune"])

    def answers():
        return [(main(words), capsys.readouterr().out) for words in commands]

    before = answers()
    for number, path in enumerate(documents):
        (folder / f".tmp-{number:08x}-{path.name}").write_bytes(path.read_bytes()[:100])
        (folder / f".tmp-1{number:07x}-{path.name}").write_bytes(path.read_bytes())

    assert answers() == before


def test_parts_of_a_worst_case_are_kept(tmp_path, monkeypatch, capsys):
    """AutoAttack of a stochastic defense is derived from cells that are no columns of their own."""
    monkeypatch.chdir(tmp_path)
    words = ["run", "--defenses", "atop", "--attacks", "autoattack", "--threat", "Linf:0.2", "--n", "2"]
    assert main([*words, "--checks", "none", "--executor", "local"]) == 0
    capsys.readouterr()

    assert main(["results", "prune"]) == 0

    assert capsys.readouterr().out == "0 files removed\n"


def test_the_published_folders_have_nothing_to_prune(capsys):
    """Nothing that was published is taken for a stray."""
    for name in ("baseline", "cifar10"):
        assert main(["results", "prune", "--dry-run", "--results", str(ROOT / "results" / name)]) == 0
        assert capsys.readouterr().out == "0 files to remove\n"


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path, capsys):
    """One line with the remedy."""
    for command in ("list", "verify", "prune"):
        assert main(["results", command, "--results", str(tmp_path / "nowhere")]) == 2
        assert "fill it with" in capsys.readouterr().err


def test_a_cell_that_a_run_asks_for_while_the_folder_is_pruned_stays(tmp_path, monkeypatch):
    """The files are listed first, and only then what was asked for: whatever is listed was asked for before."""
    fill(tmp_path, cell("fgsm"))
    asked = housekeeping._asked

    def late(root):
        found = list(asked(root))
        fill(tmp_path, cell("pgd-20"))  # another run asks, and finishes its cell
        return iter(found)

    monkeypatch.setattr(housekeeping, "_asked", late)

    assert housekeeping.strays(tmp_path) == []


def test_a_lock_that_its_run_removes_meanwhile_is_no_stray(tmp_path):
    """It was listed, and is gone when its age is asked for."""
    assert housekeeping._age(tmp_path / "locks" / "gone") == 0
