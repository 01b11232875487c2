"""The printed accuracies of a claim, each with the n and the number of verdicts behind it."""

from __future__ import annotations

from bench.checks.published.claim import PublishedClaim
from bench.results.printed import PrintedNumber


def standard_number(claim: PublishedClaim) -> PrintedNumber | None:
    """Return the standard accuracy of a claim, where it states one."""
    if claim.standard is None:
        return None
    return PrintedNumber("standard", claim.standard, claim.standard_examples, claim.standard_draws_averaged)


def classifier_number(claim: PublishedClaim) -> PrintedNumber | None:
    """Return the standard accuracy of the classifier behind the purifier, where stated; it has no draws."""
    alone = claim.classifier
    if alone is None:
        return None
    n = claim.standard_examples if alone.n is None else alone.n
    return PrintedNumber("classifier", alone.standard, n, claim.runs)


def printed_numbers(claim: PublishedClaim) -> tuple[PrintedNumber, ...]:
    """List the printed numbers: robust and standard accuracy, then the table's, then that of the classifier."""
    robust = PrintedNumber("robust", claim.robust, claim.n, claim.draws_averaged)
    table = (PrintedNumber(item.attack, item.robust, claim.n, claim.draws_averaged) for item in claim.numbers)
    found = (robust, standard_number(claim), *table, classifier_number(claim))
    return tuple(number for number in found if number is not None)
