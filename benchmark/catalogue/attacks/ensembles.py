"""Attacks that are the worst case of others."""

from __future__ import annotations

from bench.registry import AttackEntry

_LP = ("Linf", "L2")
_EOT = 20

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "autoattack",
        "",
        "2003.01690",
        "AutoAttack, the worst case of its parts: standard on deterministic defenses, rand (EOT 20) on others",
        _LP,
        parts={"deterministic": ("apgd-ce", "apgd-t", "fab-t", "square"), "stochastic": ("apgd-ce", "apgd-dlr")},
    ),
    AttackEntry(
        "adaptive",
        "",
        "2002.08347",
        "the worst case of every attack that knows of purifiers or randomness, and of AutoAttack's parts",
        _LP,
        parts={
            "deterministic": ("apgd-ce", "apgd-t", "fab-t", "square", "cw-20", "bpda", "blind"),
            "stochastic": (
                "apgd-ce",
                "apgd-dlr",
                "pgd-eot-restarts",
                "cw-20",
                "derandomized",
                "bpda",
                "blind",
                "square-eot",
            ),
        },
        only_named=True,
    ),
    AttackEntry(
        "autoattack-ref",
        "bench.attacks.adapters.pyautoattack:AutoAttack",
        "2003.01690",
        "the pyautoattack package's own standard (rand on stochastic defenses) run, for cross-checking",
        _LP,
        forwards=7865,
        backwards=1910,
        eot=_EOT,
        requires=("pyautoattack",),
        only_named=True,
    ),
)
