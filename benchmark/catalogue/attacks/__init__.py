"""Every attack, as data: adding one is one file in `attacks/` and one entry in the module of its kind here.

The order is that of columns and lists.
"""

from __future__ import annotations

from bench.catalogue.attacks import ensembles, gradient, minimum, purifiers, search, spatial
from bench.registry import AttackEntry, Registry

ATTACKS: Registry[AttackEntry] = Registry("attack", "bench.attacks")

for _kind in (gradient, minimum, search, purifiers, ensembles, spatial):
    for _entry in _kind.ENTRIES:
        ATTACKS.add(_entry)
