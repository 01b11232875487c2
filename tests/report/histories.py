"""Small simulated results folders, with which histories are made without attacking anything."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.report.history import Stage
from bench.results.cell import Cell, Planned, Result, Slice
from bench.results.finding import Finding
from bench.results.outcome import Cost, Done, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel

LINF = ThreatModel.parse("Linf:8/255")
N = 200


def cell_of(label="at", attack="pgd-20", *, digest="old", n=N, draws=1, **changes):
    cell = Cell(
        DefenseRef(label, label, f"{label}-{digest}", draws > 1, (LINF,)),
        AttackRef(attack, attack, f"{attack}-digest"),
        LINF,
        Slice("cifar10", "test", n, f"images-{n}", tuple(f"{index}:{index}" for index in range(n))),
        0,
        draws,
        128,
        "1",
    )
    return replace(cell, **changes)


def done_of(right, n=N, *, clean=None, draws=1):
    """The first `right` of `n` examples are right in all draws, without attack the first `clean` of them."""
    counts = [np.where(np.arange(n) < k, draws, 0).astype(np.uint8) for k in (n if clean is None else clean, right)]
    return Done(Verdicts(draws, *counts), Cost(n, n))


def fill(folder, *cells):
    """Store cells with how many examples are right (None: missing, text: the error) as one run."""
    store = Store(folder)
    store.ask([Planned(cell) for cell, _ in cells])
    for cell, right in cells:
        if isinstance(right, str):
            store.fail(cell, right)
        elif right is not None:
            store.finish(cell, [done_of(right, cell.slice.n, draws=cell.draws)], {})
    return folder


def git(root, *words):
    told = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null")
    return subprocess.run(["git", "-C", str(root), *told, *words], check=True, capture_output=True, text=True).stdout


def commit(root, subject):
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", subject)
    return git(root, "rev-parse", "HEAD").strip()


BLOCK = Finding("S05", "block", "1", "0", "S05: masked")


def stage(*results, name="a", when=""):
    return Stage(name, when, tuple(results))


def result(right, clean=None, **cell):
    found = cell_of(**cell)
    return Result(found, done_of(right, found.slice.n, clean=clean, draws=found.draws))


def row(found, attack="pgd-20", defense="at"):
    (one,) = (each for each in found.rows if (each.place.attack, each.place.defense) == (attack, defense))
    return one
