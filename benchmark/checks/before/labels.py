"""Checks that need the labels: S14 input convention, S15 accuracy, S16 leaked labels.

The defense sees only images, never a label.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bench.checks.before.gradients import ascend
from bench.checks.before.subject import ROWS, Subject, on_device
from bench.datasets.examples import Examples
from bench.oracle.answers import margin, misclassified
from bench.oracle.randomness import Stream
from bench.results.finding import Finding
from bench.results.stats import clopper_pearson, mcnemar

# Images [B, C, H, W] in [0, 1] as another convention has them.
Convention = Callable[[Tensor], Tensor]

# S14: another convention is the right one if its accuracy is higher by this, at this level divided by
# the number of conventions tried.
BETTER_BY = 0.05
CONVENTION_LEVEL = 0.01

# S15: the confidence of the interval that must contain a declared accuracy, the most images it is
# compared on, and how far rounding may have moved a declared number.
CONFIDENCE = 0.99
MOST = 512
ROUNDING = 0.0005
# The level at which renamed answers must be right more often than the answers as they are.
REORDERED_LEVEL = 1e-6

# S16: the fewest held-out images, the gap of accuracy, its level over all comparisons, and how far the
# distribution of margins may be ahead on the benchmark (Kolmogorov-Smirnov, one-sided: 4e-5 by chance
# for 64 images each).
FEWEST_HELD_OUT = 16
GAP = 0.2
LEAK_LEVEL = 0.001
AHEAD = 0.4
# Noise that ruins the accuracy of an honest defense but not that of a lookup by the nearest neighbor.
BLUR = 0.5
# Signed gradient steps, each of 2/3 of eps.
ATTACK_STEPS = 3
# How far to go towards another image: the stored one remains the nearest up to half of the way.
ON_THE_WAY = 0.45


def convention(subject: Subject, examples: Examples) -> Finding:
    """Check S14: no other scale or channel order makes the defense clearly better than [0, 1] RGB.

    64 images suffice as a rule. Where another convention leads and the test is not significant, up to 512 are used.
    A network that is less accurate than the nearest class mean cannot be judged: barely trained ones are often
    better by chance on brighter images.
    """
    x = subject.x
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True).clamp_min(1e-3)
    others: dict[str, Convention] = {
        "[0, 255]": lambda images: 255 * images,
        "[-1, 1]": lambda images: 2 * images - 1,
        "standardized": lambda images: (images - mean) / std,
    }
    if x.shape[1] == 3:
        others["BGR"] = lambda images: images.flip(1)
    level = CONVENTION_LEVEL / len(others)
    accuracy = _mean(~misclassified(subject.clean, subject.y))
    best, name = 1 / subject.classes + BETTER_BY, ""
    for other, convert in others.items():
        there, here, clear = _led(subject, examples.part(0, min(ROWS, len(examples))), convert, level)
        if there > here + BETTER_BY and not clear and len(examples) > ROWS:
            there, here, clear = _led(subject, examples.part(0, min(MOST, len(examples))), convert, level)
        if clear and there > max(best, here + BETTER_BY) and there >= _nearest_mean(examples):
            best, accuracy, name = there, here, other
    threshold = f"+{BETTER_BY:.0%}"
    if name:
        message = f"S14: accuracy is {best:.1%} with {name} and {accuracy:.1%} with [0, 1] RGB"
        return Finding("S14", "block", f"{best - accuracy:+.1%}", threshold, message)
    return Finding("S14", "pass", f"{accuracy:.1%}", threshold, "S14: [0, 1] RGB is the right input")


def _nearest_mean(examples: Examples) -> float:
    """Return the accuracy of the nearest class mean on some images, each left out of the mean of its own class."""
    part = examples.part(0, min(MOST, len(examples)))
    x, y = torch.from_numpy(part.x).flatten(1), torch.from_numpy(part.y)
    member = torch.nn.functional.one_hot(y, examples.spec.classes).float()
    count, total = member.sum(0), member.T @ x
    means = total / count.clamp_min(1)[:, None]
    far = torch.cdist(x, means) + torch.where(count == 0, torch.inf, 0.0)
    alone = (x - (total[y] - x) / (count[y] - 1).clamp_min(1)[:, None]).norm(dim=1)
    own = torch.where(count[y] > 1, alone, torch.inf)
    return _mean(far.scatter(1, y[:, None], own[:, None]).argmin(1) == y)


def _led(subject: Subject, part: Examples, convert: Convention, level: float) -> tuple[float, float, bool]:
    """Return the accuracy under another convention and under ours, and whether the exact paired test separates them."""
    x, y = on_device(part, subject.device)
    here = ~misclassified(_logits(subject, x), y)
    try:
        there = ~misclassified(_logits(subject, convert(x)), y)
    except Exception:  # noqa: BLE001  (a defense may refuse what is no image)
        return 0.0, _mean(here), False
    gained, lost = int((there & ~here).sum()), int((here & ~there).sum())
    return _mean(there), _mean(here), mcnemar(gained, lost) < level


def accuracy(
    subject: Subject,
    examples: Examples,
    held_out: Examples | None,
    declared: float | None,
    declared_n: int | None,
) -> Finding:
    """Check S15: the labels are in the model's order, and the declared accuracy holds where there is one."""
    return _reordered(subject, examples, held_out) or _as_declared(subject, examples, declared, declared_n)


