"""Gradient attacks bounded in an Lp norm: one step, projected gradient descent and Auto-PGD."""

from __future__ import annotations

from bench.registry import AttackEntry

_LP = ("Linf", "L2")
_EOT = 20  # draws per gradient of a stochastic defense, as in AutoAttack's rand version

_ONE_DRAW = "without draws to average over it is PGD under another name: use pgd-20"

ENTRIES: tuple[AttackEntry, ...] = (
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
    ),
    AttackEntry(
        "pgd-20",
        "bench.attacks.pgd:PGD",
        "1706.06083",
        "20 projected gradient steps from a random start, one draw per gradient",
        _LP,
        forwards=21,
        backwards=21,
        config={"steps": 20},
    ),
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
    ),
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
    ),
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
    ),
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
    ),
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
    ),
    AttackEntry(
        "apgd-t",
        "bench.attacks.apgd:APGDTargeted",
        "2003.01690",
        "100 steps of Auto-PGD on the targeted DLR loss, for each of 9 target classes",
        _LP,
        forwards=910,
        backwards=909,
        not_for={"stochastic": "9 targets x 100 steps x 20 draws: AutoAttack's rand version leaves it out too"},
    ),
)
