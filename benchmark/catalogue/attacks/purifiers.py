"""Attacks on purifiers: they attack a part of the defense, or replace its gradient by a surrogate's."""

from __future__ import annotations

from bench.catalogue.registry import AttackEntry

_LP = ("Linf", "L2", "L1")
_EOT = 20

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        "blind",
        "bench.attacks.purifiers.transfer:Transfer",
        "2401.16352",
        "transfer from the classifier alone: 40 steps of PGD with momentum that never ask the purifier",
        _LP,
        forwards=41,
        backwards=41,
        config={"path": "base"},
        needs="base",
        only_named=True,
    ),
    AttackEntry(
        "derandomized",
        "bench.attacks.purifiers.transfer:Transfer",
        "1802.00420",
        "transfer from the defense without its random transform: 40 steps of PGD with momentum",
        _LP,
        forwards=41,
        backwards=41,
        config={"path": "derandomized"},
        not_for={"deterministic": "there is nothing random to leave out: use pgd-20"},
        needs="derandomized",
        only_named=True,
    ),
    AttackEntry(
        "bpda",
        "bench.attacks.purifiers.bpda:BPDA",
        "1802.00420",
        "pgd-eot-20 with a stand-in's gradient: a surrogate's, or the identity's in place of the purifier (BPDA)",
        _LP,
        forwards=21,
        backwards=21,
        config={"steps": 20, "eot": _EOT},
        eot=_EOT,
        needs="bpda",
        only_named=True,
    ),
    AttackEntry(
        "transfer",
        "bench.attacks.purifiers.transfer:TransferFrom",
        "1602.02697",
        "transfer from another registered defense, transfer[source=at]: 40 steps of PGD with momentum on it",
        _LP,
        forwards=41,
        backwards=41,
        # The draws are those of the source: if it is stochastic, `resolve` multiplies the cost by them.
        config={"source": "standard", "eot": _EOT},
        needs="source",
        only_named=True,
    ),
)
