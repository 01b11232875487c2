"""Histories of folders, runs and commits, from Python and from the command line."""

from __future__ import annotations

import json

import pytest

from bench import api
from bench.cli import main
from bench.errors import BenchError
from bench.results.finding import Finding
from bench.results.store import Store
from bench.threats import ThreatModel
from tests.report.histories import cell_of, commit, fill, git

LABEL = "<img src=x onerror=alert(1)>\x1b[2J"


@pytest.fixture
def repository(tmp_path):
    """Three commits of a results folder; the third has other weights under the same label, and fewer right."""
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q")
    folder = root / "results"
    fill(folder, (cell_of(), 150), (cell_of(LABEL), 20))
    commit(root, "Measure")
    fill(folder, (cell_of(), 150), (cell_of(attack="fgsm"), 160))
    commit(root, f"Add FGSM {LABEL}")
    fill(folder, (cell_of(digest="new"), 90), (cell_of(attack="fgsm", digest="new"), 155))
    commit(root, "Train again")
    return root, folder


def points(found, defense="at", attack="pgd-20"):
    (row,) = (each for each in found.rows if (each.place.defense, each.place.attack) == (defense, attack))
    return row.points


def test_the_commits_of_a_folder_are_followed(repository):
    _, folder = repository

    found = api.history(git=folder)

    assert [each.name.split(" ", 1)[1] for each in found.stages] == ["Measure", f"Add FGSM {LABEL}", "Train again"]
    assert [each.accuracy.value for each in points(found)] == [0.75, 0.75, 0.45]
    assert [each.changed for each in points(found)] == [(), (), ("defense",)]
    assert [each.verdict for each in points(found)] == ["", "not seen to move", "fell"]
    assert [each.at for each in points(found, attack="fgsm")] == [1, 2]
    assert points(found, attack="fgsm")[1].verdict == "not seen to move"
    assert [each.accuracy.value for each in points(found, LABEL)] == [0.1] * 3


def test_only_the_last_commits(repository):
    assert [each.name.split(" ", 1)[1] for each in api.history(git=repository[1], last=1).stages] == ["Train again"]


def test_the_runs_of_one_folder_are_followed(repository):
    """After each run what was asked for by then; the latest request of a table entry wins, as in the table."""
    _, folder = repository

    found = api.history(folder)

    assert len(found.stages) == 3
    assert [each.accuracy.value for each in points(found)] == [0.75, 0.75, 0.45]
    assert [each.changed for each in points(found)] == [(), (), ("defense",)]
    assert [each.at for each in points(found, attack="fgsm")] == [1, 2]
    last = {(each.cell.title, each.cell.key) for each in api.load(folder)}
    assert {(each.cell.title, each.cell.key) for each in found.stages[-1].results} == last


def test_several_folders_are_in_the_given_order_or_by_time(tmp_path):
    late, early = tmp_path / "late", tmp_path / "early"
    fill(early, (cell_of(), 150))
    fill(late, (cell_of(), 90))

    given, by_time = (api.history(late, early, by_time=flag) for flag in (False, True))

    assert [each.accuracy.value for each in points(given)] == [0.45, 0.75]
    assert [each.accuracy.value for each in points(by_time)] == [0.75, 0.45]
    assert [points(each)[1].verdict for each in (given, by_time)] == ["rose", "fell"]


def test_a_part_can_be_chosen_and_a_typo_is_a_mistake(repository):
    _, folder = repository

    found = api.history(git=folder, defenses="at", attacks="fgsm")

    assert {(each.place.defense, each.place.attack) for each in found.rows} == {("at", ""), ("at", "fgsm")}
    with pytest.raises(BenchError, match="stored attack"):
        api.history(git=folder, attacks="fgms")


def test_a_block_under_another_threat_model_is_one_of_its_stage(tmp_path):
    """Chosen or not, the threat model that a check blocks leaves the defense no number, then and there."""
    l2 = cell_of(threat=ThreatModel.parse("L2:0.5"))
    folders = [fill(tmp_path / name, (cell_of(), 120), (l2, 140)) for name in ("before", "after")]
    Store(folders[1]).keep_checks(l2, [Finding("A05", "block", "3", "0", "A05: 3 silent successes")], "key")

    found = api.history(*folders, threat="Linf")

    assert [[point.state for point in row.points] for row in found.rows] == [["done", "blocked"]] * 2


def test_a_damaged_commit_does_not_hide_the_others(repository):
    root, folder = repository
    document = next(folder.glob("runs/*.json"))
    document.write_text("{")
    commit(root, "Break")

    found = api.history(git=folder)

    assert len(found.stages) == 4
    assert found.stages[3].trouble
    assert [each.at for each in points(found)] == [0, 1, 2]
    assert "4 (" in str(found)
    assert "bench-history-" not in str(found)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"last": 0, "git": "x"}, "--last 0"),
        ({"alpha": 0.7, "git": "x"}, "--alpha 0.7"),
        ({"min_effect": 2, "git": "x"}, "--min-effect 2"),
    ],
)
def test_a_mistake_is_one_line(given, says):
    with pytest.raises(BenchError, match=says):
        api.history(**given)


def test_folders_and_git_together_are_a_mistake(repository):
    with pytest.raises(BenchError, match="either"):
        api.history(repository[1], git=repository[1])


def test_the_command_prints_writes_and_draws(repository, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    _, folder = repository
    files = [tmp_path / name for name in ("h.csv", "h.svg")]

    status = main(["history", "--git", str(folder), "--csv", str(files[0]), "--plot", str(files[1])])

    told = capsys.readouterr().out
    assert status == 0
    assert "|d 45.0 v" in told
    assert "\x1b" not in told
    assert all(each.stat().st_size > 0 for each in files)
    assert "onerror=alert(1)>" not in files[1].read_text()


def test_the_command_prints_json(repository, capsys):
    assert main(["history", str(repository[1]), "--json", "--attacks", "pgd-20", "--defenses", "at"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert [each["accuracy"] for each in told["rows"][1]["points"]] == [75.0, 75.0, 45.0]


def test_without_folders_the_default_one_is_followed(repository, capsys, monkeypatch):
    monkeypatch.setenv("BENCH_RESULTS", str(repository[1]))

    assert main(["history"]) == 0
    assert "|d 45.0 v" in capsys.readouterr().out


def test_a_wrong_file_name_is_a_mistake_before_anything_is_read(capsys, tmp_path):
    assert main(["history", str(tmp_path / "nowhere"), "--plot", "x.gif"]) == 2
    assert "x.gif" in capsys.readouterr().err
