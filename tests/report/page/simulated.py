"""Results that nobody computed: verdicts drawn or written by hand, for what the page makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.api.results import Results
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.results.outcome import Cost, Done, Failed, Skipped, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel

LINF, L2, STADV = map(ThreatModel.parse, ("Linf:8/255", "L2:0.5", "stadv:0.4"))
FLAG = Finding("A11", "flag", "0.4", "p < .05", "A11: no significant gain over the base")
BLOCK = Finding("S05", "block", "3/64", "0", "S05: output depends on earlier queries")
PASSED = Finding("S01", "pass", "0/64", "0", "S01: all logits are finite")

# What an attacker of the reader would call a defense or write into an error.
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    r"\input{/etc/passwd}",
    "=cmd|' /C calc'!A0",
    "\x1b[31mred\x1b[0m\x07",
    "a\r\nb\u202egnp.exe",
)


def result(defense, attack, threat, outcome, *, draws=1, findings=(), trained_on=(LINF,), n=4, dataset="digits"):
    """A cell with its outcome; the labels are all that has to differ."""
    ref = DefenseRef(defense, f"{defense}.py", f"{defense}-digest", draws > 1, trained_on)
    part = Slice(dataset, "test", n, f"images-{n}")
    code = {"harness": "c0ffee", "attack": "a77ac4", "defense": "defe45e"}
    cell = Cell(ref, AttackRef(attack, attack, f"{attack}-digest"), threat, part, 0, draws, 64, "1")
    return Result(cell, outcome, tuple(findings), code)


def done(adversarial, *, clean=None, draws=1, cost=(40, 20)):
    """A finished cell with these counts of right draws."""
    adversarial = np.array(adversarial, dtype=np.uint8)
    clean = np.full_like(adversarial, draws) if clean is None else np.array(clean, dtype=np.uint8)
    return Done(Verdicts(draws, clean, adversarial), Cost(*cost))


def cells():
    """Every kind of outcome: numbers, a stochastic defense, a flag, a block after the attacks, a gap, a failure."""
    blocked = [BLOCK, PASSED]
    return (
        result("at", "pgd-20", LINF, done([1, 1, 1, 0], clean=[1, 1, 1, 0]), findings=[PASSED]),
        result("at", "stadv", STADV, done([0, 1, 0, 0], clean=[1, 1, 1, 0]), findings=[PASSED]),
        result("at", "pgd-20", L2, Failed("RuntimeError: out of memory"), findings=[PASSED]),
        result("ap", "pgd-20", LINF, done([10, 5, 0, 0], draws=10), draws=10, findings=[FLAG], trained_on=()),
        result("ap", "stadv", STADV, Skipped("no such attack"), draws=10, findings=[FLAG], trained_on=()),
        result("ap", "pgd-20", L2, None, draws=10, findings=[FLAG], trained_on=()),
        result("masked", "pgd-20", LINF, done([1, 1, 1, 1]), findings=blocked),
        result("masked", "stadv", STADV, done([1, 1, 1, 1]), findings=blocked),
        result("masked", "pgd-20", L2, None, findings=blocked),
    )


def many(defenses=6, attacks=8, n=64):
    """A larger matrix of drawn verdicts, every third defense stochastic."""
    draw = np.random.default_rng(3)
    found = []
    for one in range(defenses):
        draws = 10 if one % 3 == 0 else 1
        for two in range(attacks):
            threat = (LINF, L2, STADV)[two % 3]
            clean = draw.binomial(draws, 0.9, n)
            outcome = done(np.minimum(clean, draw.binomial(draws, draw.random(), n)), clean=clean, draws=draws)
            found.append(result(f"defense-{one}", f"attack-{two}", threat, outcome, draws=draws, n=n))
    return tuple(found)


def hostile():
    """A defense, an attack, an error, a reason and a finding for every hostile name."""
    found = []
    for at, name in enumerate(HOSTILE):
        finding = Finding("A01", "flag", name, name, f"A01: {name}", (name,))
        found.append(result(name, name, LINF, done([1, 1, 0, at % 2]), findings=[finding], dataset=HOSTILE[0]))
        found.append(result(name, "failing", L2, Failed(f"Error: {name}"), findings=[finding], dataset=HOSTILE[0]))
        found.append(result(name, "skipping", STADV, Skipped(name), findings=[finding], dataset=HOSTILE[0]))
    blocks = Finding("S05", "block", HOSTILE[0], HOSTILE[1], f"S05: {HOSTILE[2]}")
    found.append(result("blocked" + HOSTILE[1], "failing", L2, None, findings=[blocks], dataset=HOSTILE[0]))
    return tuple(found)


def stored(root, found):
    """These cells as the results of a folder that holds nothing else."""
    return Results(tuple(found), Store(Path(root)))
