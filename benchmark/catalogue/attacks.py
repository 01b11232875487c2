"""Every attack, as data: adding one is one file in `attacks/` and one entry here."""

from __future__ import annotations

from bench.registry import AttackEntry, Registry

ATTACKS: Registry[AttackEntry] = Registry("attack", "bench.attacks")

_LP = ("Linf", "L2")
_EOT = 20  # draws per gradient of a stochastic defense, as in AutoAttack's rand version

_NOT_RANDOM = "its steps assume that one image has one prediction"
_ONE_DRAW = "without draws to average over it is PGD under another name: use pgd-20"
_ONE_ANSWER = "without draws to average over it is Square with fewer queries: use square"

ATTACKS.add(
    AttackEntry(
        "fgsm",
        "bench.attacks.fgsm:FGSM",
        "1412.6572",
        "one step along the gradient of the cross-entropy",
        _LP,
        forwards=1,
        backwards=1,
        config={"eot": _EOT},
        eot=_EOT,
    )
)
ATTACKS.add(
    AttackEntry(
        "pgd-20",
        "bench.attacks.pgd:PGD",
        "1706.06083",
        "20 projected gradient steps from a random start, one draw per gradient",
        _LP,
        forwards=21,
        backwards=21,
        config={"steps": 20},
    )
)
ATTACKS.add(
    AttackEntry(
        "pgd-eot-20",
        "bench.attacks.pgd:PGD",
        "1802.00420",
        "pgd-20 with momentum on the gradient averaged over 20 draws (EOT)",
        _LP,
        forwards=21,
        backwards=21,
        config={"steps": 20, "eot": _EOT, "momentum": 0.75},
        eot=_EOT,
        not_for={"deterministic": _ONE_DRAW},
    )
)
ATTACKS.add(
    AttackEntry(
        "pgd-eot-restarts",
        "bench.attacks.pgd:PGD",
        "1802.00420",
        "pgd-eot-20 with 40 steps from each of 3 random starts",
        _LP,
        forwards=123,
        backwards=123,
        config={"steps": 40, "eot": _EOT, "momentum": 0.75, "n_restarts": 3},
        eot=_EOT,
        not_for={"deterministic": _ONE_DRAW},
        only_named=True,
    )
)
ATTACKS.add(
    AttackEntry(
        "cw-20",
        "bench.attacks.pgd:PGD",
        "1608.04644",
        "20 projected gradient steps on Carlini and Wagner's margin, with momentum and 20 draws per gradient (EOT)",
        _LP,
        forwards=21,
        backwards=21,
        config={"steps": 20, "eot": _EOT, "momentum": 0.75, "loss": "margin"},
        eot=_EOT,
        only_named=True,
    )
)
ATTACKS.add(
    AttackEntry(
        "apgd-ce",
        "bench.attacks.apgd:APGD",
        "2003.01690",
        "100 steps of Auto-PGD on the cross-entropy",
        _LP,
        forwards=101,
        backwards=101,
        config={"loss": "ce", "eot": _EOT},
        eot=_EOT,
    )
)
ATTACKS.add(
    AttackEntry(
        "apgd-dlr",
        "bench.attacks.apgd:APGD",
        "2003.01690",
        "100 steps of Auto-PGD on the difference of logits ratio",
        _LP,
        forwards=101,
        backwards=101,
        config={"loss": "dlr", "eot": _EOT},
        eot=_EOT,
    )
)
ATTACKS.add(
    AttackEntry(
        "apgd-t",
        "bench.attacks.apgd:APGDTargeted",
        "2003.01690",
        "100 steps of Auto-PGD on the targeted DLR loss, for each of 9 target classes",
        _LP,
        forwards=910,
        backwards=909,
        not_for={"stochastic": "9 targets x 100 steps x 20 draws: AutoAttack's rand version leaves it out too"},
    )
)
ATTACKS.add(
    AttackEntry(
        "fab-t",
        "bench.attacks.adapters.pyautoattack:FABTargeted",
        "1907.02044",
        "targeted Fast Adaptive Boundary, 100 steps for each of 9 target classes (pyautoattack)",
        _LP,
        forwards=1829,
        backwards=900,
        not_for={"stochastic": _NOT_RANDOM},
        requires=("pyautoattack",),
    )
)
ATTACKS.add(
    AttackEntry(
        "square",
        "bench.attacks.square:Square",
        "1912.00049",
        "random search over square patches, 5000 queries",
        _LP,
        forwards=5001,
        access="score",
        not_for={"stochastic": "it trusts single answers; AutoAttack's rand version omits it: use square-eot"},
    )
)
ATTACKS.add(
    AttackEntry(
        "square-eot",
        "bench.attacks.square:Square",
        "1912.00049",
        "random search over square patches, 300 moves, each decided by 10 draws against 10 of the point held",
        _LP,
        forwards=601,
        access="score",
        config={"queries": 300, "eot": 10},
        eot=10,
        not_for={"deterministic": _ONE_ANSWER},
        only_named=True,
    )
)
ATTACKS.add(
    AttackEntry(
        "noise",
        "bench.attacks.noise:Uniform",
        "1902.06705",
        "the best of 100 random points of the ball: the floor under every attack",
        _LP,
        # One draw per point, then 20 for each of the best 5: two per point.
        forwards=100,
        access="score",
        config={"n_draws": 100, "eot": _EOT, "finalists": 5},
        eot=2,
        only_named=True,
    )
)
ATTACKS.add(
    AttackEntry(
        "blind",
        "bench.attacks.transfer:Transfer",
        "2401.16352",
        "transfer from the classifier alone: 40 steps of PGD with momentum that never ask the purifier",
        _LP,
        forwards=41,
        backwards=41,
        config={"path": "base"},
        needs="base",
        only_named=True,
    )
)
ATTACKS.add(
    AttackEntry(
        "derandomized",
        "bench.attacks.transfer:Transfer",
        "1802.00420",
        "transfer from the defense without its random transform: 40 steps of PGD with momentum",
        _LP,
        forwards=41,
        backwards=41,
        config={"path": "derandomized"},
        not_for={"deterministic": "there is nothing random to leave out: use pgd-20"},
        needs="derandomized",
        only_named=True,
    )
)
ATTACKS.add(
    AttackEntry(
        "bpda",
        "bench.attacks.bpda:BPDA",
        "1802.00420",
        "pgd-eot-20 with a stand-in's gradient: a surrogate's, or the identity's in place of the purifier (BPDA)",
        _LP,
        forwards=21,
        backwards=21,
        config={"steps": 20, "eot": _EOT},
        eot=_EOT,
        needs="bpda",
        only_named=True,
    )
)
ATTACKS.add(
    AttackEntry(
        "autoattack",
        "",
        "2003.01690",
        "AutoAttack, the worst case of its parts: standard on deterministic defenses, rand (EOT 20) on others",
        _LP,
        parts={"deterministic": ("apgd-ce", "apgd-t", "fab-t", "square"), "stochastic": ("apgd-ce", "apgd-dlr")},
    )
)
ATTACKS.add(
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
    )
)
ATTACKS.add(
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
    )
)
ATTACKS.add(
    AttackEntry(
        "stadv",
        "bench.attacks.stadv:StAdv",
        "1801.02612",
        "bounded displacement of pixels, found by Adam on the margin",
        ("stadv",),
        forwards=101,
        backwards=101,
        config={"eot": _EOT},
        eot=_EOT,
    )
)
