"""The budget of a search, in passes: a forward or a backward of one image, each draw counted."""

from __future__ import annotations

from dataclasses import dataclass

from bench.catalogue.loading import load_attack
from bench.catalogue.refs import AttackRef
from bench.oracle.oracle import CONFIRMING_DRAWS, EVIDENCE_DRAWS


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
    """Return the most forwards per image in which suspected successes are confirmed."""
    # An attack that looks for evidence when it likes knows how often.
    looking = getattr(load_attack(ref), "looking", None)
    if callable(looking):
        return int(looking())
    return ref.forwards * CONFIRMING_DRAWS if ref.eot >= EVIDENCE_DRAWS and ref.access == "gradient" else 0
