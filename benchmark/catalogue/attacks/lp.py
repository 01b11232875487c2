"""Gradient attacks bounded in an Lp norm: one step, projected gradient descent and Auto-PGD."""

from __future__ import annotations

from bench.catalogue.registry import AttackEntry

_LP = ("Linf", "L2", "L1")
_EOT = 20  # draws per gradient of a stochastic defense, as in AutoAttack's rand version

_ONE_DRAW = "without draws to average over it is PGD under another name: use pgd-20"
_NINE_TARGETS = "9 targets x 100 steps x 20 draws: AutoAttack's rand version leaves it out too"

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "fgsm",
        "bench.attacks.lp.fgsm:FGSM",
        "1412.6572",
        "one step along the gradient of the cross-entropy",
        _LP,
        forwards=1,
        backwards=1,
        config={"eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "fgsm-rs",
        "bench.attacks.lp.fgsm:FGSM",
        "2001.03994",
        "one step of 1.25 eps from a random start, the attack of fast adversarial training",
        _LP,
        forwards=1,
        backwards=1,
        # In units of eps: 1.25 is the step size that Wong, Rice and Kolter train with.
        config={"random_start": True, "step_size": 1.25, "eot": _EOT},
        eot=_EOT,
    ),
    AttackEntry(
        "pgd-20",
        "bench.attacks.lp.pgd:PGD",
        "1706.06083",
        "20 projected gradient steps from a random start, one draw per gradient",
        _LP,
        forwards=21,
        backwards=21,
        config={"steps": 20},
    ),
    AttackEntry(
        "pgd-eot-20",
        "bench.attacks.lp.pgd:PGD",
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
        "bench.attacks.lp.pgd:PGD",
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
        "pgd-eot-200",
        "bench.attacks.lp.pgd:PGD",
        "2303.09051",
        "200 steps of 0.007 at eps 8/255 from the image, each averaged over 20 draws (EOT): Lee and Kim's preset",
        _LP,
        forwards=201,
        backwards=201,
        # The paper's 0.007 is absolute at eps 8/255; step sizes here are in units of eps.
        config={"steps": 200, "step_size": 0.007 * 255 / 8, "eot": _EOT, "random_start": False},
        eot=_EOT,
        not_for={"deterministic": _ONE_DRAW},
        only_named=True,
    ),
    AttackEntry(
        "cw-20",
        "bench.attacks.lp.pgd:PGD",
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
        "bench.attacks.lp.apgd:APGD",
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
        "bench.attacks.lp.apgd:APGD",
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
        "bench.attacks.lp.apgd:APGDTargeted",
        "2003.01690",
        "100 steps of Auto-PGD on the targeted DLR loss, for each of 9 target classes",
        _LP,
        forwards=910,
        backwards=909,
        not_for={"stochastic": _NINE_TARGETS},
    ),
    AttackEntry(
        # Named only: on datasets of 10 classes its targets are those of apgd-t.
        "malt",
        "bench.attacks.lp.malt:MALT",
        "2407.02240",
        "apgd-t with its 9 targets chosen among 100 classes, and ordered, by linearized distance",
        _LP,
        # Of 10 classes. One query ranks them by logit, another by 9 gradients, by distance; then as apgd-t.
        forwards=911,
        backwards=918,
        not_for={"stochastic": _NINE_TARGETS},
        only_named=True,
    ),
)
