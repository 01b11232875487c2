"""Every defense, as data: adding one is one file in `defenses/` and one entry here."""

from __future__ import annotations

from bench.registry import DefenseEntry, Registry

DEFENSES: Registry[DefenseEntry] = Registry("defense", "bench.defenses")

_RT = ("none", "1", "2", "3")
_MOVES = ("1", "2", "3")
_PURIFIER = ("base", "derandomized", "bpda", "frozen")

DEFENSES.add(
    DefenseEntry(
        "standard",
        "bench.defenses.standard:load",
        "undefended",
        "the classifier alone, trained without adversarial examples",
        weights=("standard",),
    )
)
DEFENSES.add(
    DefenseEntry(
        "at",
        "bench.defenses.at:load",
        "1706.06083",
        "adversarial training with PGD",
        weights=("at",),
    )
)
DEFENSES.add(
    DefenseEntry(
        "ap",
        "bench.defenses.ap:load",
        "2401.16352",
        "adversarial purification: a purifier trained on clean images before the standard classifier",
        weights=("standard", "ap"),
        starts_from=("standard",),
        config={"rt": "none"},
        choices={"rt": _RT},
        stochastic_when={"rt": _MOVES},
        offers=_PURIFIER,
    )
)
DEFENSES.add(
    DefenseEntry(
        "atop",
        "bench.defenses.atop:load",
        "2401.16352",
        "adversarial training on purification: random transform and adversarially fine-tuned purifier",
        weights=("standard", "atop-rt{rt}"),
        starts_from=("standard", "ap"),
        config={"rt": "1"},
        choices={"rt": _RT},
        stochastic_when={"rt": _MOVES},
        offers=_PURIFIER,
    )
)
