"""Of several runs that fill one folder at once each cell is computed by one, and none is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from bench.catalogue.selection import Selection
from bench.datasets.load import load
from bench.harness import matrix
from bench.harness import run as running
from bench.harness.executors.local import Local
from bench.harness.reservations import Reservations
from bench.harness.run import run
from bench.results.outcome import Done
from bench.results.store import Store
from bench.threats import ThreatModel

ATTACKS = "fgsm,pgd-20[steps=5],fgsm-rs"


class Quiet:
    """Remembers who was waited for, and what ended."""

    def __init__(self):
        self.waited, self.ended = [], []

    def begin(self, cells, stored, beside=()): ...
    def advance(self, cell, passed): ...
    def end(self, cell, outcome):
        self.ended.append(cell.attack.label)

    def wait(self, cells):
        self.waited += [cell.attack.label for cell in cells]


def planned(attacks=ATTACKS, n=8):
    examples = load("digits", "test", n=n)
    return matrix.build(Selection.of("at", attacks, (ThreatModel.parse("Linf:0.2"),)), examples), examples


def claims(store, plan):
    return Reservations({each.cell.key: store for each in plan})


def test_a_cell_is_claimed_once_and_free_again_when_it_is_given_back(tmp_path):
    plan, _ = planned()
    one, two = (claims(Store(tmp_path), plan) for _ in range(2))
    cell = plan[0].cell

    assert one.take(cell)
    assert one.take(cell)
    assert not two.take(cell)
    assert list(two.elsewhere.values()) == [cell]
    one.release(cell)
    assert two.take(cell)
    assert two.elsewhere == {}
    two.release(cell)
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_cell_that_another_run_has_finished_meanwhile_is_not_taken(tmp_path):
    """Between planning and its turn: the verdicts are there."""
    plan, examples = planned("fgsm")
    late = claims(Store(tmp_path), plan)

    run(plan, examples, Store(tmp_path), Local(), Quiet())

    assert not (tmp_path / "locks").exists()
    assert not late.take(plan[0].cell)


def test_whoever_leaves_gives_back_what_it_had(tmp_path):
    plan, _ = planned()

    with claims(Store(tmp_path), plan) as mine:
        mine.take(plan[0].cell)

    assert claims(Store(tmp_path), plan).take(plan[0].cell)


def test_the_locks_of_killed_runs_go_with_the_next_run_and_those_of_others_stay(tmp_path):
    """Also where that run has nothing to compute."""
    plan, examples = planned()
    run(plan[:1], examples, Store(tmp_path), Local(), Quiet())
    other = claims(Store(tmp_path), plan)
    other.take(plan[1].cell)
    (tmp_path / "locks" / "0123").touch()
    (tmp_path / "checks" / "locks").mkdir(parents=True)  # of cells that no table shows
    (tmp_path / "checks" / "locks" / "0123").touch()

    run(plan[:1], examples, Store(tmp_path), Local(), Quiet())

    assert [path.name for path in (tmp_path / "locks").iterdir()] == [plan[1].cell.key[:32]]
    assert not (tmp_path / "checks" / "locks").exists()
    assert not claims(Store(tmp_path), plan).take(plan[1].cell)


def test_a_run_leaves_out_what_another_computes_waits_for_it_and_takes_its_verdicts(tmp_path, monkeypatch):
    plan, examples = planned()
    other = claims(Store(tmp_path), plan)
    other.take(plan[1].cell)
    watcher, asked = Quiet(), []

    class Counted(running.Underway):
        def __init__(self, cells, *others):
            asked.append([cell.attack.label for cell in cells])
            super().__init__(cells, *others)

    monkeypatch.setattr(running, "Underway", Counted)
    monkeypatch.setattr(running, "_PATIENCE", 0.0)
    monkeypatch.setattr(
        Quiet, "wait", lambda self, cells: (self.waited.extend(cells), alone(plan[1], examples, tmp_path))
    )

    results = run(plan, examples, Store(tmp_path), Local(), watcher)
    other.release(plan[1].cell)

    assert [each.attack.label for each in watcher.waited] == [plan[1].cell.attack.label]
    assert len(asked) == 1  # nothing was computed twice
    assert all(isinstance(each.outcome, Done) for each in results)
    assert sorted(watcher.ended) == sorted(each.cell.attack.label for each in plan)


def alone(each, examples, root):
    """What the other run does while it is waited for."""
    from bench.harness.task import Task, compute

    report = compute(Task(each.cell, 0, examples), "cpu", lambda _: None)
    Store(root).finish(each.cell, [report.done], {})


def test_what_another_run_left_undone_is_computed(tmp_path, monkeypatch):
    """It was killed, or its cell failed."""
    plan, examples = planned()
    other = claims(Store(tmp_path), plan)
    other.take(plan[0].cell)
    monkeypatch.setattr(Quiet, "wait", lambda self, cells: other.release(plan[0].cell))

    results = run(plan, examples, Store(tmp_path), Local(), Quiet())

    assert all(isinstance(each.outcome, Done) for each in results)


def test_a_run_that_removes_the_folder_of_locks_disturbs_nobody(tmp_path, monkeypatch):
    """Between the making of the folder and the lock in it another one may end, with its last lock."""
    from bench.harness import reservations as module

    class Unlucky(FileLock):
        def acquire(self, timeout):
            if not attempts:
                Path(self.lock_file).parent.rmdir()
            attempts.append(self.lock_file)
            return super().acquire(timeout=timeout)

    attempts = []
    monkeypatch.setattr(module, "FileLock", Unlucky)
    plan, _ = planned("fgsm")
    mine = claims(Store(tmp_path), plan)

    assert mine.take(plan[0].cell)
    assert not claims(Store(tmp_path), plan).take(plan[0].cell)


def test_a_file_system_without_locks_computes_all_the_same(tmp_path, monkeypatch):
    from bench.harness import reservations as module

    class Refuses:
        def __init__(self, path): ...
        def acquire(self, timeout):
            raise NotImplementedError

    monkeypatch.setattr(module, "FileLock", Refuses)
    plan, examples = planned("fgsm")

    (result,) = run(plan, examples, Store(tmp_path), Local(), Quiet())

    assert isinstance(result.outcome, Done)


# What another process does: it claims the first cell of a plan and dies only when it is killed.
HOLDS = """
import sys, time
from pathlib import Path
from bench.harness import matrix
from bench.catalogue.selection import Selection
from bench.harness.reservations import Reservations
from bench.datasets.load import load
from bench.results.store import Store
from bench.threats import ThreatModel

