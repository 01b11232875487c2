"""`bench import` and `bench leaderboard --robustbench` as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.datasets.digits import digits

EXAMPLES = digits("test").first(8)
COMMAND = ["import", "a.npz", "--defense", "at", "--threat", "Linf:0.2", "--n", 8, "--checks", "none"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    np.savez("a.npz", x_adv=(EXAMPLES.x + 0.1).clip(0, 1), labels=EXAMPLES.y)


def bench(*words):
    return main([str(word) for word in words])


def test_an_import_prints_what_it_leaves_and_shows_in_every_table(capsys):
    assert (
        bench("run", "--defenses", "at", "--attacks", "fgsm", "--threat", "Linf:0.2", "--n", 8, "--checks", "none") == 0
    )
    capsys.readouterr()

    assert bench(*COMMAND, "--name", "smith", "--source", "Smith 2026") == 0

    out, err = capsys.readouterr()
    assert "import:smith (Linf:0.2), by Smith 2026, 8 of 8 images:" in out
    assert "best known under Linf:0.2:" in out
    assert "8 of 8 images covered; paired by the order of this benchmark" in err
    assert bench("table") == 0
    assert "best known" in capsys.readouterr().out
    assert bench("leaderboard", "--csv", "a.csv") == 0
    assert ",best-known,,Linf:0.2," in Path("a.csv").read_text()
    assert bench("results", "verify") == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["import", "none.pt", *COMMAND[2:]], "none.pt"),
        (["import", "a.npz", "--defense", "at", "--n", 8], "--threat is missing"),
        ([*COMMAND, "--n", 4, "--label", "<b>"], "--label"),
        ([*COMMAND, "--threat", "Linf:0.05"], "V04: 8 of 8 examples leave Linf:0.05"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, told, capsys):
    assert bench(*words) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert "Traceback" not in err
    assert not Path("bench-results").exists()


def test_entries_of_robustbench_are_written_and_what_they_lack_is_said(capsys):
    options = ["--attacks", "autoattack", "--threat", "Linf:0.2,stadv:0.4", "--n", 4, "--checks", "none"]
    assert bench("run", "--defenses", "standard", *options) == 0
    capsys.readouterr()

    assert bench("leaderboard", "--robustbench", "model_info") == 0

    out = capsys.readouterr().out
    entry = json.loads(Path("model_info/digits/Linf/standard.json").read_text())
    assert (entry["dataset"], entry["eps"], entry["autoattack_acc"]) == ("digits", "0.2", "0.00")
    assert "its card does not say link, name, authors" in " ".join(out.split())


def test_without_autoattack_there_is_nothing_to_export(capsys):
    assert (
        bench(
            "run", "--defenses", "standard", "--attacks", "fgsm", "--threat", "Linf:0.2", "--n", 4, "--checks", "none"
        )
        == 0
    )
    capsys.readouterr()

    assert bench("leaderboard", "--robustbench", "model_info") == 2

    assert "run --attacks autoattack" in capsys.readouterr().err
    assert not Path("model_info").exists()
