"""`bench plot` and `bench images`, as a user types them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.api.results import Results
from bench.api.stored import load
from bench.cli import main
from bench.cli.plot import plot
from bench.results.store import Store
from tests.report.figures.drawn import result, results

CIFAR = Path(__file__).resolve().parents[2] / "results" / "cifar10"


def bench(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A ladder with a sweep beside it, of a few images."""
    folder = tmp_path_factory.mktemp("run")
    for more in (("--study", "ladder", "--threat", "Linf:0.2"), ("--attacks", "pgd-20[steps=2]", "--eps", "0.1,0.2")):
        status = bench(
            *("run", "--defenses", "ap", "--n", 8, "--checks", "none", "--executor", "local", "--results", folder),
            *more,
        )
        assert status == 0
    return folder


@pytest.mark.parametrize("kind", ["matrix", "forest", "curves", "ladder", "cost"])
def test_every_kind_of_figure_is_written_where_it_is_asked_for(kind, run, tmp_path, capsys):
    path = tmp_path / "figures" / f"{kind}.pdf"

    assert bench("plot", kind, "--results", run, "--threat", "Linf", "--out", path, "--width", "column") == 0

    assert path.read_bytes().startswith(b"%PDF")
    assert f"{kind}  {path}" in capsys.readouterr().out


def test_a_loaded_ladder_has_its_undefended_base(run):
    (found,) = [each for each in load(run).ladders("ladder") if each.title.startswith("ap under Linf:0.2")]

    assert found.base is not None
    assert found.base.n == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("matrx", "--out", "a.pdf"), "unknown figure 'matrx': did you mean matrix?"),
        (("matrix", "--out", "a.doc"), "--out 'a.doc' is no file for a figure: end its name in .pdf"),
        (("matrix", "--out", "a.pdf", "--width", "poster"), "--width 'poster' is unknown: give column, page, points"),
        (
            ("matrix", "--out", "a.pdf", "--width", "3.25"),
            "--width '3.25' is unknown: give column, page, points from 145",
        ),
        (("cost", "--out", "a.pdf", "--judge", "worst"), "--judge 'worst' makes no sense for cost"),
        (("matrix", "--out", "a.pdf", "--study", "ladder"), "--study 'ladder' makes no sense for matrix"),
        (("matrix", "--out", "a.pdf", "--judge", "best"), "unknown judge of these results 'best'"),
        (("ladder", "--out", "a.pdf", "--study", "ladde"), "unknown study 'ladde': did you mean ladder?"),
        (("curves", "--out", "a.pdf"), "run a minimum-norm attack such as fmn"),
        (("matrix", "--out", "a.pdf", "--dataset", "digits"), "digits"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert bench("plot", *words, "--results", CIFAR) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_several_sets_of_images_are_a_file_each(tmp_path, capsys):
    both = [*results(), *(result(*_parts(each), each.outcome, draws=each.cell.draws, seed=1) for each in results())]

    status = plot(Results(tuple(both), Store(tmp_path)), "forest", tmp_path / "a.svg", "page", "", "")

    assert status == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "a-digits-test-n4-seed0.svg",
        "a-digits-test-n4-seed1.svg",
    ]


def _parts(each):
    return each.cell.defense.label, each.cell.attack.label, str(each.cell.threat)


def test_images_of_a_cell_are_a_picture_and_arrays(run, tmp_path, capsys):
    assert bench("images", "ap", "pgd-20", "--threat", "Linf:0.2", "--results", run, "--out", tmp_path) == 0

    (arrays,) = tmp_path.glob("*.npz")
    assert np.array_equal(np.load(arrays)["adversarial"], load(run).images("ap", "pgd-20", "Linf:0.2").adversarial)
    assert str(arrays) in capsys.readouterr().out


def test_published_results_keep_no_images(tmp_path, capsys):
    assert bench("images", "at", "pgd-20", "--threat", "Linf", "--results", CIFAR, "--out", tmp_path) == 2

    assert "no images are kept of these cells: results that are published leave them out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_copied_folder_gives_the_same_bytes(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")

    for name, folder in (("a", run), ("b", tmp_path / "copy")):
        assert bench("plot", "matrix", "--results", folder, "--out", tmp_path / f"{name}.svg") == 0

    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
