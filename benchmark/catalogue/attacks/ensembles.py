"""Attacks that are the worst case of others."""

from __future__ import annotations

from bench.catalogue.registry import AttackEntry, Limits

_LP = ("Linf", "L2", "L1")
_EOT = 20

# By kind of defense. AutoAttack's standard version has other parameters in L1: untargeted APGD takes 5 restarts, the
# targeted one 5 classes instead of 9, and both begin in larger balls (large_reps).
_STANDARD = {
    "deterministic": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "deterministic L1": (
        "apgd-ce[n_restarts=5,large_reps=true]",
        "apgd-t[targets=5,large_reps=true]",
        "fab-t",
        "square",
    ),
}

# The stages of the cascade, cheapest first: the screen, the gradient attacks, and the rest of AutoAttack.
_SCREEN = "malt[targets=1,steps=20]"
_CORE = (_SCREEN, "malt", "apgd-ce")
_REST = ("fab-t", "square")
# On stochastic defenses AutoAttack has no such members: the search there averages over its steps, not within each.
_FULL_STRENGTH = ("pgd-eot-200", "square-eot")

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "autoattack",
        "",
        "2003.01690",
        "AutoAttack, the worst case of its parts: standard on deterministic defenses, else rand (EOT 20) and Square",
        _LP,
        # The published rand version is by gradient alone: where a gradient is masked under noise, a cheap search
        # without one would break more than what is called AutoAttack.
        parts={**_STANDARD, "stochastic": ("apgd-ce", "apgd-dlr", "square-eot")},
    ),
    AttackEntry(
        "autoattack-standard",
        "",
        "2003.01690",
        "AutoAttack(version='standard'): 4 parts; in L1 with 5 restarts, large reps and 5 targets",
        _LP,
        parts=_STANDARD,
        not_for={"stochastic": "it trusts single answers: use autoattack-rand"},
        only_named=True,
    ),
    AttackEntry(
        "screen",
        "",
        "2407.02240",
        "a first look: 20 steps towards the nearest class (MALT), or 100 single draws; more where gradients are masked",
        _LP,
        parts={"deterministic": (_SCREEN,), "stochastic": ("across-draws[budget=100,n_restarts=1,momentum=0.9]",)},
        reserve={**_STANDARD, "stochastic": ("across-draws", "square-eot")},
        only_named=True,
    ),
    AttackEntry(
        "core",
        "",
        "2407.02240",
        "attacks by gradient (AutoAttack's, MALT first, or across-draws); the rest where gradients are masked",
        _LP,
        parts={"deterministic": _CORE, "stochastic": ("across-draws",)},
        reserve={"deterministic": _REST, "stochastic": ("square-eot",)},
        only_named=True,
    ),
    AttackEntry(
        "audit",
        "",
        "2407.02240",
        "core, and the strongest others on a tenth of the survivors; on all of them once that breaks more or is masked",
        _LP,
        parts={"deterministic": _CORE, "stochastic": ("across-draws",)},
        reserve={"deterministic": _REST, "stochastic": _FULL_STRENGTH},
        audited=0.1,
        only_named=True,
    ),
    AttackEntry(
        "autoattack-plus",
        "",
        "2003.01690",
        "AutoAttack(version='plus'): 6 parts, untargeted APGD and FAB with 5 restarts",
        ("Linf", "L2"),
        parts={
            "deterministic": (
                "apgd-ce[n_restarts=5]",
                "apgd-dlr[n_restarts=5]",
                "fab[n_restarts=5]",
                "square",
                "apgd-t",
                "fab-t",
            )
        },
        not_for={"stochastic": "it trusts single answers: use autoattack-rand"},
        only_named=True,
    ),
    AttackEntry(
        "autoattack-rand",
        "",
        "2003.01690",
        "AutoAttack(version='rand'): APGD on cross-entropy and DLR with EOT 20, judged by counts of draws",
        _LP,
        parts={"stochastic": ("apgd-ce", "apgd-dlr")},
        not_for={"deterministic": "without randomness its draws are one draw: use autoattack-standard"},
        only_named=True,
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
        "known-draws",
        "",
        "2404.14309",
        "apgd-ce and apgd-dlr on each evaluation draw, its random numbers known (DW-box); in no worst case",
        _LP,
        parts={"stochastic": ("apgd-ce", "apgd-dlr")},
        not_for={"deterministic": "it has no draws to know: use apgd-ce,apgd-dlr"},
        known_draws=True,
        only_named=True,
    ),
    AttackEntry(
        "autoattack-ref",
        "bench.attacks.adapters.pyautoattack:AutoAttack",
        "2003.01690",
        "the pyautoattack package's own standard (rand on stochastic defenses) run, for cross-checking",
        ("Linf", "L2"),
        # Its Square begins with squares of a fifth of the height, laid out over the height alone.
        limits={"deterministic L2": Limits(square=True, smallest=5)},
        forwards=7865,
        backwards=1910,
        eot=_EOT,
        requires=("pyautoattack",),
        only_named=True,
    ),
)
