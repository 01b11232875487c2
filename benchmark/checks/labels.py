"""Checks against the labels: S14 input convention, S15 accuracy, S16 leaked labels.

The labels stay here; the defense sees images alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bench.answers import margin, misclassified
from bench.checks.finding import Finding
from bench.checks.gradients import ascend
from bench.checks.subject import ROWS, Subject, on_device
from bench.datasets.examples import Examples
from bench.random import Stream
from bench.stats import clopper_pearson, mcnemar

# Images [B, C, H, W] in [0, 1] as another convention has them.
Convention = Callable[[Tensor], Tensor]

# S14: an other convention is the right one where it is better by this and at this level, divided by
# the number of conventions tried.
BETTER_BY = 0.05
CONVENTION_LEVEL = 0.01

# S15: confidence of the interval a declared accuracy must lie in, and how many images it is held
# against; a declared number is rounded.
CONFIDENCE = 0.99
MOST = 512
ROUNDING = 0.0005
# Renamed answers are right more often at this level.
REORDERED_LEVEL = 1e-6

# S16: the gap of accuracy, its level over all comparisons, and how far the distribution of margins
# may be ahead on the benchmark (Kolmogorov-Smirnov, one-sided: by chance 4e-5 for 64 images each).
FEWEST_HELD_OUT = 16
GAP = 0.2
LEAK_LEVEL = 0.001
AHEAD = 0.4
# Noise that takes an honest accuracy away and leaves a lookup by the nearest neighbor its own.
BLUR = 0.5
# Signed gradient steps, each of 2/3 of eps.
ATTACK_STEPS = 3
# How far towards another image: a stored one is the nearest until half of the way, whatever lies there.
ON_THE_WAY = 0.45


def convention(subject: Subject, examples: Examples) -> Finding:
    """S14: no other scale or channel order makes the defense clearly better than [0, 1] RGB.

    64 images tell as a rule. Where another convention leads and that is not clear yet, up to 512 are asked. A
    network that does not even see what the nearest class mean sees has learned too little to tell: many a barely
    trained one is better by chance on images that are brighter.
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
    """Accuracy of the nearest class mean on some of the images, each left out of the mean of its own class."""
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
    """Accuracy under another convention and under ours, and whether the exact paired test tells them apart."""
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
    """S15: the labels are in the order of the model's, and the declared accuracy, where there is one, holds."""
    return _reordered(subject, examples, held_out) or _as_declared(subject, examples, declared, declared_n)


def _reordered(subject: Subject, examples: Examples, held_out: Examples | None) -> Finding | None:
    """That answers tell the labels, but by other names.

    Half of the images tell which label every answer stands for most often, the others whether that is better than
    the answers as they are. An accuracy below that of guesses is no evidence by itself: answers of an untrained
    network go with the classes, too, and 23 of 300 linear ones were below at p < 1e-6. But they tell no label well.

    64 images tell that all is well. Where they do not, up to 512 are asked and the held-out ones, whose labels are
    in the same order.
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
    """The accuracy halfway from always naming the most frequent label to never being wrong."""
    return (1 + int(y.bincount().max()) / len(y)) / 2


def _as_declared(subject: Subject, examples: Examples, declared: float | None, declared_n: int | None) -> Finding:
    """The declared standard accuracy agrees with the measured one at 99 %.

    A stochastic defense is asked once per image. Where it is known on how many images the declared
    accuracy was measured, both numbers may be off; the exact test of two samples decides.
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
    """S16: the defense does not do much better on the benchmark than on images it cannot have looked up.

    64 of both are compared as they are, in strong noise, and after a short gradient attack within eps:
    what a lookup hides above a good classifier shows where an honest one gets worse. Compared are the
    accuracies and, as a lookup leaves its own answer, the margins. Where a lookup of the nearest image
    is a good classifier, one trace is left: on the way to an image of another class its answer lasts
    longer from an image it has stored; so 128 of both are followed there, without labels.

    Held-out images may be training images: what an honest model has memorized of them only puts the
    benchmark behind. A defense that has looked up the held-out images as well goes unnoticed.
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
    """Whose answer is still the same on the way to an image with another answer; `None` if all are one class."""
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
    """Predicted classes."""
    return _logits(subject, x).argmax(1)


def _logits(subject: Subject, x: Tensor) -> Tensor:
    """Logits of any number of images, asked for in batches."""
    return torch.cat([subject.ask(x[start : start + ROWS], start) for start in range(0, len(x), ROWS)])


def _margins(subject: Subject, part: Examples) -> dict[str, Tensor]:
    """By the way images are shown, the margin of each, negative where it is right."""
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
    """The largest lead, over all thresholds, of our share of rows with at most such a margin."""
    at = torch.cat([ours, theirs])[:, None]
    lead = (ours <= at).float().mean(1) - (theirs <= at).float().mean(1)
    return float(lead.max())


def _count_right(subject: Subject, part: Examples) -> int:
    """How many images of a slice one draw gets right."""
    x, y = on_device(part, subject.device)
    right = 0
    for start in range(0, len(x), ROWS):
        logits = subject.ask(x[start : start + ROWS], start)
        right += int((~misclassified(logits, y[start : start + ROWS])).sum())
    return right


def _mean(values: Tensor) -> float:
    return float(values.float().mean())


def fisher(a: int, n: int, b: int, m: int) -> float:
    """Fisher's exact test, one-sided: the chance of `a` or more of `n` if both shares are one.

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
