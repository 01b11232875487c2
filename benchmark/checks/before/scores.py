"""Checks of the answers themselves: S01 finite, S02 shape, S12 probabilities, S13 coarse logits."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.checks.before.subject import Subject
from bench.oracle.answers import FaultyDefense
from bench.results.finding import Finding

# Rows whose sum is 1 within this are probabilities, and those whose log-sum-exp is 0 within it log-probabilities.
PROBABILITY_TOLERANCE = 1e-4

# Logits on a grid with fewer steps than this over the spread of a row are rounded, and an attack sees
# plateaus. bfloat16 has so coarse a grid only between two powers of two.
FEWEST_STEPS = 512


def shape(subject: Subject) -> Finding:
    """Check S02: the first answer is a float tensor `[B, classes]`."""
    expected = f"({len(subject)}, {subject.classes}) float"
    try:
        answer = subject.first
    except FaultyDefense as error:
        return Finding("S02", "block", "wrong", expected, str(error))
    except Exception as error:  # noqa: BLE001  (whatever a defense raises is what is wrong with it)
        text = " ".join(str(error).split())[:200]
        return Finding("S02", "block", "raised", expected, f"S02: the defense raised {type(error).__name__}: {text}")
    return Finding("S02", "pass", str(tuple(answer.shape)), expected, "S02: one row of float logits per image")


def finite(subject: Subject) -> Finding:
    """Check S01: no NaN and no Inf on the images, within eps of them and at corners of that ball."""
    answers = [subject.clean, subject.first]
    answers += [subject.ask(subject.noisy(f"corner {k}", signs=True)) for k in range(2)]
    count = int((~torch.stack(answers).isfinite().all(2).all(0)).sum())
    value = f"{count}/{len(subject)}"
    if count:
        message = f"S01: {value} samples give NaN/Inf logits; such samples are counted as broken"
        return Finding("S01", "block", value, "0", message)
    return Finding("S01", "pass", value, "0", "S01: all logits are finite, on the images and on noisy ones")


def probabilities(subject: Subject) -> Finding:
    """Check S12: the defense returns logits, not their softmax.

    Log-probabilities are no fault: shifting a row of logits changes no margin, no softmax and no DLR
    loss, and a defense that averages probabilities has nothing else to return.
    """
    logits = subject.clean
    threshold = f"sum 1 ± {PROBABILITY_TOLERANCE:g}"
    sums = logits.sum(1)
    if bool(((logits >= 0) & (logits <= 1)).all() and (sums - 1).abs().amax() <= PROBABILITY_TOLERANCE):
        return Finding("S12", "flag", "probabilities", threshold, "S12: outputs are probabilities; pass logits")
    if bool(logits.logsumexp(1).abs().amax() <= PROBABILITY_TOLERANCE):
        message = "S12: outputs are log-probabilities; margins are those of logits"
        return Finding("S12", "info", "log-probabilities", threshold, message)
    return Finding("S12", "pass", "logits", threshold, "S12: outputs are logits")


def coarseness(subject: Subject) -> Finding:
    """Check S13: logits do not lie on a grid of few steps.

    The distances from the largest logit of each row are examined: they show rounding, and the loss of
    digits when a large constant is added. Counting distinct values would accuse bfloat16, whose grid is
    fine near zero.
    """
    logits = subject.clean.double()
    below = (logits.amax(1, keepdim=True) - logits).nan_to_num(posinf=0, neginf=0)
    steps, distinct = grid_steps(below)
    value = f"{steps:.0f} steps" if steps < 1e6 else "no grid"
    if steps < FEWEST_STEPS:
        message = f"S13: logits are rounded ({distinct} distinct values, {steps:.0f} steps between best and worst)"
        return Finding("S13", "flag", value, f"{FEWEST_STEPS} steps", message)
    return Finding("S13", "pass", value, f"{FEWEST_STEPS} steps", "S13: logits are not rounded")


def grid_steps(below: Tensor) -> tuple[float, int]:
    """Count the steps in the median spread of a row if all values are multiples of one step, else infinity.

    Args:
        below: float64 `[B, classes]`, at least 0.

    Returns:
        The steps, and the number of distinct values.
    """
    spread = float(below.amax(1).median())
    values = below.flatten().sort().values
    differences = values.diff()
    # Values that differ by float32 rounding count as one.
    differences = differences[differences > 1e-5 * spread]
    distinct = len(differences) + 1
    if spread == 0 or not len(differences):
        return 0.0, distinct
    step = float(differences.min())
    multiples = below / step
    off = (multiples - multiples.round()).abs()
    return (spread / step if float(off.max()) < 0.05 else torch.inf), distinct
