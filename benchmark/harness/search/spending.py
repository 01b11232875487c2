"""The budget of a search, in passes: a forward or a backward of one image, each draw counted."""

from __future__ import annotations

from dataclasses import dataclass

from bench.catalogue.refs import AttackRef
from bench.oracle.oracle import CONFIRMING_DRAWS, EVIDENCE_DRAWS

# Of `bench.attacks.purifiers.across_draws`: queries between two looks for evidence, the most draws per gradient, and
# what it takes where nothing else is said.
_LOOK, _MOST = 20, 16
_BUDGET, _DRAWS, _RESTARTS = 150, 1, 2


@dataclass
class Budget:
    """What may be spent, and what was.

    Attributes:
        total: passes over all images.
        spent: likewise.
    """

    total: int
    spent: int = 0

    def allows(self, most: int, share: float = 1.0) -> bool:
        """Return whether so many passes more stay within a share of the total."""
        return self.spent + most <= share * self.total


def usual_passes(ref: AttackRef, *, stochastic: bool) -> int:
    """Return the passes per image of an attack, or of several in turn, on an image that it does not break."""
    if ref.stages:
        return sum(usual_passes(stage, stochastic=stochastic) for stage in ref.stages)
    return (ref.eot if stochastic else 1) * (ref.forwards + ref.backwards)


def most_passes(ref: AttackRef, *, stochastic: bool) -> int:
    """Return the passes per image that an attack, or several in turn, can in no case exceed.

    On a stochastic defense a suspected success is confirmed in fresh draws, which no attack counts as its own.
    """
    if ref.stages:
        return sum(most_passes(stage, stochastic=stochastic) for stage in ref.stages)
    return usual_passes(ref, stochastic=stochastic) + (_confirming(ref) if stochastic else 0)


def _confirming(ref: AttackRef) -> int:
    if ref.label.partition("[")[0] == "across-draws":
        config = ref.config
        return int(config.get("n_restarts", _RESTARTS)) * _looking(
            int(config.get("budget", _BUDGET)), int(config.get("draws", _DRAWS))
        )
    return ref.forwards * CONFIRMING_DRAWS if ref.eot >= EVIDENCE_DRAWS and ref.access == "gradient" else 0


def _looking(budget: int, draws: int) -> int:
    """Return the most forwards per trajectory of `across-draws` that look for evidence, and confirm it."""
    looks = budget // (_LOOK * draws) + 1
    # Queries of so many draws that they are evidence themselves: most of them where draws double as soon as they may.
    spent = queries = confirmed = 0
    while spent < budget:
        spent += draws
        queries += 1
        confirmed += draws >= EVIDENCE_DRAWS
        if queries % _LOOK == 0:
            draws = min(2 * draws, max(_MOST, draws))
    return looks * (EVIDENCE_DRAWS + CONFIRMING_DRAWS) + confirmed * CONFIRMING_DRAWS
