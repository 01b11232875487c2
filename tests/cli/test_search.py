"""`bench search-attack` as it is typed."""

import json
import tomllib

import pytest

from bench.cli import main


@pytest.mark.slow
def test_a_search_prints_what_it_found_and_leaves_a_file_that_runs(tmp_path, capsys):
    """On the undefended network hardly anything is right under what it finds, on images that it has not seen."""
    out, folder = tmp_path / "found.toml", tmp_path / "results"
    common = ["--threat", "Linf:0.2", "--n", "16", "--checks", "none", "--device", "cpu", "--results", str(folder)]

    status = main(["search-attack", "--defense", "standard", "--budget", "600", "--out", str(out), *common, "--json"])

    told = json.loads(capsys.readouterr().out)
    assert status == 0
    assert told["attacks"] == tomllib.loads(out.read_text())["attacks"]
    assert told["passes"] <= 600 * 16
    (row,) = told["test"]
    assert (row["attack"], row["split"]) == ("found", "test")
    assert row["accuracy"] <= 0.1
    assert main(["run", "--defenses", "standard", "--attacks", str(out), *common]) == 0
    assert "0 to run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "0"], "--budget 0 is out of range: give 1 to 10,000,000 passes per image"),
        (["--budget", "100", "--out", "found.json"], "must end in .toml"),
        (["--budget", "100", "--threat", "fog"], "a search is under one of"),
        (["--budget", "100", "--beside", "nothing"], "unknown attack 'nothing'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)

    assert main(["search-attack", "--defense", "standard", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
