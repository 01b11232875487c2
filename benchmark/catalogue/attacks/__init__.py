"""Every attack, as data: adding one is one file in `attacks/` and one entry in the module of its kind here.

The order is that of columns and lists.
"""

from __future__ import annotations

from bench.catalogue.attacks import (
    color,
    corruptions,
    decision,
    ensembles,
    gradient,
    minimum,
    perceptual,
    purifiers,
    search,
    spatial,
    unforeseen,
)
from bench.registry import AttackEntry, Registry

ATTACKS: Registry[AttackEntry] = Registry("attack", "bench.attacks")

for _kind in (
    gradient,
    minimum,
    search,
    decision,
    purifiers,
    ensembles,
    spatial,
    unforeseen,
    color,
    corruptions,
    perceptual,
):
    for _entry in _kind.ENTRIES:
        ATTACKS.add(_entry)

# What `bench run` takes where nothing is asked for: the attacks of the field's usual table.
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
