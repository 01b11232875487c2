"""Results folders filled with made-up verdicts, as several machines would have filled them: nothing is attacked."""

import json
from pathlib import Path

import numpy as np

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.results.cell import Cell, Planned, Slice
from bench.results.finding import Finding
from bench.results.outcome import Component, Cost, Done, Evidence, Kept, Ledger, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel

MADE = {"code": {"harness": "h1", "attack": "a1", "defense": "d1"}, "torch": "2.13.0", "machine": "x86_64"}
RESERVE = (AttackRef("square", "bench.attacks.score:Square", "q" * 64, access="score"),)


def cell(attack="pgd-20", *, n=10, batch=4, reserve=()):
    """A cell of three shards: of 4, 4 and 2 images."""
    return Cell(
        DefenseRef("at", "bench.defenses.at:load", "d" * 64),
        AttackRef(attack, "bench.attacks.lp.pgd:PGD", attack.ljust(64, "."), reserve=reserve),
        ThreatModel.parse("Linf:8/255"),
        Slice("digits", "test", n, "s" * 64),
        seed=0,
        draws=1,
        batch=batch,
    )


def outcome(of, index, *, flip=False, escalated=0):
    """The verdicts of a shard, the same every time; `flip`: as another machine with a fault would give them."""
    start, stop = of.shards[index]
    clean = np.array([image % 5 != 4 for image in range(start, stop)], dtype=np.uint8)
    held = clean * np.array([image % 2 for image in range(start, stop)], dtype=np.uint8)
    held = held * (1 - escalated) if escalated else (clean - held if flip else held)
    ledger = Ledger({of.attack.label: Component(Cost(7, 3), len(clean), 1)}, (7,) * len(clean), (3,) * len(clean))
    return Done(
        Verdicts(1, clean, held), Cost(7 * len(clean), 3), Evidence(borderline=(0,), escalated=escalated), ledger
    )


def fill(root, of, shards=None, *, made=MADE, seconds=1.0, **how):
    """Store some shards of a cell, or finish it with all of them; return the folder."""
    store = Store(Path(root))
    store.ask([Planned(of)])
    told = {**made, "seconds": seconds}
    if shards is None:
        store.finish(
            of, [outcome(of, index, **how) for index in range(len(of.shards))], {**told, "seconds": 3 * seconds}
        )
    for index in shards or ():
        store.add_shard(of, index, outcome(of, index, **how), told)
    return Path(root)


def keep_images(root, of, value):
    images = np.full((2, 1, 2, 2), value, dtype=np.float32)
    Store(Path(root)).keep_images(of, Kept(images, np.zeros(2, np.int64), np.ones(2, np.int64)))


def keep_preflight(root, of, verdict, key="k"):
    Store(Path(root)).keep_preflight(of.defense, of.slice, [Finding("S05", verdict, "1", "0", f"S05: {verdict}")], key)


def contents(root, *, runs=False):
    """The bytes of every file, by place; without what a run asked for, which is named for the time."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(Path(root).rglob("*"))
        if path.is_file() and (runs or path.parent.name != "runs")
    }


def timeless(root):
    """The documents of a folder without what differs from run to run, by place; images as they are."""
    found = {}
    for place, content in contents(root).items():
        if place.endswith(".json"):
            content = {name: value for name, value in json.loads(content).items() if name != "provenance"}
        found[place] = content
    return found
