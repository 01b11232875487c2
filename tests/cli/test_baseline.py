"""`bench baseline` as a user types it."""

from __future__ import annotations

import json

import pytest

from bench.cli import main
from tests.api.test_baseline import evaluated


def bench(*words):
    return main([str(word) for word in words])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("BENCH_RESULTS", raising=False)


def test_a_baseline_is_reviewed_written_shown_and_then_gates(tmp_path, capsys):
    evaluated(tmp_path / "one", 0, "fgsm")
    evaluated(tmp_path / "two", 1, "fgsm,noise")
    update = ["baseline", "update", "--baseline", "base", "--results"]

    assert bench(*update, "one") == 0
    assert "2 added, 0 removed, 0 changed, 0 same\nbaseline  base\n" in capsys.readouterr().out
    assert bench(*update, "two", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "1 added, 0 removed, 2 changed, 0 same" in out
    assert "defense " in out
    assert out.endswith("not written: base (--dry-run)\n")
    assert bench("gate", "--baseline", "base", "--results", "one", "--allow-underpowered") == 0
    assert bench(*update, "one", "--json") == 0
    capsys.readouterr()
    assert bench(*update, "two", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["written"], len(told["changes"])) == (True, 3)
    assert bench("baseline", "show", "--baseline", "base") == 0
    assert "net x noise (Linf:0.02)" in capsys.readouterr().out
    assert bench("gate", "--baseline", "base", "--results", "two", "--allow-underpowered") == 0
    assert bench("gate", "--baseline", "base", "--results", "one", "--allow-underpowered") in (1, 2, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["update", "--baseline", "base", "--results", "nowhere"], "does not exist"),
        (
            ["show", "--baseline", "nowhere"],
            "baseline folder 'nowhere' does not exist: "
            "make it with 'bench baseline update --baseline nowhere --results FOLDER'",
        ),
        (["update", "--results", "one"], "--baseline"),
        (["update", "--baseline", "two", "--results", "one"], "1 cell of the baseline is not in 'one'"),
        (["update", "--baseline", "one", "--results", "one"], "lie in each other: name two folders"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, words, said, capsys):
    evaluated(tmp_path / "one", 0, "fgsm")
    evaluated(tmp_path / "two", 0, "fgsm,noise")
    capsys.readouterr()

    assert bench("baseline", *words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("why", ["removed", "incomplete", "nested"])
def test_a_dry_run_ends_as_the_update_would(tmp_path, why, allowed, capsys):
    evaluated(tmp_path / "one", 0, "fgsm")
    evaluated(tmp_path / "two", 0, "fgsm,noise")
    words = ["--baseline", "one", "--results", "two"]
    if why == "removed":
        words = ["--baseline", "two", "--results", "one"]
    elif why == "incomplete":
        next((tmp_path / "two").rglob("noise.*.json")).unlink()
    else:
        words = ["--baseline", "one", "--results", "one"]
    words += [f"--allow-{why}"] if allowed and why != "nested" else []
    capsys.readouterr()

    status = bench("baseline", "update", *words, "--dry-run")
    told = capsys.readouterr()
    as_json = bench("baseline", "update", *words, "--dry-run", "--json")
    data = capsys.readouterr().out
    real = bench("baseline", "update", *words)
    message = capsys.readouterr().err.removeprefix("bench: ")

    assert status == as_json == real == (0 if allowed and why != "nested" else 2)
    if why == "nested":
        assert "lie in each other" in told.err
        return
    assert json.loads(data)["refused"] == message.rstrip("\n")
    assert (f"would be refused: {message}" in told.out) == (not allowed)
    assert (f"--allow-{why}" in told.out) == (not allowed)
