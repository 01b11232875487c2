"""Attacks on a number of pixels."""

from __future__ import annotations

from bench.catalogue.registry import AttackEntry
from bench.threats import SPARSE

_EOT = 20

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "pgd-l0",
        "bench.attacks.lp.pgd_l0:PGDL0",
        "1909.05040",
        "40 runs of 5 gradient steps, after each of which the pixels that moved furthest stay",
        (SPARSE,),
        forwards=240,
        backwards=240,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "sparse-rs",
        "bench.attacks.lp.sparse_rs:SparseRS",
        "2006.12834",
        "random search over pixels at corners of the color cube, 2000 queries",
        (SPARSE,),
        forwards=2000,
        access="score",
        not_for={"stochastic": "it trusts single answers: use sparse-rs-eot"},
    ),
    AttackEntry(
        "sparse-rs-eot",
        "bench.attacks.lp.sparse_rs:SparseRS",
        "2006.12834",
        "random search over pixels at corners of the color cube, 400 points, 10 draws of each and 10 of the point held",
        (SPARSE,),
        # Two queries per point: the candidate, and the point held.
        forwards=800,
        access="score",
        config={"queries": 400, "eot": 10},
        eot=10,
        not_for={"deterministic": "without draws to average over it is sparse-rs with fewer queries: use sparse-rs"},
    ),
    AttackEntry(
        "sigma-zero",
        "bench.attacks.minimum_norm.sigma_zero:SigmaZero",
        "2402.01879",
        "the fewest pixels, by 300 steps of Adam on the margin and a smooth count of them",
        (SPARSE,),
        forwards=301,
        backwards=300,
        not_for={"stochastic": "its steps assume that one image has one prediction"},
    ),
)
