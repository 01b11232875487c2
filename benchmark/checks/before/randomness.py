"""Checks of what else than the image an answer depends on: S03 randomness, S04 batch."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.checks.before.conditions import in_a_large_batch
from bench.checks.before.pristine import holds_generator
from bench.checks.before.subject import Subject, gap, rows_of
from bench.results.finding import Finding

# A change of logits, as a share of their spread, that rounding in float32 never causes.
REAL = 1e-5
# Copies of one image that should all get their own random numbers.
COPIES = 16
# Images that a deterministic defense answers alone; and the batches of 2 and 16 whose answers are
# compared for a stochastic one.
ALONE = 4
FEW = 2
BATCH = 16
# Draws of a stochastic defense in each of two layouts: complete separation of 12 from 12 by chance has
# probability 2 / C(24, 12) = 7e-7, and there are up to 160 logits to compare.
DRAWS = 12
# ... and their means must differ by this share of the spread of the logits.
EFFECT = 0.25


def examine(subject: Subject) -> Finding:
    """Check S03 by forwards under equal and different seeds; set `random` and `repeatable` of `subject`.

    A stochastic defense should follow the seeds of torch, numpy and random. One draw shared by all rows
    of a batch is flagged: the verdicts of a shard are then dependent, and an interval that assumes
    independence is too narrow.
    """
    origin = subject.origin
    again = subject.ask(subject.x_noisy, model=origin.fresh())
    other = subject.ask(subject.x_noisy, 1, model=origin.fresh())
    origin.restore_world()
    moved = bool(subject.differing(subject.first, again).any())
    if not moved and holds_generator(subject.model):
        # A generator is copied with its state, so fresh instances repeat it; on one instance it advances.
        moved = bool(subject.differing(subject.first, subject.ask(subject.x_noisy)).any())
    subject.repeatable = not moved
    change = float(gap(subject.first, other).max())
    subject.random = moved or _randomized(subject, again, other)
    value, threshold = f"{change:.2g}", "follows the seeds"
    if moved:
        message = "S03: randomness ignores torch, numpy and random seeds; runs cannot be reproduced"
        return Finding("S03", "flag", value, threshold, message)
    if not subject.random:
        if subject.declared_stochastic:
            message = "S03: declared stochastic, but answers do not change with the seeds; its draws are all the same"
            return Finding("S03", "info", value, threshold, message)
        return Finding("S03", "pass", value, threshold, "S03: forward is deterministic")
    if not subject.declared_stochastic:
        message = "S03: forward is random, but declared deterministic; set stochastic=True so that EOT is on"
        return Finding("S03", "flag", value, threshold, message)
    if _shared_by_batch(subject):
        message = "S03: random numbers are drawn once per batch and shared by its rows; intervals are too narrow"
        return Finding("S03", "flag", value, threshold, message)
    return Finding("S03", "info", value, threshold, "S03: forward is random; EOT and N-evaluation are on")


def _randomized(subject: Subject, again: Tensor, other: Tensor) -> bool:
    """Return whether other seeds give other answers; if equal seeds repeat every bit, a small change suffices."""
    if torch.equal(subject.first, again):
        return bool((gap(subject.first, other) > REAL * _spread(subject.first)).any())
    return bool(subject.differing(subject.first, other).any())


def _shared_by_batch(subject: Subject) -> bool:
    """Return whether copies of one image get equal answers within each call, but others in the next call."""
    for row in range(min(2, len(subject))):
        copies = subject.x[row : row + 1].expand(COPIES, *subject.x.shape[1:])
        calls = [subject.ask(copies, draw) for draw in range(3)]
        if any(bool(subject.differing(call, call[:1].expand_as(call)).any()) for call in calls):
            return False
        if bool(subject.differing(calls[0], calls[1]).any() | subject.differing(calls[0], calls[2]).any()):
            return True
    return False


def batch(subject: Subject) -> Finding:
    """Check S04: the logits of an image do not change with its companions, its row or the batch size.

    The predicted class needs no test of its own: beyond the tolerance it changes only with the logits.
    A stochastic defense gets the same seeds and the same rows, so that only the pixels of companions
    differ. If that changes anything, and for other batch sizes, where equal seeds give other random
    numbers, the draws of both layouts must overlap.
    """
    change, row, beyond = _stochastic_gap(subject) if subject.random else _deterministic_gap(subject)
    spread = _spread(subject.clean)
    threshold = f"{EFFECT * spread if subject.random else float(subject.allowed(subject.clean).median()):.2g}"
    if beyond:
        message = f"S04: logits of sample {row} change by {change:.3g} with its batch companions"
        return Finding("S04", "block", f"{change:.3g}", threshold, message)
    return Finding("S04", "pass", f"{change:.2g}", threshold, "S04: logits do not depend on the batch")


def _spread(logits: Tensor) -> float:
    return float((logits.amax(1) - logits.amin(1)).nan_to_num().median())


def _others(subject: Subject, rows: Tensor) -> Tensor:
    """Return the batch with other images in all rows but `rows`: inverted ones, in another order."""
    others = 1 - subject.x.flip(0)
    others[rows] = subject.x[rows]
    return others


def _deterministic_gap(subject: Subject) -> tuple[float, int, bool]:
    """Return the largest change of logits, its row, and whether any change is beyond rounding."""
    m, clean, x = len(subject), subject.clean, subject.x
    order = subject.noise("order").flatten(1)[:, 0].argsort()
    permuted = torch.empty_like(clean)
    permuted[order] = subject.ask(x[order])
    kept = torch.arange(m, device=x.device) % 2 == 0
    mixed = torch.where(kept[:, None], subject.ask(_others(subject, kept.nonzero().flatten())), clean)
    alone = clean.clone()
    for row in rows_of(kept)[:ALONE]:
        alone[row] = subject.ask(x[row : row + 1])[0]
    answers = permuted, mixed, alone, in_a_large_batch(subject)
    changes = torch.stack([gap(clean, answer) for answer in answers]).amax(0)
    beyond = torch.stack([subject.differing(clean, answer) for answer in answers]).any(0)
    return _largest(changes, beyond)


def _stochastic_gap(subject: Subject) -> tuple[float, int, bool]:
    """Return the same for mean logits; a change counts if all draws of one layout are above those of the other."""
    x = subject.x[:BATCH]
    rows = torch.arange(len(x), device=x.device)
    together = torch.stack([subject.ask(x, draw) for draw in range(DRAWS)])
    layouts = [torch.stack([subject.ask(x[:FEW], draw) for draw in range(DRAWS)])]
    mixed = _others(subject, rows)
    if not subject.repeatable or subject.differing(subject.clean[rows], subject.ask(mixed)[rows]).any():
        layouts.append(torch.stack([subject.ask(mixed, draw)[rows] for draw in range(DRAWS)]))
    changes = torch.zeros(len(x), device=x.device)
    beyond = torch.zeros_like(changes, dtype=torch.bool)
    for draws in layouts:
        n = draws.shape[1]
        base = together[:, :n]
        apart = (draws.amin(0) > base.amax(0)) | (draws.amax(0) < base.amin(0))
        shift = (draws.mean(0) - base.mean(0)).abs().nan_to_num()
        changes[:n] = torch.maximum(changes[:n], shift.amax(1))
        beyond[:n] |= (apart & (shift > EFFECT * _spread(subject.clean))).any(1)
    return _largest(changes, beyond)


def _largest(changes: Tensor, beyond: Tensor) -> tuple[float, int, bool]:
    found = bool(beyond.any())
    row = int((torch.where(beyond, changes, -1) if found else changes).argmax())
    return float(changes[row]), row, found
