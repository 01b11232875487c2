"""Score-based attacks, which query logits alone: random search and noise."""

from __future__ import annotations

from bench.catalogue.registry import AttackEntry

_LP = ("Linf", "L2", "L1")
_EOT = 20

_ONE_ANSWER = "without draws to average over it is Square with fewer queries: use square"

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "square",
        "bench.attacks.lp.square:Square",
        "1912.00049",
        "random search over square patches, 5000 queries",
        _LP,
        forwards=5001,
        access="score",
        not_for={"stochastic": "it trusts single answers; AutoAttack's rand version omits it: use square-eot"},
    ),
    AttackEntry(
        "square-eot",
        "bench.attacks.lp.square:Square",
        "1912.00049",
        "random search over square patches, 300 moves, each decided by 10 draws against 10 of the point held",
        _LP,
        forwards=601,
        access="score",
        # 601 forwards per draw: two queries per move, the candidate and the current point, and one at the start.
        config={"queries": 300, "eot": 10},
        eot=10,
        not_for={"deterministic": _ONE_ANSWER},
        only_named=True,
    ),
    AttackEntry(
        "noise",
        "bench.attacks.lp.noise:Uniform",
        "1902.06705",
        "the best of 100 random points of the ball: the floor under every attack",
        _LP,
        # One draw per point, then 20 for each of the best 5: two per point.
        forwards=100,
        access="score",
        config={"n_draws": 100, "eot": _EOT, "finalists": 5},
        eot=2,
        only_named=True,
    ),
)
