"""What a search for an attack tried, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.results.outcome import Verdicts


@dataclass(frozen=True)
class Tried:
    """An attack on validation images, or several in turn.

    Attributes:
        attacks: their names as they are typed, in their order.
        images: on how many validation images it was tried, the first ones.
        accuracy: of the defense under it, the mean over its draws, in [0, 1]; 1 where it was not tried to the end.
        passes: it took on all of these images.
        reason: why it was left out; empty where it was not.
    """

    attacks: tuple[str, ...]
    images: int
    accuracy: float
    passes: int
    reason: str = ""

    @property
    def label(self) -> str:
        return " + ".join(self.attacks)


@dataclass(frozen=True)
class Searched:
    """A search on validation images.

    Attributes:
        defense: the label of the defense that it was for.
        threat: the threat model.
        dataset: whose images.
        n: how many validation images, at most.
        seed: of the search.
        budget: the most passes per image.
        strategy: `successive halving` or `random search`.
        tried: everything that was tried, each with all of the images that it came to see; those left out too.
        passes: that were spent over all images.
        found: the best of them.
    """

    defense: str
    threat: str
    dataset: str
    n: int
    seed: int
    budget: int
    strategy: str
    tried: tuple[Tried, ...]
    passes: int
    found: Tried

    @property
    def left_out(self) -> list[Tried]:
        """Return what failed, or makes no sense for this defense."""
        return [each for each in self.tried if each.reason]

    def record(self) -> dict[str, str | int | float]:
        """Return what a file of the attack that was found tells of the search."""
        return {
            "defense": self.defense,
            "dataset": self.dataset,
            "threat": self.threat,
            "budget": self.budget,
            "seed": self.seed,
            "n": self.n,
            "strategy": self.strategy,
            "tried": len(self.tried) - len(self.left_out),
            "left_out": len(self.left_out),
            "passes": self.passes,
            "validation_images": self.found.images,
            "validation_accuracy": round(self.found.accuracy, 4),
        }


def accuracy(verdicts: Sequence[Verdicts]) -> float:
    """Return the share of correct draws over some parts of the images; 1 without any."""
    right = sum(int(each.adversarial.sum()) for each in verdicts)
    asked = sum(each.draws * len(each) for each in verdicts)
    return right / asked if asked else 1.0
