"""What a results folder holds: every file has a kind, is read whole, and is what its name says."""

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.results.inventory import inventory
from bench.results.outcome import Done
from bench.results.store import Store
from tests.results.shards import cell, fill, keep_images, keep_preflight

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """One file of each kind that a run writes, and one more in the store beside."""
    root = tmp_path / "r"
    fill(root, cell())
    fill(root, cell("fgsm"), [1])
    keep_images(root, cell(), 0.5)
    keep_preflight(root, cell(), "flag")
    store = Store(root)
    store.fail(cell("square"), "RuntimeError: lost")
    store.keep_answers("mine", "b" * 64, "m1", "1 2 3")
    store.keep_search_formats(cell().defense, cell().slice, {"search": "float32"}, "k" * 20)
    store.aside().finish(cell("noise"), [Done(*[store.find(cell()).verdicts])], {})
    return root


def test_every_file_of_a_folder_has_its_kind(folder):
    files, others = inventory(folder)

    assert sorted(file.kind for file in files) == sorted(
        ["answers", "cell", "cell", "failed", "findings", "formats", "images", "run", "run", "shard"]
    )
    assert others == []
    assert [file.path for file in files] == sorted(path for path in folder.rglob("*") if path.is_file())
    assert {file.severity for file in files if file.kind == "findings"} == {"flag"}
    assert {file.shard for file in files if file.kind == "shard"} == {1}


def test_files_of_one_cell_have_one_stem(folder):
    files, _ = inventory(folder)
    stems = {file.kind: file.stem for file in files if "pgd-20" in file.place.name}

    assert stems["cell"] == stems["images"]
    assert f"{stems['cell']}.json" in {str(file.place) for file in files}


def test_what_a_file_holds_is_read_back(folder):
    (file,) = [file for file in inventory(folder)[0] if file.kind == "shard"]
    found, done, made = file.outcome()

    assert (found, found.key) == (cell("fgsm"), cell("fgsm").key)
    assert len(done.verdicts) == 4
    assert made["torch"] == "2.13.0"
    assert file.bytes() == file.path.read_bytes()


@pytest.mark.parametrize("name", ["baseline", "cifar10", "cifar10-claims"])
def test_published_folders_are_read_whole(name):
    files, others = inventory(ROOT / "results" / name)

    assert {file.path for file in files} == {
        path for path in (ROOT / "results" / name).rglob("*") if path.suffix in (".json", ".safetensors")
    }
    assert all(not other.endswith((".json", ".safetensors")) for other in others)


@pytest.mark.parametrize(
    "place",
    ["x.json", "digits/x.json", "digits/a/b/x.json", "digits/a/b/c/x.json", "runs/a/b.json", "archives/x.safetensors"],
)
def test_a_document_where_none_belongs_is_named(place, folder):
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(next(folder.rglob("fgsm*.json")).read_bytes())

    with pytest.raises(BenchError, match="lies where") as raised:
        inventory(folder)

    assert repr(str(path)) in str(raised.value)


def test_hostile_names_are_told_harmlessly(folder):
    """A terminal that prints the message must not obey it."""
    (folder / "digits" / "\x1b[2J\n<img src=x onerror=alert(1)>.json").write_text("{}")

    with pytest.raises(BenchError) as raised:
        inventory(folder)

    assert str(raised.value).isprintable()
