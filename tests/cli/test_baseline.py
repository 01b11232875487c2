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
