"""A cell of several components, and what it cost."""

import numpy as np

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.results.cell import Cell, Slice
from bench.results.outcome import Component, Cost, Done, Evidence, Ledger, Verdicts
from bench.threats import ThreatModel

RESERVE = (AttackRef("fab-t", "", "f"), AttackRef("square", "", "s", access="score"))


def make_cell(**attack):
    return Cell(
        DefenseRef("at", "at", "d"),
        AttackRef("audit", "", "a", reserve=RESERVE, **attack),
        ThreatModel.parse("Linf:0.2"),
        Slice("digits", "test", 4, "x"),
        seed=0,
        draws=1,
        batch=2,
    )


def done(label="pgd", forwards=(3, 0), backwards=(2, 0), broken=1, **evidence):
    array = np.array([1, 0], dtype=np.uint8)
    cost = Cost(sum(forwards), sum(backwards), 1)
    ledger = Ledger({label: Component(cost, 2, broken)}, forwards, backwards)
    return Done(Verdicts(1, array, array), cost, Evidence(**evidence), ledger)
