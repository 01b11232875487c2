"""Results of an attack that knew the draws of the evaluation, beside one that did not."""

from dataclasses import replace

from tests.report.simulated import LINF, done, result


def informed(outcome, *, threat=LINF, defense="ap", draws=10, n=64, **more):
    """The column of known draws of a stochastic defense."""
    found = result(defense, "known-draws", threat, outcome, draws=draws, n=n, **more)
    return replace(found, cell=replace(found.cell, attack=replace(found.cell.attack, known_draws=True)))


def both(robust=40, known=10, *, defense="ap", **more):
    """An attack that leaves `robust` of 64 examples, and one that knows the draws and leaves `known`."""
    usual = result(defense, "pgd-20", LINF, done(robust, draws=10), draws=10, **more)
    return [usual, informed(done(known, draws=10), defense=defense, **more)]
