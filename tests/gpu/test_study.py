"""What one call takes as done, what it packs, and what it says where a package is missing."""

from __future__ import annotations

import json
import sys
import zipfile

import pytest

from bench.catalogue import weights
from gpu import study
from gpu.call import options
from gpu.calls import CALLS


def call(name, tmp_path, *words, home=None):
    given = options("gpu", None).parse_args(["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), *words])
    return study.Study(CALLS[name], given, home or tmp_path / "checkout")


def put(folder, *names, unfinished=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.safetensors").write_bytes(b"weights")
        (folder / f"{name}.json").write_text(json.dumps({"unfinished": {"done": 1, "of": 2}} if unfinished else {}))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout into which an earlier parcel was unpacked."""
    folder = tmp_path / "checkout"
    monkeypatch.setattr(weights, "shipped", lambda: folder / "defenses" / "weights")
    put(folder / "defenses" / "weights" / "cifar10", "standard-resnet-18", "at-resnet-18")
    put(folder / "defenses" / "weights" / "cifar10", "ap-resnet-18", unfinished=True)
    verdicts = folder / "results" / "cifar10-resnet-18" / "cell.json"
    verdicts.parent.mkdir(parents=True)
    verdicts.write_text("{}")
    return folder


def test_a_call_on_another_machine_goes_on_from_the_checkout(checkout, tmp_path):
    """Final weights and verdicts that came home are not computed again; unfinished weights are no work done."""
    first = call("cifar10", tmp_path)
    first.bring()

    assert first.unfinished() == ["ap-resnet-18", "atop-resnet-18"]
    assert (first.results / "cell.json").read_text() == "{}"
    assert call("diffusion", tmp_path).unfinished() == ["diffpure-resnet-18"]
    assert call("cifar100", tmp_path).unfinished() == list(CALLS["cifar100"].trainings)


def test_verdicts_of_this_machine_are_never_replaced_by_older_ones(checkout, tmp_path):
    later = call("cifar10", tmp_path)
    later.results.mkdir(parents=True)
    (later.results / "newer.json").write_text("{}")

    later.bring()

    assert [path.name for path in later.results.iterdir()] == ["newer.json"]


def test_a_rehearsal_takes_nothing_from_the_checkout(checkout, tmp_path):
    """It is about the calls themselves, which would have nothing to do."""
    tiny = call("cifar10", tmp_path, "--tiny")
    tiny.bring()

    assert tiny.unfinished() == list(CALLS["cifar10"].trainings)
    assert not tiny.results.exists()


def test_weights_of_this_machine_come_before_those_of_the_checkout(checkout, tmp_path):
    own = call("cifar10", tmp_path)
    put(own.weights / "cifar10", "at-resnet-18", unfinished=True)

    assert "at-resnet-18" in own.unfinished()


def test_a_parcel_holds_the_weights_of_its_own_trainings(tmp_path):
    """Two calls on one dataset share a folder; neither sends home what the other did."""
    one = call("diffusion", tmp_path)
    put(one.weights / "cifar10", "standard-resnet-18", "diffpure-resnet-18", "at-resnet-18", "ap-resnet-18")
    one.out.mkdir()
    one.pack()

    with zipfile.ZipFile(one.out / "diffusion.zip.0") as archive:
        assert {name.rpartition("/")[2].partition(".")[0] for name in archive.namelist()} == {
            *("standard-resnet-18", "diffpure-resnet-18")
        }


def test_without_diffusers_the_call_says_so_at_once(tmp_path, monkeypatch, capsys):
    """One line with the remedy, status 2, and nothing was begun."""
    monkeypatch.setitem(sys.modules, "diffusers", None)
    words = ["diffusion", "--tiny", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]

    assert study.main(words) == 2

    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("gpu: ")
    assert "diffusers" in said
    assert "pip install 'atop-bench[diffusion]'" in said
    assert not (tmp_path / "work").exists()


def test_a_size_changes_the_values_that_a_recipe_has():
    """A purifier has no steps, and a diffusion model no attack."""
    size = CALLS["cifar10"].tiny

    assert set(study.overrides("ap-resnet-18", size)) == {"width", "batch_size", "epochs", "shift"}
    assert "steps" in study.overrides("at-resnet-18", size)
    assert study.overrides("at-resnet-18", CALLS["cifar10"].full) == {}