store = Store(Path(sys.argv[1]))
request = Selection.of("at", sys.argv[2], (ThreatModel.parse("Linf:0.2"),))
cell = matrix.build(request, load("digits", "test", n=8))[0].cell
claims = Reservations({cell.key: store})
print(claims.take(cell), flush=True)
time.sleep(60)
"""


@pytest.mark.fault("F01")
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_the_claims_of_a_killed_run_are_free_at_once(tmp_path):
    plan, _ = planned()
    mine = claims(Store(tmp_path), plan)
    command = [sys.executable, "-c", HOLDS, str(tmp_path), ATTACKS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        assert not mine.take(plan[0].cell)
        process.send_signal(signal.SIGKILL)

    assert mine.take(plan[0].cell)


@pytest.mark.fault("F13")
@pytest.mark.slow
def test_two_runs_of_the_same_command_share_the_work(tmp_path):
    """Every cell is computed by one of them, and both end with all of them."""
    attacks = ",".join(f"pgd-20[steps={20 * step}]" for step in range(1, 6))
    command = [sys.executable, "-c", "from bench.cli.app import app; app()", "run", "--defenses", "at,standard"]
    command += ["--attacks", attacks, "--threat", "Linf:0.2", "--n", "16", "--checks", "none", "--executor", "local"]
    both = [
        subprocess.Popen(
            [*command, "--results", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate() for process in both]

    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == told[1][0]
    assert len(Store(tmp_path).results()) == 10
