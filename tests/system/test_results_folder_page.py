"""docs/results-folder.md: its program reads a folder without this package, and comes to the same numbers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.results import documents
from bench.results.finding import Finding
from bench.results.outcome import Done
from bench.results.store import Store

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "results-folder.md").read_text(encoding="utf-8")
(BLOCK,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folders with images, skipped cells, ten draws, and a failure."""
    folder = tmp_path_factory.mktemp("run") / "bench-results"
    bench.run(
        defenses="at,atop",
        attacks="fgsm,pgd-eot-20",
        threat="Linf:0.2",
        n=8,
        checks="none",
        executor="local",
        results=folder,
    )
    return folder


def read(folder, monkeypatch):
    """The names that the program of the page leaves behind, run beside this folder."""
    monkeypatch.chdir(folder.parent)
    found = {}
    exec(compile(BLOCK.replace('"bench-results"', repr(folder.name)), "docs/results-folder.md", "exec"), found)  # noqa: S102
    return found


def compared(folder, numbers):
    """How many numbers of the program are those of `bench.load`; it fails where one is not."""
    seen = 0
    for each in bench.load(folder):
        cell = each.cell
        part = cell.slice
        told = numbers[
            (part.dataset, part.split, part.n, cell.seed, cell.defense.label, cell.attack.label, str(cell.threat))
        ]
        if isinstance(each.outcome, Done) and not each.blocked:
            verdicts = each.outcome.verdicts
            assert told == pytest.approx(100 * verdicts.adversarial.mean() / verdicts.draws), cell.title
            seen += 1
        else:
            assert isinstance(told, str), cell.title
    return seen


def test_numbers_images_and_reasons_are_those_of_the_package(run, monkeypatch):
    found = read(run, monkeypatch)

    assert compared(run, found["numbers"]) == 3
    (skipped,) = [told for told in found["numbers"].values() if isinstance(told, str)]
    assert "not for deterministic defenses" in skipped
    (path,) = [path for path in found["images"] if "fgsm" in path.name and path.parent.name == "at"]
    assert (found["images"][path]["x_adv"] == bench.load(run).images("at", "fgsm").adversarial).all()


@pytest.mark.parametrize("name", ["cifar10", "cifar10-claims"])
def test_it_reads_what_this_repository_publishes(name, monkeypatch):
    folder = ROOT / "results" / name

    assert compared(folder, read(folder, monkeypatch)["numbers"]) > 30


def test_a_block_leaves_no_number(run, tmp_path, monkeypatch):
    """Before the attacks or after them, for the defense it is about and for no other."""
    folder = tmp_path / "bench-results"
    shutil.copytree(run, folder)
    finding = Finding("S05", "block", "1", "0", "S05: it answers from the label")
    (at, *_), (atop, *_) = (
        [each.cell for each in bench.load(folder) if each.cell.defense.label == name] for name in ("at", "atop")
    )
    Store(folder).keep_preflight(at.defense, at.slice, [finding], "key")

    numbers = read(folder, monkeypatch)["numbers"]
    assert {told for where, told in numbers.items() if where[4:6] == ("at", "fgsm")} == {finding.message}
    assert all(isinstance(told, float) for where, told in numbers.items() if where[4] == "atop")

    Store(folder).keep_checks(atop, [finding], "key")
    numbers = read(folder, monkeypatch)["numbers"]
    assert {told for where, told in numbers.items() if where[4] == "atop"} == {finding.message}


def test_a_changed_number_is_noticed(run, tmp_path, monkeypatch):
    folder = tmp_path / "bench-results"
    shutil.copytree(run, folder)
    (path,) = (folder / "digits" / "Linf-0.2" / "at").glob("fgsm.*.json")
    path.write_text(re.sub(r'("adversarial": ")(.)', lambda each: each[1] + "10"[int(each[2])], path.read_text()))

    with pytest.raises(AssertionError, match="fgsm"):
        read(folder, monkeypatch)


def test_it_needs_neither_this_package_nor_torch(run):
    """In a process that cannot import them."""
    code = f"import sys; sys.modules.update(dict.fromkeys(['bench', 'torch', 'pandas']))\n{BLOCK}"

    made = subprocess.run([sys.executable, "-c", code], cwd=run.parent, capture_output=True, text=True, check=True)

    assert "fgsm Linf:0.2" in made.stdout


def test_the_page_knows_every_format_and_every_key_of_a_cell(run):
    (path,) = (run / "digits" / "Linf-0.2" / "at").glob("fgsm.*.json")
    document = documents.read(path)
    words = set(re.findall(r"`([\w-]+)`", PAGE))

    assert f"this version writes {documents.FORMAT}" in PAGE
    assert set(document) <= words
    assert {*document["verdicts"], *document["cost"], *document["evidence"], *document["ledger"]} <= words
    assert set(document["cell"]) <= words
