"""Advice for findings that cast doubt on a number: what they mean, and which attacks to run next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bench.results.finding import Finding


class Advice(NamedTuple):
    """The meaning of a finding for the numbers, and how to settle the doubt.

    Attributes:
        means: one sentence.
        attacks: by kind of defense, `--attacks` that do not depend on what is in doubt; empty if none helps.
        instead: what to do if no attack settles it.
    """

    means: str
    attacks: Mapping[str, str] = {}
    instead: str = ""


# Queries alone: the usual test for a masked gradient (Athalye et al., arXiv:1802.00420).
_WITHOUT_GRADIENT = {"deterministic": "square,rays", "stochastic": "square-eot"}
# Four times the usual 20 draws per gradient, and a search that needs no gradient.
_MORE_DRAWS = {"stochastic": "pgd-eot-20[eot=80],square-eot"}
_STRONGER = {"deterministic": "autoattack", "stochastic": "adaptive"}

_ADVICE: Mapping[str, Advice] = {
    "S03": Advice(
        "what a seed does not repeat can neither be attacked nor judged twice alike",
        instead="draw from the generators of torch, numpy or random, for each row of a batch on its own",
    ),
    "S09": Advice("attacks by gradient stand still, and what they leave says nothing", _WITHOUT_GRADIENT),
    "S11": Advice(
        "attacks by gradient do not look where the gradient is missing, and what they leave is too much",
        _WITHOUT_GRADIENT,
    ),
    "S12": Advice(
        "losses on logits see probabilities as nearly flat", instead="return logits, before the softmax"
    ),
    "S13": Advice("attacks by score see plateaus", {"deterministic": "apgd-ce,rays", "stochastic": "square-eot"}),
    "S14": Advice("the defense is judged on images it was not made for", instead="convert images in its forward"),
    "S15": Advice(
        "another model, other images or another order of labels than it was declared with",
        instead="compare weights and preprocessing with those of the declared number",
    ),
    "S16": Advice("the benchmark may be known by heart", instead="measure it on images that nobody has published"),
    "A01": Advice("an attack that fails at a large eps fails at a small one", _WITHOUT_GRADIENT),
    "A02": Advice("more steps must not break less: a masked gradient, or too long a step", _WITHOUT_GRADIENT),
    "A03": Advice("what knows less broke more: a masked gradient", _WITHOUT_GRADIENT),
    "A04": Advice("the attacks of the table stop too early", _STRONGER),
    "A05": Advice(
        "an attack loses what it has found", instead="let it return the point of its path that was misclassified"
    ),
    "A07": Advice("gradients are averages over too few draws", _MORE_DRAWS),
    "A08": Advice("random points beat the attacks", _WITHOUT_GRADIENT),
    "A09": Advice("the way around the purifier is stronger than the one through it", _STRONGER),
    "A10": Advice("the attack fails on the defense without its randomness", {"stochastic": "adaptive"}),
    "A11": Advice("the number may be that of the classifier behind it", instead="compare with the base on more images"),
    "A12": Advice("a stronger attack left more than a weaker one", _WITHOUT_GRADIENT),
}  # fmt: skip


def attacks_for(findings: Iterable[Finding], *, stochastic: bool) -> str:
    """Return the `--attacks` that settle the doubts of some findings; empty if there is no doubt or no such attack."""
    kind = "stochastic" if stochastic else "deterministic"
    # In the order of the findings, each attack once: several doubts often have one remedy.
    named = [_ADVICE[found.id].attacks.get(kind, "") for found in findings if found.alarming and found.id in _ADVICE]
    return ",".join(dict.fromkeys(attack for group in named for attack in _split(group)))


def explained(finding: Finding, run: str, *, stochastic: bool) -> list[str]:
    """Return lines to print below a finding, what it means and what to do; none if it casts no doubt.

    Args:
        finding: the finding.
        run: the command that attacks the defense, without its attacks.
        stochastic: whether the defense is stochastic.
    """
    advice = _ADVICE.get(finding.id)
    if advice is None or not finding.alarming:
        return []
    attacks = attacks_for([finding], stochastic=stochastic)
    what = f"run next: {run} --attacks {shlex.quote(attacks)}" if attacks else f"do next: {advice.instead}"
    return [f"  means: {advice.means}", *([f"  {what}"] if attacks or advice.instead else [])]


def _split(attacks: str) -> list[str]:
    """Split a list of names whose brackets hold no comma."""
    return [name for name in attacks.split(",") if name]
