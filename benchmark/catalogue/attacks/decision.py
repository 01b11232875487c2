"""Decision-based attacks, which query labels alone."""

from __future__ import annotations

from bench.catalogue.registry import AttackEntry

_NOT_RANDOM = "it trusts single answers: use square-eot"

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "rays",
        "bench.attacks.decision.rays:RayS",
        "2006.12792",
        "RayS: search along rays of signs for the nearest boundary, 1000 labels",
        ("Linf",),
        forwards=1000,
        access="decision",
        not_for={"stochastic": _NOT_RANDOM},
    ),
    AttackEntry(
        "hopskipjump",
        "bench.attacks.adapters.foolbox:HopSkipJump",
        "1904.02144",
        "HopSkipJump: gradients of the boundary estimated from labels, 1000 of them (foolbox)",
        ("Linf", "L2"),
        # 1000, and 25 at most to find a starting point.
        forwards=1025,
        access="decision",
        not_for={"stochastic": _NOT_RANDOM},
        requires=("foolbox",),
        only_named=True,
    ),
)
