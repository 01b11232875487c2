"""Attacks on purifiers: on a part of the defense, with a surrogate's gradient, or on the draws that break together."""

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
        "across-draws",
        "bench.attacks.purifiers.across_draws:AcrossDraws",
        "1802.00420",
        "PGD on single draws with momentum across them: 2 x 150 draws, more at once where signs are not settled",
        _LP,
        # Two trajectories of 150 draws and up to 15 beyond, five more each along a stand-in, 90 that compare points.
        # Looks for evidence come on top where nearly all draws are wrong, as what confirms a success does everywhere.
        forwards=430,
        backwards=340,
        not_for={"deterministic": "it has no draws to average over: use apgd-ce"},
        only_named=True,
        version=2,  # its first trajectory begins at the image
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
    AttackEntry(
        "diffhammer",
        "bench.attacks.purifiers.diffhammer:DiffHammer",
        "NeurIPS 2024 (DiffHammer)",
        "3 x 50 steps of Auto-PGD along the gradients of the draws, of 10, that EM finds to share a weakness",
        ("Linf", "L2"),
        forwards=153,
        backwards=153,
        config={"eot": 10},
        eot=10,
        not_for={"deterministic": "it chooses among the draws of a stochastic defense: use apgd-ce"},
        only_named=True,
    ),
)
