"""The search for an attack on images that are there for it: successive halving, or random search to compare it with.

Successive halving (Jamieson and Talwalkar, AISTATS 2016, arXiv:1502.07943): many attacks are tried on a few images, and
the better half goes on to twice as many, until a few have seen all. Then the best of these are tried in turn, each on
what the one before it left. So do Yao et al. (NeurIPS 2021, arXiv:2102.11860) with attacks that adapt to a defense.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice, pairwise
from typing import Protocol

import numpy as np

from bench.catalogue.refs import AttackRef
from bench.catalogue.request import Request
from bench.harness.search.spending import Budget, most_passes, usual_passes
from bench.results.outcome import Done, Verdicts
from bench.results.searched import accuracy

# The fewest images of a rung: on fewer, luck decides who goes on.
FEWEST = 8
# Attacks tried between two looks at the budget, the same number on every machine: it decides how many there are.
WAVE = 8
# So many attacks that are too expensive, one after the other, and a rung is over; and the most that a rung tries, where
# failures cost nothing.
_PATIENCE, _MOST_TRIED = 24, 512
# No attack alone may take more than this share of the budget of an image, else there would be little to choose from.
DEAREST = 0.25
# The best ones that sequences are made of, how many of these are tried at each length, and the longest.
_FINALISTS, _PAIRED, _LONGEST = 6, 2, 3


@dataclass(frozen=True)
class Candidate:
    """Attacks to run in turn, mostly one.

    Attributes:
        attacks: by name, with parameters.
        ref: of all of them together.
        stochastic: whether the defense is.
        meaningless: why they cannot attack this defense; empty where they can.
    """

    attacks: tuple[Request, ...]
    ref: AttackRef
    stochastic: bool
    meaningless: str = ""

    @property
    def label(self) -> str:
        return " + ".join(request.label for request in self.attacks)

    @property
    def usual(self) -> int:
        """Return the passes per image, on one that it does not break."""
        return usual_passes(self.ref, stochastic=self.stochastic)

    @property
    def most(self) -> int:
        """Return the passes per image that it cannot exceed."""
        return most_passes(self.ref, stochastic=self.stochastic)


@dataclass(frozen=True)
class Trial:
    """What came of a candidate so far.

    Attributes:
        verdicts: of each part of the images that it has seen, in their order.
        passes: over all of these images.
        reason: why it was left out; empty where it was not.
        depth: how far beyond the boundary it came, the mean margin; only a tie asks for it.
    """

    candidate: Candidate
    verdicts: tuple[Verdicts, ...] = ()
    passes: int = 0
    reason: str = ""
    depth: float = 0.0

    @property
    def images(self) -> int:
        return sum(map(len, self.verdicts))

    @property
    def accuracy(self) -> float:
        return accuracy(self.verdicts)

    @property
    def counts(self) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """Return the correct draws under attack, `[images]`."""
        return np.concatenate([each.adversarial for each in self.verdicts])


class Ground(Protocol):
    """The images that a search may look at, and the defense that they are attacked on."""

    def attack(self, candidates: Sequence[Candidate], start: int, stop: int) -> list[Done | str]:
        """Attack the images `[start, stop)` with each candidate; an error, as one line, where one failed."""

    def depth(self, candidate: Candidate, start: int, stop: int) -> float:
        """Return the mean margin of the defense under an attack that was run: the larger, the further it came."""

    def joined(self, attacks: Sequence[Request]) -> Candidate:
        """Return the candidate that runs these attacks in turn."""

    def tell(self, text: str) -> None:
        """Say how far the search is."""


def rungs(n: int) -> list[int]:
    """Return the numbers of images that attacks are tried on, each about twice the one before it, up to `n`."""
    ends = [n]
    while ends[0] // 2 >= FEWEST:
        ends.insert(0, ends[0] // 2)
    return ends


def successive_halving(candidates: Iterator[Candidate], ground: Ground, n: int, budget: Budget) -> list[Trial]:
    """Search by successive halving, then for a sequence of the best; return all that was tried, the best first.

    Args:
        candidates: without end.
        ground: where they are tried.
        n: images.
        budget: over all images; what is spent is never more.
    """
    ends = rungs(n)
    # The first rung takes twice as much as each of the others: half of it goes on to as many new images.
    total = len(ends) + 2
    over: list[Trial] = []
    alive: list[Trial] = []
    for rung, (start, stop) in enumerate(pairwise((0, *ends))):
        pool = iter(alive) if rung else map(Trial, candidates)
        tried, out, refused = _rung(pool, ground, (start, stop), budget, (rung + 2) / total)
        if rung:
            refused += pool
        if rung and not tried:  # that many images come before anything that would be saved for later
            again = iter(refused)
            tried, more, refused = _rung(again, ground, (start, stop), budget, 1.0)
            out, refused = [*out, *more], [*refused, *again]
        if not tried:  # what is left of the budget is too little for anybody: the rung before it decides
            over = [*out, *over]
            break
        # What is too expensive for the rest of the budget comes no further than where it is.
        over = [*(refused if rung else ()), *out, *over]
        keep = len(tried) if rung == len(ends) - 1 else (len(tried) + 1) // 2
        alive, over = tried[:keep], [*tried[keep:], *over]
        best = tried[0]
        ground.tell(
            f"{len(tried)} attacks on {stop} images: {100 * best.accuracy:.1f} % right under "
            f"{best.candidate.label}, {budget.spent / budget.total:.0%} of the passes spent"
        )
    if alive and alive[0].images == n:
        alive = _in_turn(alive, ground, n, budget)
    return [*alive, *over]


def random_search(candidates: Iterator[Candidate], ground: Ground, n: int, budget: Budget) -> list[Trial]:
    """Try candidates on all images until the budget is spent; return all that was tried, the best first."""
    tried, out, _ = _rung(map(Trial, candidates), ground, (0, n), budget, 1.0)
    return [*tried, *out]


def _rung(
    pool: Iterator[Trial], ground: Ground, part: tuple[int, int], budget: Budget, share: float
) -> tuple[list[Trial], list[Trial], list[Trial]]:
    """Try attacks on one part of the images more.

    Returns:
        Those that can be compared, the best first; those that cannot be or that failed; and those that are too
        expensive. After `_PATIENCE` of these in a row nobody else is asked for, and the rest stays in the pool.
    """
    begun: list[Trial] = []
    out: list[Trial] = []
    wave: list[Trial] = []
    refused: list[Trial] = []
    in_a_row = 0

    def run() -> None:
        begun.extend(_tried(wave, ground, part, budget))
        wave.clear()

    for trial in islice(pool, _MOST_TRIED):
        if trial.candidate.meaningless:
            out.append(replace(trial, reason=trial.candidate.meaningless))
            continue
        most = trial.candidate.most * (part[1] - part[0])
        if wave and not budget.allows(_most(wave, part) + most, share):
            run()
        if not budget.allows(most, share):
            refused.append(trial)
            in_a_row += 1
            if in_a_row >= _PATIENCE:
                break
            continue
        in_a_row = 0
        wave.append(trial)
        if len(wave) == WAVE:
            run()
    run()
    out += [each for each in begun if each.reason]
    return _ranked([each for each in begun if not each.reason], ground, part), out, refused


def _most(wave: Sequence[Trial], part: tuple[int, int]) -> int:
    return sum(each.candidate.most for each in wave) * (part[1] - part[0])


def _tried(wave: Sequence[Trial], ground: Ground, part: tuple[int, int], budget: Budget) -> list[Trial]:
    """Attack a part of the images with each, and pay for it."""
    found = []
    outcomes = ground.attack([each.candidate for each in wave], *part) if wave else []
    for trial, outcome in zip(wave, outcomes, strict=True):
        if isinstance(outcome, str):
            # What it took before it failed is not known.
            budget.spent += trial.candidate.most * (part[1] - part[0])
            found.append(replace(trial, reason=outcome))
            continue
        passes = outcome.cost.forwards + outcome.cost.backwards
        budget.spent += passes
        found.append(
            replace(trial, verdicts=(*trial.verdicts, outcome.verdicts), passes=trial.passes + passes, depth=0.0)
        )
    return found


def _ranked(tried: Sequence[Trial], ground: Ground, part: tuple[int, int]) -> list[Trial]:
    """Return attacks in the order of accuracy; those that leave the same are told apart by margin, then by passes."""

    def deep(tied: list[Trial]) -> list[Trial]:
        if len(tied) == 1:
            return tied
        known = [replace(each, depth=ground.depth(each.candidate, *part)) for each in tied]
        return sorted(known, key=lambda each: (-each.depth, each.passes))

    found = sorted(tried, key=lambda each: each.accuracy)
    return list(chain.from_iterable(deep(list(same)) for _, same in groupby(found, lambda each: each.accuracy)))


def _in_turn(finalists: list[Trial], ground: Ground, n: int, budget: Budget) -> list[Trial]:
    """Put attacks behind and before the best one, as long as that leaves less; return all, the best first."""
    tried, best = list(finalists), finalists[0]
    for _ in range(_LONGEST - 1):
        longer = list(_longer(best, finalists[:_FINALISTS], ground))
        found, out, _ = _rung(map(Trial, longer), ground, (0, n), budget, 1.0)
        if found:
            ground.tell(f"{len(found)} sequences on {n} images: {100 * found[0].accuracy:.1f} % right under the best")
        tried += [*found, *out]
        if not found or found[0].accuracy >= best.accuracy:
            break
        best = found[0]
    tried.remove(best)
    return [best, *tried]


def _longer(best: Trial, others: Sequence[Trial], ground: Ground) -> Iterator[Candidate]:
    """Yield sequences of the best one and another, those first that break most where either does."""
    new = [each for each in others if not set(_names(each)) & set(_names(best))]
    together = sorted(new, key=lambda each: int(np.minimum(best.counts, each.counts).sum()))
    for each in together[:_PAIRED]:
        both = [best, each]
        if best.candidate.stochastic:
            # Which draws choose between two proposals depends on their order, and so does what is left to the second.
            yield ground.joined(_requests(both))
            yield ground.joined(_requests(both[::-1]))
        else:  # either order breaks the same images, and the cheaper one should come first
            yield ground.joined(_requests(sorted(both, key=lambda one: one.passes)))


def _names(trial: Trial) -> list[str]:
    return [request.label for request in trial.candidate.attacks]


def _requests(trials: Sequence[Trial]) -> list[Request]:
    return [request for each in trials for request in each.candidate.attacks]