def _reordered(subject: Subject, examples: Examples, held_out: Examples | None) -> Finding | None:
    """Flag answers that predict the labels well, but under other names; `None` where they do not.

    On half of the images we count which label each answer goes with most often; on the other half we test whether
    this renaming is more accurate than the answers themselves. An accuracy below chance is no evidence by itself:
    the answers of an untrained network depend on the class, too, and 23 of 300 linear ones were below chance at
    p < 1e-6. But no renaming makes them accurate.

    If the accuracy on 64 images is high there is nothing to test. Otherwise up to 512 images are used, and the
    held-out ones, whose labels are in the same order.
    """
    if _mean(~misclassified(subject.clean, subject.y)) > _halfway(subject.y):
        return None
    parts = [part.part(0, min(MOST, len(part))) for part in (examples, held_out) if part is not None]
    images = [on_device(part, subject.device) for part in parts]
    logits, y = torch.cat([_logits(subject, x) for x, _ in images]), torch.cat([y for _, y in images])
    sane = logits.isfinite().all(1).nonzero().flatten()
    # Shuffled: classes take turns, and every other image may be of one class.
    sane = sane[torch.randperm(len(sane), generator=torch.Generator().manual_seed(0))]
    learned, judged = sane.chunk(2) if len(sane) > 1 else (sane, sane[:0])
    if not len(judged):
        return None
    answers, labels = logits.argmax(1), y[judged]
    met = torch.zeros(subject.classes, subject.classes, device=y.device)
    met.index_put_((answers[learned], y[learned]), met.new_ones(()), accumulate=True)
    here, there = answers[judged] == labels, met.argmax(1)[answers[judged]] == labels
    p = mcnemar(int((there & ~here).sum()), int((here & ~there).sum()))
    if _mean(there) <= _halfway(y) or p >= REORDERED_LEVEL:
        return None
    message = (
        f"S15: clean {_mean(here):.1%} on n={len(labels)}, {_mean(there):.1%} with every answer taken for the label "
        "it meets most: the labels are probably in another order than the model's; image folders sort theirs as text"
    )
    return Finding("S15", "flag", f"{_mean(here):.1%}", f"{_mean(there):.1%} renamed", message)


def _halfway(y: Tensor) -> float:
    """Return the accuracy halfway between always naming the most frequent label and never being wrong."""
    return (1 + int(y.bincount().max()) / len(y)) / 2


def _as_declared(subject: Subject, examples: Examples, declared: float | None, declared_n: int | None) -> Finding:
    """Check that the declared standard accuracy agrees with the measured one at 99 %.

    A stochastic defense answers once per image. Where the number of images behind the declared accuracy
    is known, both numbers have sampling errors, and the exact test of two samples decides.
    """
    if declared is None:
        return Finding("S15", "info", "-", "-", "S15: not checked: no accuracy is declared")
    part = examples.part(0, min(MOST, len(examples)))
    right = _count_right(subject, part)
    n = len(part)
    low, high = clopper_pearson(right, n, CONFIDENCE)
    agrees = low - ROUNDING <= declared <= high + ROUNDING
    if not agrees and declared_n is not None and 0 <= declared <= 1:
        there = round(declared * declared_n)
        one_sided = min(fisher(right, n, there, declared_n), fisher(there, declared_n, right, n))
        agrees = 2 * one_sided > 1 - CONFIDENCE
    value, threshold = f"{right / n:.1%}", f"{low:.1%} to {high:.1%}"
    message = f"S15: clean {right / n:.1%} on n={n}; declared {declared:.1%}"
    return Finding("S15", "pass" if agrees else "flag", value, threshold, message)


