"""The work whose growth `growth.py` measures; each piece runs in a fresh process, which prints what it took as JSON.

    python performance/growth_work.py '{"phase": "run", "root": "/tmp/x", "defenses": 2, "attacks": 6, "n": 128}'

Verdicts are made up at once, so that only our own work is left: planning, the store, the bookkeeping of a run.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench.api.results import Results
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.harness.agenda import Agenda
from bench.harness.executors.processes import Processes
from bench.harness.run import run
from bench.harness.task import Report, Task
from bench.harness.watcher import Silent
from bench.results.cell import Cell, Planned
from bench.results.cell import Slice as Part
from bench.results.outcome import Component, Cost, Done, Evidence, Ledger, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel
from bench.types import ImageSpec

# Half of the defenses are stochastic, with the usual number of evaluation draws.
_DRAWS = 10
_SPEC = ImageSpec((1, 8, 8), 10)
# What `bench run` is asked for where a whole command is timed: 20 defenses, and 6 attacks under 10 threat models.
_CLASSIFIERS = ("standard", "at", "at-l2", "at-stadv", "fgsm-rs", "trades")
_PURIFIED = tuple(f"ap[classifier={name},rt={rt}]" for rt in ("none", "1", "2") for name in _CLASSIFIERS)
DEFENSES = (*_CLASSIFIERS, *_PURIFIED)[:20]
ATTACKS = ("fgsm", "fgsm-rs", "pgd-20", "cw-20", "apgd-ce", "apgd-dlr")
THREATS = tuple(f"Linf:{eps / 50:.2f}" for eps in range(1, 11))


@dataclass
class Simulated:
    """An executor that attacks nothing: it answers at once, with verdicts drawn from the key of the cell.

    Attributes:
        drawing: the seconds of CPU that drawing them took, which are none of ours.
    """

    device: str = "cpu"
    jobs: int = 1
    threads: int = 1
    drawing: float = 0.0

    def describe(self) -> str:
        return "nowhere"

    def run(self, agenda: Agenda, on_pass: Callable[[Task, int], None]) -> Iterator[Report]:
        while (task := agenda.take()) is not None:
            on_pass(task, len(task.shard))
            began = time.process_time()
            done = _made_up(task)
            self.drawing += time.process_time() - began
            yield Report(task, done, "", 0.1)


def _made_up(task: Task) -> Done:
    n, draws = len(task.shard), task.cell.draws
    draw = np.random.default_rng([int(task.cell.key[:12], 16), task.index])
    clean = draw.binomial(draws, 0.9, n).astype(np.uint8)
    adversarial = np.minimum(clean, draw.binomial(draws, 0.5, n).astype(np.uint8))
    forwards, backwards = (tuple(draw.integers(1, 1000, n).tolist()) for _ in range(2))
    cost = Cost(sum(forwards), sum(backwards))
    component = Component(cost, n, int((adversarial == 0).sum()))
    ledger = Ledger({task.cell.attack.label: component}, forwards, backwards)
    return Done(Verdicts(draws, clean, adversarial), cost, Evidence(), ledger)


_NOBODY = Simulated()


def simulated(defenses: int, attacks: int, n: int, batch: int) -> tuple[list[Planned], Examples]:
    """Return a matrix of made-up defenses and attacks, and made-up images for it: small ones, for none is looked at."""
    draw = np.random.default_rng(0)
    x = draw.random((n, *_SPEC.shape), dtype=np.float32)
    data = Examples("made-up", "test", [f"test/{at}" for at in range(n)], x, draw.integers(0, 10, n), _SPEC)
    part = Part(data.dataset, data.split, n, data.digest)
    threat, digests = ThreatModel.parse("Linf:8/255"), [draw.bytes(32).hex() for _ in range(defenses + attacks)]
    refs = [
        DefenseRef(f"defense-{at:03d}", "bench.ours:build", digests[at], at % 2 > 0, (threat,))
        for at in range(defenses)
    ]
    against = [AttackRef(f"attack-{at:03d}", "bench.ours:attack", digests[defenses + at]) for at in range(attacks)]
    plan = [
        Planned(Cell(ref, attack, threat, part, 0, _DRAWS if ref.stochastic else 1, batch, "1"))
        for ref, attack in product(refs, against)
    ]
    return plan, data


def _fill(root: Path, defenses: int, attacks: int, n: int, batch: int) -> Callable[[], object]:
    plan, data = simulated(defenses, attacks, n, batch)
    return lambda: run(plan, data, Store(root), _NOBODY, Silent())


def _table(root: Path) -> Callable[[], object]:
    def table() -> str:
        store = Store(root)
        return Results(tuple(store.results()), store).summary()

    return table


def _prepared(root: Path) -> Callable[[], object]:
    """Make the folder that `bench run` then finds complete; it takes the same way, up to the executor."""
    from bench.api.fill import resolve
    from bench.catalogue.options import settled

    asked = resolve(settled(wanted(root)), Silent())

    def fill() -> None:
        how = asked.in_formats()
        how.remember(asked.store)
        run(how.plan, asked.examples, asked.store, _NOBODY, Silent())

    return fill


def wanted(root: Path) -> dict[str, Any]:
    """Return the options of the run of 20 x 60 cells."""
    return {
        "dataset": "digits",
        "defenses": ",".join(DEFENSES),
        "attacks": ",".join(ATTACKS),
        "threat": ",".join(THREATS),
        "n": 128,
        "checks": "none",
        "results": root,
    }


def _attacked(root: Path, jobs: int, n: int) -> Callable[[], object]:
    """Attack the shipped robust network for digits by 100 steps of PGD, on its images and on noisy copies of them."""
    from bench.catalogue.selection import Selection
    from bench.harness import matrix

    digits, draw = load("digits", "test"), np.random.default_rng(0)
    index = np.arange(n) % len(digits)
    noise = draw.uniform(-0.02, 0.02, (n, *digits.spec.shape)).astype(np.float32)
    x = np.clip(digits.x[index] + noise, 0, 1)
    data = Examples("digits", "test", [f"noisy/{at}" for at in range(n)], x, digits.y[index], digits.spec)
    plan = matrix.build(Selection.of("at", "pgd-20[steps=100]", (ThreatModel.parse("Linf:0.2"),)), data, batch=128)
    return lambda: run(plan, data, Store(root), Processes(jobs), Silent())


def _peak() -> int:
    """Return the most bytes that this process has held so far."""
    # Linux adds what the parent held to the numbers of `getrusage`, but not to this one, which is in KiB.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def _used() -> float:
    """Return the seconds of CPU of this process, and of those of its children that have ended."""
    told = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in told)


_PHASES = {"run": _fill, "resume": _fill, "table": _table, "prepare": _prepared, "attack": _attacked}


def main() -> None:
    """Do one piece of work and print what it took."""
    given = json.loads(sys.argv[1])
    work = _PHASES[given.pop("phase")](root=Path(given.pop("root")), **given)
    held, wall, cpu = _peak(), time.perf_counter(), _used()
    work()
    wall, cpu = (now - began - _NOBODY.drawing for now, began in ((time.perf_counter(), wall), (_used(), cpu)))
    took = {"wall": wall, "cpu": cpu, "memory": _peak() - held, "peak": _peak()}
    print(json.dumps(took))


if __name__ == "__main__":
    main()
