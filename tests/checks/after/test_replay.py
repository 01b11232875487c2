"""The replay: stored images, judged anew in another process."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bench.catalogue import versions
from bench.catalogue.selection import Selection
from bench.checks.after import replay
from bench.cli import main
from bench.datasets.digits import digits
from bench.harness.matrix import build
from bench.harness.task import Task, compute
from bench.results.outcome import Done, Verdicts
from bench.threats import ThreatModel
from tests.checks.broken import BROKEN

LINF = ThreatModel.parse("Linf:0.2")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("broken.py").write_text(textwrap.dedent(BROKEN))


def bench(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def attacked():
    """A cell of the shipped AT network on 16 digits, with the images it was judged on."""
    examples = digits("test").first(16)
    (plan,) = build(Selection.of("at", "pgd-20[steps=5]", (LINF,)), examples)
    report = compute(Task(plan.cell, 0, examples), "cpu", lambda n: None)
    return plan.cell, examples, report


class TestReplay:
    def test_a_fresh_process_says_the_same_and_notices_other_images(self, attacked):
        """The stored bytes give the verdicts again; the clean images in their place do not."""
        cell, examples, report = attacked
        honest = replay.Stored(cell, examples, report.kept.x_adv, report.done)
        swapped = replay.Stored(cell, examples, examples.x, report.done)

        changed = replay.replay([honest, swapped], "cpu")

        assert changed[0] == 0
        assert changed[1] == int((report.done.verdicts.clean != report.done.verdicts.adversarial).sum()) > 0

    def test_images_outside_the_threat_model_are_not_reproducible(self, attacked):
        cell, examples, report = attacked
        far = np.clip(report.kept.x_adv + 0.5, 0, 1).astype(np.float32)

        assert replay.replay([replay.Stored(cell, examples, far, report.done)], "cpu") == [16]

    def test_draws_may_differ_by_chance_and_no_more(self, attacked):
        """Sixteen images with half of ten draws right: 80 in all, give or take twenty."""
        from dataclasses import replace

        cell, examples, report = attacked
        moving = replace(cell, defense=replace(cell.defense, stochastic=True), draws=10)
        fives = np.full(16, 5, dtype=np.uint8)
        stored = replay.Stored(
            moving, examples, report.kept.x_adv, Done(Verdicts(10, np.full(16, 10, dtype=np.uint8), fives))
        )

        near = replay._changed(stored, [6] * 8 + [5] * 8)
        far = replay._changed(stored, [9] * 16)

        assert (near, far) == (0, 16)

    def test_a_finding_counts_what_changed(self):
        assert replay.finding([0, 0], 32).verdict == "pass"
        assert replay.finding([0, 2], 32).verdict == "block"


def test_a_defense_that_changes_in_use_is_found_by_the_replay(capsys):
    """It is honest for a thousand calls, which no examination before the attack lasts."""
    command = ["run", "--defenses", "./broken.py:tired", "--attacks", "square[queries=1200]", "--threat", "Linf:0.2"]

    bench(*command, "--n", 8, "--executor", "local")

    assert "A13" in capsys.readouterr().out


def test_a_replay_is_remembered_where_the_images_are_gone(capsys, monkeypatch):
    """As of results that are published without them: other checks look again, and this one cannot."""
    command = ["run", "--defenses", "./broken.py:tired", "--attacks", "pgd-20", "--n", 32, "--threat", "Linf:0.2"]
    bench(*command, "--executor", "local")
    before = _replays()
    assert before
    for path in Path("bench-results").rglob("*.safetensors"):
        path.unlink()
    monkeypatch.setattr(versions, "of_checks", lambda: "other checks")

    bench(*command, "--executor", "local")

    assert _replays() == before


def _replays():
    documents = [json.loads(path.read_text()) for path in Path("bench-results/digits").rglob("checks.*.json")]
    return [found for document in documents for found in document["findings"] if found["id"] == "A13"]
