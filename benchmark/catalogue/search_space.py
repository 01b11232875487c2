"""What `bench search-attack` chooses from: registered attacks, and for each the values of its parameters.

The axes are those along which adaptive evaluations of defenses differ (Tramer et al., NeurIPS 2020, arXiv:2002.08347):
the optimizer, the loss, draws per gradient, length and schedule of the steps, momentum, the start, and whose gradient
is followed: the defense's own, a stand-in's (`bpda`), or that of a part of it (`blind`, `derandomized`). The order
is the search's own business (`bench.harness.search`), as in Yao et al., NeurIPS 2021 (arXiv:2102.11860).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.catalogue.request import Request

_LOSSES = ("ce", "margin", "dlr", "pm", "mean")
_DRAWS = ("1", "2", "4", "8", "16")
_ALONG = {
    "step_size": ("0.05", "0.1", "0.25", "0.5", "1"),
    "schedule": ("constant", "cosine"),
    "momentum": ("0.3", "0.5", "0.75", "0.9"),
    "n_restarts": ("1", "2", "3"),
    "loss": _LOSSES,
}


@dataclass(frozen=True)
class Family:
    """A registered attack and what may be chosen of it.

    Attributes:
        name: of the attack.
        axes: the values of each parameter, as they are typed.
        kinds: the kinds of defense that it is meant for.
    """

    name: str
    axes: Mapping[str, tuple[str, ...]]
    kinds: tuple[str, ...] = ("deterministic", "stochastic")

    def draw(self, chance: random.Random, *, stochastic: bool) -> Request:
        """Return the attack with a value drawn for each parameter; without randomness there is no draw to choose."""
        axes = {key: values for key, values in self.axes.items() if stochastic or key != "eot"}
        return Request(self.name, {key: chance.choice(values) for key, values in axes.items()})


_PGD = Family(
    "pgd-20",
    {
        "steps": ("10", "20", "40", "80"),
        "eot": _DRAWS,
        "random_start": ("true", "false"),
        **_ALONG,
        "momentum": ("0", "0.5", "0.75", "0.9"),
    },
)
_APGD = Family(
    "apgd-ce",
    {"steps": ("25", "50", "100"), "eot": _DRAWS, "n_restarts": ("1", "2"), "loss": _LOSSES, "rho": ("0.5", "0.75")},
)
_BPDA = Family("bpda", {"steps": ("10", "20", "40", "80"), "eot": _DRAWS, **_ALONG})
_APART = {"steps": ("20", "40", "80", "160"), **_ALONG}

SPACE: tuple[Family, ...] = (
    _PGD,
    _APGD,
    Family(
        "across-draws",
        {
            "budget": ("50", "100", "150", "300", "600"),
            "draws": ("1", "2", "4"),
            "momentum": ("0.8", "0.9", "0.95", "0.98"),
            "n_restarts": ("1", "2", "3"),
            "loss": ("error", *_LOSSES),
        },
        ("stochastic",),
    ),
    _BPDA,
    Family("derandomized", _APART, ("stochastic",)),
    Family("blind", _APART),
    Family("apgd-t", {"steps": ("20", "50", "100"), "targets": ("1", "3", "5", "9")}, ("deterministic",)),
    Family("square", {"queries": ("200", "500", "1000", "2500"), "p_init": ("0.3", "0.8")}, ("deterministic",)),
    Family(
        "square-eot", {"queries": ("50", "100", "200"), "eot": ("4", "10"), "p_init": ("0.3", "0.8")}, ("stochastic",)
    ),
)
# Where a search begins: these as they are. Nobody has to find again what is known to work.
_KNOWN = {
    "stochastic": ("across-draws", "bpda", "derandomized", "blind", "cw-20", "pgd-eot-20"),
    "deterministic": ("pgd-20", "apgd-ce", "apgd-dlr", "bpda", "blind", "apgd-t"),
}


def configurations(seed: int, *, stochastic: bool) -> Iterator[Request]:
    """Yield attacks without end, the same ones for a seed: first those as they are registered, then drawn ones.

    An attack may come again; whoever asks knows which are meaningless for the defense.
    """
    kind = "stochastic" if stochastic else "deterministic"
    yield from (Request(name, {}) for name in _KNOWN[kind])
    families = [family for family in SPACE if kind in family.kinds]
    chance = random.Random(f"search-attack {seed}")  # text is the same seed on every machine
    for _ in itertools.count():
        yield chance.choice(families).draw(chance, stochastic=stochastic)
