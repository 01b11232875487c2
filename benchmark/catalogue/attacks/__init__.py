"""Every registered attack, as data: adding one is one file in `attacks/` and one entry in the module of its kind here.

The order of the entries is the order of columns and lists.
"""

from __future__ import annotations

from bench.catalogue.attacks import (
    decision,
    ensembles,
    lp,
    minimum_norm,
    perceptual,
    purifiers,
    score,
    sparse,
    unforeseen,
)
from bench.catalogue.registry import AttackEntry, Registry

ATTACKS: Registry[AttackEntry] = Registry("attack", "bench.attacks")

for _kind in (lp, minimum_norm, score, decision, sparse, purifiers, ensembles, unforeseen, perceptual):
    for _entry in _kind.ENTRIES:
        ATTACKS.add(_entry)

# What `bench run` takes by default: the attacks of the field's usual table.
DEFAULT_ATTACKS = (
    "fgsm",
    "pgd-20",
    "pgd-eot-20",
    "apgd-ce",
    "apgd-dlr",
    "apgd-t",
    "fab-t",
    "square",
    "autoattack",
    "stadv",
)
