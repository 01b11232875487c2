"""Results of any size and with any names, without attacking anything."""

import numpy as np

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.results.cell import Cell, Result, Slice
from bench.results.outcome import Cost, Done, Verdicts
from bench.threats import ThreatModel

LINF, L2, STADV = (ThreatModel.parse(text) for text in ("Linf:8/255", "L2:0.5", "stadv:0.8"))
HOSTILE = (
    r"\input{/etc/passwd}",
    "<img src=x onerror=alert(1)>",
    "=cmd|x \x1b[31mred\x1b[0m\nnext",
    r"\end{tabular}\immediate\write18{id}%$&#_^~",
    "名前-é-ß-🤖 ``--'' ?`",
    "./a/very/long/path/to/a/file/of/a/user.py:build_the_defense_with_a_name[parameter=value,other=value]",
    "x" * 120,
)


def result(defense="at", attack="pgd-20", threat=LINF, outcome=None, *, draws=1, n=64, trained_on=(), **more):
    ref = DefenseRef(defense, defense, defense, draws > 1, trained_on)
    part = Slice("digits", "test", n, f"images-{n}")
    return Result(Cell(ref, AttackRef(attack, attack, attack), threat, part, 0, draws, 64), outcome, **more)


def done(robust, *, n=64, draws=1, right=None):
    """The first `right` of n examples are correct without attack, the first `robust` under attack."""
    index = np.arange(n)
    clean = np.where(index < (n if right is None else right), draws, 0).astype(np.uint8)
    return Done(Verdicts(draws, clean, np.where(index < robust, draws, 0).astype(np.uint8)), Cost(n, n))


def matrix(defenses, attacks, threats=(LINF, L2, STADV), *, n=64):
    """Every defense under every attack; each second one is stochastic, all but the first have seen the first threat."""
    return [
        result(
            defense,
            attack,
            threat,
            done((7 * i + 3 * j + k) % n, n=n, draws=10 if i % 2 else 1),
            draws=10 if i % 2 else 1,
            n=n,
            trained_on=threats[:1] if i else (),
        )
        for i, defense in enumerate(defenses)
        for j, attack in enumerate(attacks)
        for k, threat in enumerate(threats)
    ]