def leak(subject: Subject, examples: Examples, held_out: Examples | None) -> Finding:
    """Check S16: the defense is not much better on the benchmark than on images it cannot have looked up.

    64 images of both are compared as they are, in strong noise, and after a short gradient attack within
    eps: a lookup on top of a good classifier shows where an honest classifier gets worse. We compare
    accuracies, and margins, because a looked-up answer has its own. A lookup of the nearest image may be
    a good classifier itself, but then its answer lasts longer on the way from a stored image to one of
    another class; so 128 images of both are followed on such a way, without labels.

    Held-out images may be training images: an honest model that memorized them is only worse on the
    benchmark by comparison. A defense that has looked up the held-out images as well is not noticed.
    """
    if held_out is None or len(held_out) < FEWEST_HELD_OUT:
        return Finding("S16", "info", "-", "-", "S16: not checked: there are no held-out images")
    sides = [_margins(subject, part.part(0, min(ROWS, len(part)))) for part in (examples, held_out)]
    ways = [way for way in sides[0] if way in sides[1]]
    level = LEAK_LEVEL / (len(ways) + 1)
    threshold, widest = f"+{GAP:.0%}", -1.0
    for way in ways:
        ours, theirs = sides[0][way], sides[1][way]
        n, m = len(ours), len(theirs)
        right, right_there = int((ours < 0).sum()), int((theirs < 0).sum())
        a, b = right / n, right_there / m
        widest = max(widest, a - b)
        seen = f"{a:.0%} on the benchmark, {b:.0%} on held-out images {way}"
        if a - b > GAP and fisher(right, n, right_there, m) < level:
            return Finding("S16", "block", f"{a - b:+.0%}", threshold, f"S16: {seen}; looks like test-set lookup")
        ahead = _ahead(ours, theirs)
        if ahead > AHEAD and math.exp(-2 * ahead**2 * n * m / (n + m)) < level:
            message = f"S16: {seen}, and margins are ahead by {ahead:.0%}; looks like test-set lookup"
            return Finding("S16", "block", f"ahead by {ahead:.0%}", f"{AHEAD:.0%}", message)
    lasting, lasting_there = (_lasting(subject, part) for part in (examples, held_out))
    if lasting is not None and lasting_there is not None:
        a, b = _mean(lasting), _mean(lasting_there)
        p = fisher(int(lasting.sum()), len(lasting), int(lasting_there.sum()), len(lasting_there))
        if a - b > GAP and p < level:
            seen = f"{a:.0%} of the answers last {ON_THE_WAY:.0%} of the way to another image on the benchmark"
            message = f"S16: {seen}, {b:.0%} on held-out images; looks like test-set lookup"
            return Finding("S16", "block", f"{a - b:+.0%}", threshold, message)
    message = f"S16: accuracy on the benchmark is at most {widest:+.0%} from that on held-out images"
    return Finding("S16", "pass", f"{widest:+.0%}", threshold, message)


def _lasting(subject: Subject, part: Examples) -> Tensor | None:
    """Return which answers are the same on the way to an image with another answer; `None` if all answers agree."""
    x, _ = on_device(part.part(0, min(2 * ROWS, len(part))), subject.device)
    answers = _answers(subject, x)
    count = len(x)
    others = [
        next((j % count for j in range(i + 1, i + count) if answers[j % count] != answers[i]), None)
        for i in range(count)
    ]
    if None in others:
        return None
    goal = x[torch.tensor([other for other in others if other is not None], device=x.device)]
    return _answers(subject, (1 - ON_THE_WAY) * x + ON_THE_WAY * goal) == answers


def _answers(subject: Subject, x: Tensor) -> Tensor:
    """Return predicted classes."""
    return _logits(subject, x).argmax(1)


def _logits(subject: Subject, x: Tensor) -> Tensor:
    """Return logits of any number of images, queried in batches."""
    return torch.cat([subject.ask(x[start : start + ROWS], start) for start in range(0, len(x), ROWS)])


def _margins(subject: Subject, part: Examples) -> dict[str, Tensor]:
    """Return the margins of the images by how they are shown, negative where the answer is right."""
    x, y = on_device(part, subject.device)
    noise = Stream.of(part.ids, "preflight", "blur", device=subject.device).normal(*x.shape[1:])
    shown = {"as they are": x, f"in noise of std {BLUR:g}": (x + BLUR * noise).clamp(0, 1)}
    attacked = ascend(subject, x, y, ATTACK_STEPS)
    if attacked is not None:
        shown[f"after {ATTACK_STEPS} gradient steps"] = attacked
    margins = {}
    for way, images in shown.items():
        logits = subject.ask(images)
        size = margin(logits, y).abs().nan_to_num().clamp_min(1e-12)
        margins[way] = torch.where(misclassified(logits, y), size, -size)
    return margins


def _ahead(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest lead, over all thresholds, of our share of rows with at most that margin."""
    at = torch.cat([ours, theirs])[:, None]
    lead = (ours <= at).float().mean(1) - (theirs <= at).float().mean(1)
    return float(lead.max())


def _count_right(subject: Subject, part: Examples) -> int:
    """Count the images of a slice that one draw gets right."""
    x, y = on_device(part, subject.device)
    right = 0
    for start in range(0, len(x), ROWS):
        logits = subject.ask(x[start : start + ROWS], start)
        right += int((~misclassified(logits, y[start : start + ROWS])).sum())
    return right


def _mean(values: Tensor) -> float:
    return float(values.float().mean())


def fisher(a: int, n: int, b: int, m: int) -> float:
    """Return the p-value of Fisher's exact one-sided test: P(`a` or more of `n`) if both shares are equal.

    Args:
        a: successes among the first `n`.
        n: size of the first sample.
        b: successes among the other `m`.
        m: size of the second sample.
    """

    def log_ways(of: int, k: int) -> float:
        return math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1)

    total = log_ways(n + m, a + b)
    upper = min(n, a + b)
    return min(1.0, math.fsum(math.exp(log_ways(n, k) + log_ways(m, a + b - k) - total) for k in range(a, upper + 1)))
