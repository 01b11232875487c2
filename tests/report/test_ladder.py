"""The ladder and the studies that ask for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.catalogue.selection import Selection
from bench.catalogue.study import Rung, Study
from bench.cli import main
from bench.datasets.digits import digits
from bench.harness import controls
from bench.harness.matrix import build
from bench.report import ladder
from bench.results.cell import Result
from bench.results.outcome import Cost, Done, Skipped, Verdicts
from bench.threats import ThreatModel

N = 40
STUDY = Study("test", {}, (Rung("blind", "blind"), Rung("full", "pgd-20"), Rung("full + EOT", "pgd-eot-20")), ("base",))


def bench(*words):
    return main([str(word) for word in words])


def results_of(counts, defense="atop"):
    """Results of a ladder whose rungs left so many correct draws of ten, example by example."""
    threat = ThreatModel.parse("Linf:0.2")
    plan = build(Selection.of(defense, ",".join(counts), (threat,)), digits("test").first(N))
    found = []
    for planned, (_, left) in zip(plan, counts.items(), strict=True):
        draws = planned.cell.draws
        clean = np.full(N, draws, dtype=np.uint8)
        done = Done(Verdicts(draws, clean, np.asarray(left, dtype=np.uint8)), Cost())
        found.append(Result(planned.cell, Skipped(planned.skip) if planned.skip else done))
    return found


def drawn(mean, seed):
    return np.random.default_rng(seed).binomial(10, mean, N)


def test_a_drop_is_paired_and_the_verdict_names_what_the_last_rung_takes(tmp_path):
    """Blind 90, full 60, EOT another 30 points less: the drops, exactly, and a ladder that has not ended."""
    counts = {"blind": drawn(0.9, 0), "pgd-20": drawn(0.6, 1), "pgd-eot-20": drawn(0.3, 2)}

    (found,) = ladder.ladders(results_of(counts), STUDY, lambda cell: None)

    assert [step.name for step in found.steps] == ["blind", "full", "full + EOT"]
    assert found.steps[0].drop is None
    assert found.steps[2].drop == pytest.approx((counts["pgd-20"].sum() - counts["pgd-eot-20"].sum()) / (10 * N))
    assert found.steps[2].p < 1e-4
    assert found.clean.worst.value == 1.0
    least = np.minimum(np.minimum(counts["blind"], counts["pgd-20"]), counts["pgd-eot-20"])
    assert found.union.mean.value == pytest.approx(least.mean() / 10)
    assert "not settled: the last rung still takes" in ladder.render([found])


@pytest.mark.parametrize(
    ("last", "words"), [(0.6, "settled: the last rung takes nothing"), (0.9, "masked: the last rung")]
)
def test_a_ladder_that_ends_or_turns_says_so(tmp_path, last, words):
    counts = {"blind": drawn(0.9, 0), "pgd-20": drawn(0.6, 1), "pgd-eot-20": drawn(last, 1)}

    (found,) = ladder.ladders(results_of(counts), STUDY, lambda cell: None)

    assert words in ladder.render([found])


def test_a_rung_that_makes_no_sense_is_left_out_with_its_reason(tmp_path):
    """EOT on a deterministic purifier: a reason, not a number."""
    some = np.random.default_rng(0).integers(0, 2, N)

    (found,) = ladder.ladders(
        results_of({"blind": np.ones(N), "pgd-20": some, "pgd-eot-20": some}, "ap"), STUDY, lambda cell: None
    )

    assert [step.name for step in found.steps] == ["blind", "full"]
    assert "not for deterministic defenses" in found.missing[0]
    assert found.clean.worst is None


def test_the_base_stands_beside_a_purifier_only(tmp_path):
    plan, _ = _plan("ap,at")

    found = controls.controls(plan, STUDY)

    assert [cell.defense.label for cell in found] == ["ap@base"]
    assert controls.controls([replace(each, blocked=True) for each in plan], STUDY) == []


def _plan(defenses):
    examples = digits("test").first(N)
    return build(Selection.of(defenses, "pgd-20", (ThreatModel.parse("Linf:0.2"),)), examples), examples


def test_a_study_of_ones_own_runs_and_the_command_line_outranks_it(tmp_path, monkeypatch, capsys):
    """The file fixes defenses, rungs and n; --n says otherwise."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(
        "title = 'Two rungs'\ndefenses = 'ap'\nthreat = 'Linf:0.2'\nn = 99\nbeside = ['base']\n"
        "[[rungs]]\nname = 'one step'\nattack = 'fgsm'\n[[rungs]]\nname = 'five steps'\nattack = 'pgd-20[steps=5]'\n"
    )

    status = bench("run", "--study", "mine.toml", "--n", 16, "--executor", "local", "--checks", "none")
    out = capsys.readouterr().out

    assert status == 0
    assert "Two rungs" in out
    assert "ap under Linf:0.2, digits test, n=16" in out
    for word in ("no attack", "one step", "five steps", "worst case of all", "undefended base"):
        assert word in out


def test_rungs_and_attacks_exclude_each_other(capsys):
    assert bench("run", "--study", "ladder", "--attacks", "fgsm") == 2

    assert "the rungs of study 'ladder' name the attacks" in capsys.readouterr().err
