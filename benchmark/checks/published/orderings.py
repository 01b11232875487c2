"""Orders that the numbers of several attacks cannot have if every attack did what its name says (A12).

A stronger attack contains the weaker one or starts where it ends, so it must not leave more examples
robust; no attack may leave more than are right without attack. The reviewers of AToP found such orders by
eye. Nor is a purifier expected to correct its frozen classifier: it sees only the image, and passes on less
of it than the classifier was trained on.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from bench.checks.published.claim import AttackNumber, PublishedClaim, is_autoattack
from bench.checks.published.comparison import UnpairedTest
from bench.checks.published.numbers import classifier_number, printed_numbers, standard_number
from bench.results.printed import USUAL_SIZES, PrintedNumber, sizes

# Families of names by strength. The look-ahead keeps out other attacks whose names merely begin so.
_ONE_STEP = re.compile(r"(fgsm|fgm)(?![a-z])", re.IGNORECASE)
_ITERATED = re.compile(r"(bim|pgd|i-?fgsm|mi-?fgsm)(?![a-z])", re.IGNORECASE)
_STEPS = re.compile(r"(?P<stem>.*?)[ _-]?(?P<steps>\d+)")


def suspicious_orders(claim: PublishedClaim) -> list[str]:
    """Return one line per pair of numbers in an order that should not occur."""
    numbers = _numbers(claim)
    lines = [*_above_classifier(claim), *_above_standard(claim, numbers)]
    for one, other in itertools.permutations(numbers, 2):
        reason = _stronger(one, other)
        if reason and one.robust > other.robust:
            gap = one.robust - other.robust
            lines.append(f"{_label(one)} is {gap} points above {_label(other)}: {reason}")
    return lines


def _numbers(claim: PublishedClaim) -> list[AttackNumber]:
    """Return the table of numbers, with the headline if the table does not have it."""
    own = claim.protocol.gradient
    numbers = [AttackNumber(item.attack, item.robust, item.gradient or own) for item in claim.numbers]
    if claim.protocol.attack is not None:
        headline = AttackNumber(claim.protocol.attack, claim.robust, own)
        numbers += [] if headline in numbers else [headline]
    return numbers


def _above_standard(claim: PublishedClaim, numbers: list[AttackNumber]) -> list[str]:
    standard = claim.standard
    if standard is None or not claim.same_examples:
        return []
    printed = [(_label(item), item.robust) for item in numbers] or [("robust accuracy", claim.robust)]
    return [_leak(label, robust, standard) for label, robust in printed if robust > standard]


def _above_classifier(claim: PublishedClaim) -> list[str]:
    """Report a standard accuracy above that of the frozen classifier alone, unless sampling explains it."""
    standard, alone = standard_number(claim), classifier_number(claim)
    if standard is None or alone is None or standard.printed <= alone.printed:
        return []
    if claim.protocol.purifier is False or (claim.classifier is not None and not claim.classifier.frozen):
        return []
    told = _gain(standard, alone, printed_numbers(claim))
    gap = standard.printed - alone.printed
    where = f"standard accuracy {standard.printed} is {gap} points above that of the classifier alone, {alone.printed}"
    return [f"{where}{told}"] if told else []


def _gain(standard: PrintedNumber, alone: PrintedNumber, numbers: Iterable[PrintedNumber]) -> str:
    """Explain a standard accuracy above that of the classifier; empty where sampling explains it."""
    suspicion = "other images, other weights, or a classifier that was trained further"
    contrast = UnpairedTest(standard, alone, same_protocol=True)
    if contrast.p is not None:
        return f" (p = {contrast.p:.2g}): {suspicion}" if contrast.resolved else ""
    # Without n: a difference that is resolved at the smallest usual n is resolved at every larger one.
    smallest = min(set(USUAL_SIZES) & set(sizes([item for item in numbers if item.n is None])), default=None)
    if smallest is not None:
        there, alone_there = (replace(item, n=item.n or smallest) for item in (standard, alone))
        contrast = UnpairedTest(there, alone_there, same_protocol=True)
        if contrast.resolved:
            return f" (p = {contrast.p:.2g} at n = {smallest}, the smallest usual one that allows it): {suspicion}"
    return ": cannot be told from sampling without n"


def _leak(label: str, robust: Decimal, standard: Decimal) -> str:
    return f"{label} {robust} is above the standard accuracy {standard}: label leaking, or other examples"


def _stronger(one: AttackNumber, other: AttackNumber) -> str:
    """Return why `one` must not leave more than `other`; empty where their order is not known."""
    if one.gradient != other.gradient:
        deeper = (one.gradient, other.gradient) == ("full", "skipped")
        same = one.attack.lower() == other.attack.lower()
        return "the gradient is masked" if deeper and same else ""
    # By name first: the steps of two different attacks cannot be compared.
    rank, other_rank = _rank(one.attack), _rank(other.attack)
    if rank is not None and other_rank is not None and rank != other_rank:
        return "the stronger attack leaves more; it is misconfigured" if rank > other_rank else ""
    first, second = _STEPS.fullmatch(one.attack), _STEPS.fullmatch(other.attack)
    if first and second and first["stem"].lower() == second["stem"].lower():
        return "more steps leave more; the step size is wrong" if int(first["steps"]) > int(second["steps"]) else ""
    return ""


def _rank(attack: str) -> int | None:
    """Rank an attack by its name: 0 one step, 1 iterated, 2 AutoAttack; None for any other."""
    if is_autoattack(attack):
        return 2
    if _ITERATED.match(attack):
        return 1
    return 0 if _ONE_STEP.match(attack) else None


def _label(number: AttackNumber) -> str:
    paths = {"skipped": " (purifier skipped)", "full": " (full gradient)", "bpda": " (BPDA)"}
    return number.attack + paths.get(number.gradient or "", "")
