"""The same cell gives the same verdicts, whatever it is computed in and in which order."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from bench.catalogue.request import Request
from bench.catalogue.resolve import attack, defense
from bench.datasets.load import load
from bench.harness.executors.local import Local
from bench.harness.run import run
from bench.harness.task import Task, compute
from bench.results.cell import Cell, Planned, Slice
from bench.results.outcome import joined
from bench.results.store import Store
from bench.threats import ThreatModel

BATCHES = (1, 2, 3, 7, 64)
ATTACKS = {
    "fgsm": ("fgsm", {}),
    "pgd": ("pgd-20", {"steps": "5", "n_restarts": "2"}),
    "apgd-ce": ("apgd-ce", {"steps": "10"}),
    "apgd-t": ("apgd-t", {"steps": "5", "targets": "2"}),
    "square": ("square", {"queries": "50"}),
    "stadv": ("stadv", {"steps": "5"}),
}
IMAGES = {"digits": 24, "cifar10": 16}
EPS = {"digits": "Linf:0.2", "cifar10": "Linf:8/255"}


class Quiet:
    """A watcher that says nothing."""

    def begin(self, cells, stored, beside=()): ...
    def advance(self, cell, passed): ...
    def end(self, cell, outcome): ...


class Shuffled:
    """An executor that takes its tasks in an arbitrary order."""

    def __init__(self, seed):
        self.seed = seed

    def run(self, agenda, on_pass):
        tasks = list(iter(agenda.take, None))
        random.Random(self.seed).shuffle(tasks)
        for task in tasks:
            agenda.add(task)
            yield from Local().run(agenda, on_pass)


class Broken(Exception):
    pass


class Stopping:
    """An executor that is killed after some tasks."""

    def __init__(self, after):
        self.after = after

    def run(self, agenda, on_pass):
        for index, report in enumerate(Local().run(agenda, on_pass)):
            if index == self.after:
                raise Broken
            yield report


def images(dataset):
    if dataset == "cifar10" and not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA names no folder with CIFAR-10")
    return load(dataset, "test", n=IMAGES[dataset])


def cell_of(examples, name, parameters, *, batch, of="at", config=(), draws=1):
    ref = defense(Request(of, dict(config)), examples.dataset, None)
    threat = "stadv:0.4" if name == "stadv" else EPS[examples.dataset]
    part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
    tried = attack(Request(name, parameters))[1]
    return Cell(ref, tried, ThreatModel.parse(threat), part, 0, draws, batch)


def verdicts_of(cell, examples):
    reports = [
        compute(Task(cell, i, examples.part(*span)), "cpu", lambda n: None) for i, span in enumerate(cell.shards)
    ]
    assert not [report.error for report in reports if report.error]
    return joined([report.done for report in reports])


@pytest.mark.parametrize("dataset", ["digits", pytest.param("cifar10", marks=pytest.mark.data)])
@pytest.mark.parametrize("name", ATTACKS)
def test_the_batch_does_not_change_a_verdict(name, dataset, tally):
    """Shards of 1, 2, 3, 7 and 64 images: the same examples fall, but for those marked as borderline."""
    examples = images(dataset)

    found = [verdicts_of(cell_of(examples, *ATTACKS[name], batch=batch), examples) for batch in BATCHES]

    first, *others = found
    borderline = {index for done in found for index in done.evidence.borderline}
    steady = np.array([index not in borderline for index in range(len(examples))])
    changed = sum(int((first.verdicts.adversarial != done.verdicts.adversarial)[steady].sum()) for done in others)
    tally("determinism", changed, len(others) * int(steady.sum()), "verdicts changed by batch, order or resume")
    assert 0 < first.verdicts.adversarial.sum() < len(examples)  # some fall and some stand
    assert changed == 0


@pytest.mark.parametrize(("of", "draws"), [("at", 1), ("atop", 10)])
def test_neither_the_order_of_shards_nor_a_resume_changes_a_byte(of, draws, tmp_path, tally):
    """A stochastic defense, too: its draws belong to the shard, not to the order."""
    examples = images("digits")
    name, parameters = ("pgd-eot-20", {"steps": "3", "eot": "10"}) if of == "atop" else ATTACKS["pgd"]
    plan = [Planned(cell_of(examples, name, parameters, batch=5, of=of, draws=draws))]

    whole = run(plan, examples, Store(tmp_path / "whole"), Local(), Quiet())
    shuffled = run(plan, examples, Store(tmp_path / "shuffled"), Shuffled(1), Quiet())
    for after in (1, 2):
        with pytest.raises(Broken):
            run(plan, examples, Store(tmp_path / "resumed"), Stopping(after), Quiet())
    resumed = run(plan, examples, Store(tmp_path / "resumed"), Shuffled(2), Quiet())

    reference = whole[0].outcome.verdicts.adversarial
    for other in (shuffled, resumed):
        changed = int((other[0].outcome.verdicts.adversarial != reference).sum())
        tally("determinism", changed, len(examples), "verdicts changed by batch, order or resume")
        assert changed == 0
    assert _digests(tmp_path / "whole") == _digests(tmp_path / "shuffled") == _digests(tmp_path / "resumed")


def _digests(root: Path):
    import json

    return {
        path.relative_to(root): json.loads(path.read_text()).get("digest")
        for path in root.rglob("*.json")
        if path.parent.name != "runs"  # named for the time
    }
