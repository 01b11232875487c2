"""Executors: the same verdicts everywhere, and a crash that costs one shard."""

import re

import numpy as np
import pytest

from bench import matrix
from bench.catalogue import ATTACKS
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.executors import Executor, choose
from bench.outcome import Done, Failed
from bench.registry import AttackEntry
from bench.run import pending, run
from bench.store import Store
from bench.types import ThreatModel

DEFENSE = """
import os, torch
from torch import nn

class Pixels(nn.Module):
    '''Ten fixed templates: not good, but something to attack; noisy, so that shards matter.'''
    def __init__(self, noise):
        super().__init__()
        self.noise = noise
        self.weight = nn.Parameter(torch.randn(64, 10, generator=torch.Generator().manual_seed(0)))
    def forward(self, x):
        return (x + self.noise * torch.randn_like(x)).flatten(1) @ self.weight

def build():
    return Pixels(0.0)

def noisy():
    return Pixels(0.2)

class Fatal(Pixels):
    def forward(self, x):
        if len(x) > 8:
            os._exit(9)
        return super().forward(x)

def fatal():
    return Fatal(0.0)

class Raising(Pixels):
    def forward(self, x):
        if len(x) > 8:
            raise ValueError("cannot\\nwork")
        return super().forward(x)

def raising():
    return Raising(0.0)
"""


class Quiet:
    def __init__(self):
        self.ended = []
        self.passed = 0

    def begin(self, cells, stored, beside=()):
        self.cells, self.stored = list(cells), stored

    def advance(self, cell, passed):
        self.passed += passed

    def end(self, cell, outcome):
        self.ended.append((cell.title, outcome))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(DEFENSE)
    return path


def fill(root, executor, *defenses, n=40, batch=16, attacks="fgsm,pgd-20[steps=3]"):
    examples = digits("test").first(n)
    request = matrix.MatrixRequest(",".join(map(str, defenses)), attacks, (ThreatModel.parse("Linf:0.1"),), batch=batch)
    plan, store, watcher = matrix.build(request, examples), Store(root), Quiet()
    return run(plan, examples, store, executor, watcher), watcher, plan, store


def documents(root):
    return {
        path.relative_to(root): [line for line in path.read_text().splitlines() if not re.search("seconds|seal", line)]
        for path in sorted(root.rglob("*.json"))
        if path.parent.name != "runs"  # named for the time
    }


LOCAL = Executor("local", 1, 1, "cpu")
PROCESSES = Executor("processes", 2, 1, "cpu")


def test_local_and_processes_write_the_same_documents(tmp_path, source):
    fill(tmp_path / "local", LOCAL, f"{source}:build", f"{source}:noisy")
    _, watcher, *_ = fill(tmp_path / "processes", PROCESSES, f"{source}:build", f"{source}:noisy")

    assert documents(tmp_path / "local") == documents(tmp_path / "processes")
    assert len(watcher.ended) == 4


def test_nothing_stored_is_computed_again(tmp_path, source):
    fill(tmp_path / "r", LOCAL, source)
    before = documents(tmp_path / "r")

    _, watcher, *_ = fill(tmp_path / "r", LOCAL, source)

    assert watcher.cells == []
    assert watcher.stored == 2
    assert documents(tmp_path / "r") == before


def test_finished_shards_survive_and_only_the_others_are_computed(tmp_path, source):
    """Stopped after any number of shards, the same run ends with the same documents."""

    class Stops:
        def __init__(self, after):
            self.after = after

        def run(self, tasks, on_pass, begins):
            for count, report in enumerate(LOCAL.run(tasks, on_pass, begins)):
                if count == self.after:
                    raise KeyboardInterrupt
                yield report

    fill(tmp_path / "whole", LOCAL, f"{source}:noisy")
    for after in range(5):
        root = tmp_path / f"stopped-{after}"
        with pytest.raises(KeyboardInterrupt):
            fill(root, Stops(after), f"{source}:noisy")
        _, watcher, *_ = fill(root, LOCAL, f"{source}:noisy")

        assert documents(root) == documents(tmp_path / "whole")
        assert watcher.passed > 0


def test_an_exception_is_a_failed_cell_in_one_line_and_tried_again(tmp_path, source):
    results, watcher, plan, store = fill(tmp_path / "r", LOCAL, f"{source}:raising")

    assert [result.outcome for result in results] == [Failed("ValueError: cannot work")] * 2
    assert len(watcher.ended) == 2
    assert len(pending(plan, store).cells) == 2


def test_a_worst_case_is_derived_from_its_parts_and_nothing_is_computed_twice(tmp_path, source, monkeypatch):
    entry = AttackEntry("both", "", "", "", ("Linf",), parts={"deterministic": ("fgsm", "pgd-20")})
    monkeypatch.setitem(ATTACKS._entries, "both", entry)

    results, watcher, *_ = fill(tmp_path / "r", LOCAL, source, attacks="fgsm,both,pgd-20", n=64, batch=32)

    fgsm, both, pgd = (result.outcome for result in results)
    assert len(watcher.cells) == 2
    assert np.array_equal(both.verdicts.clean, fgsm.verdicts.clean)
    expected = np.minimum(fgsm.verdicts.adversarial, pgd.verdicts.adversarial)
    assert np.array_equal(both.verdicts.adversarial, expected)
    assert both.cost == fgsm.cost + pgd.cost
    assert fgsm.verdicts.clean.sum() > 0
    assert expected.sum() < fgsm.verdicts.clean.sum()


def test_a_worst_case_fails_with_its_part(tmp_path, source, monkeypatch):
    """One part cannot be computed: no number stands in for it."""
    entry = AttackEntry("both", "", "", "", ("Linf",), parts={"deterministic": ("fgsm", "pgd-20")})
    monkeypatch.setitem(ATTACKS._entries, "both", entry)

    results, *_ = fill(tmp_path / "r", LOCAL, f"{source}:raising", attacks="fgsm,pgd-20,both")

    assert results[-1].outcome == Failed("fgsm: ValueError: cannot work")


def test_a_dying_worker_fails_its_cell_and_no_other(tmp_path, source):
    results, *_ = fill(tmp_path / "r", PROCESSES, f"{source}:fatal", f"{source}:build")

    outcomes = {result.cell.defense.label: type(result.outcome) for result in results}
    assert outcomes == {"toy:fatal": Failed, "toy": Done}
    assert "died" in next(result.outcome.error for result in results if isinstance(result.outcome, Failed))


def test_unknown_executors_and_devices_are_refused():
    with pytest.raises(BenchError, match="--executor 'ray' is unknown"):
        choose("ray", "cpu", 0, 1)
    with pytest.raises(BenchError, match="--device 'cuda:99' is not here"):
        choose("auto", "cuda:99", 0, 1)


def test_one_task_needs_no_process():
    assert choose("auto", "cpu", 0, 1).kind == "local"
    assert choose("auto", "cpu", 2, 5).kind == "processes"
