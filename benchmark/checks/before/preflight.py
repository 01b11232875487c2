"""The preflight: checks S01-S17, once per defense and dataset, before any attack.

They find what makes a number meaningless however strong the attack is: memory of earlier queries,
answers that change with the batch or with being differentiated, wrong gradients, a wrong input
convention, looked-up labels. The cost is about 80 forwards and 14 backwards of 64 images (84 and 13 for
a stochastic defense), half of it for S11. A declared accuracy takes 7 more forwards, for 512 images; a low
accuracy on the first images takes up to 10 more; and a rough or wrong gradient up to five times the cost of S11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from bench.checks.before import conditions, consistency, gradients, labels, randomness, scores, truth
from bench.checks.before.places import Place
from bench.checks.before.places import places as places_of
from bench.checks.before.pristine import Pristine
from bench.checks.before.subject import Subject
from bench.datasets.examples import Examples
from bench.oracle.float32 import exact_float32
from bench.oracle.randomness import preserved_generators
from bench.results.finding import Finding, Severity
from bench.types import Defense

IDS = tuple(f"S{number:02d}" for number in range(1, 18))

# Checks that only flag a defense that raises in the middle of them; the others block it.
_ONLY_FLAGGED = ("S03", "S09", "S10", "S11", "S12", "S13", "S15", "S17")


def preflight(
    defense: Defense,
    examples: Examples,
    held_out: Examples | None = None,
    *,
    eps: float = 8 / 255,
    declared_accuracy: float | None = None,
    declared_n: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Finding, ...]:
    """Check a defense before it is attacked.

    It runs on a copy of the defense if the defense can be copied; the random generators and the mode of
    the defense are restored, and the defense never sees a label.

    Args:
        defense: the defense to check.
        examples: the benchmark slice; its first 64 images are used, 512 for the declared accuracy.
        held_out: images of the same dataset that are not in the benchmark; training images will do.
        eps: the Linf size of noise and finite differences, that of the threat model.
        declared_accuracy: the standard accuracy that the defense claims, in [0, 1].
        declared_n: the number of images on which it was measured.
        device: where to run it.

    Returns:
        One finding per check, S01 to S17, in order.
    """
    with preserved_generators(), exact_float32(), torch.no_grad():
        origin = Pristine(defense.model, device)
        try:
            subject = Subject(defense, examples, eps, origin)
            found = _examine(subject, examples, held_out, declared_accuracy, declared_n)
        finally:
            origin.restore_world()
            origin.restore_modes()
    return tuple(found[id_] for id_ in IDS)


def _examine(
    subject: Subject,
    examples: Examples,
    held_out: Examples | None,
    declared_accuracy: float | None,
    declared_n: int | None,
) -> dict[str, Finding]:
    before = consistency.fingerprints(subject.model)
    found = {"S02": scores.shape(subject)}
    if found["S02"].verdict == "block":
        rest = {id_: Finding(id_, "info", "-", "-", f"{id_}: not checked, see S02") for id_ in IDS if id_ != "S02"}
        # Without an answer only the mode can be checked.
        return found | rest | {"S07": consistency.state(subject, before)}

    def run(id_: str, check: Callable[[], Finding]) -> None:
        with _reported(found, id_):
            found[id_] = check()

    # The order matters: S03 sets how the others compare answers, S05 needs many queries before it, and S07 and S08
    # cover all queries.
    run("S03", lambda: randomness.examine(subject))
    run("S04", lambda: randomness.batch(subject))
    run("S01", lambda: scores.finite(subject))
    run("S12", lambda: scores.probabilities(subject))
    run("S13", lambda: scores.coarseness(subject))
    run("S17", lambda: gradients.optimization(subject))
    _differentiate(subject, found, run)
    run("S14", lambda: labels.convention(subject, examples))
    run("S15", lambda: labels.accuracy(subject, examples, held_out, declared_accuracy, declared_n))
    run("S16", lambda: labels.leak(subject, examples, held_out))
    run("S05", lambda: consistency.history(subject))
    run("S07", lambda: consistency.state(subject, before))
    run("S08", lambda: consistency.untouched_input(subject))
    return found


def _differentiate(
    subject: Subject, found: dict[str, Finding], run: Callable[[str, Callable[[], Finding]], None]
) -> None:
    """Run S06 and S09-S11, which share their passes."""
    with _reported(found, "S06"):
        slopes = gradients.slopes(subject)
        places = [] if slopes.margin is None else places_of(subject)
        answers = [(subject.clean, slopes.logits), *((place.asked, place.differentiated) for place in places)]
        found["S06"] = consistency.grad_mode(subject, answers)
        run("S09", lambda: gradients.existence(subject, slopes, places))
        run("S10", lambda: gradients.saturation(subject, slopes))
        run("S11", lambda: _true(subject, slopes, places))
    for id_ in ("S09", "S10", "S11"):
        message = f"{id_}: not checked: the defense raises while it is differentiated, see S06"
        found.setdefault(id_, Finding(id_, "info", "-", "-", message))


def _true(subject: Subject, slopes: gradients.LossGradients, places: Sequence[Place]) -> Finding:
    """Run S11, and again under the conditions of an attack."""
    if slopes.margin is None:
        return truth.examine(subject, slopes.x, [])
    found = truth.examine(subject, slopes.margin, places)
    if found.alarming:
        return found
    when = conditions.other_gradient(subject, slopes.margin)
    return replace(found, verdict="flag", value="changes", message=f"S11: {when}; masked") if when else found


@contextmanager
def _reported(found: dict[str, Finding], id_: str) -> Iterator[None]:
    """Turn an error that the defense raises during a check into the finding of that check."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (a defense is anybody's code)
        text = " ".join(str(error).split())[:200]
        message = f"{id_}: the defense raised {type(error).__name__}: {text}"
        verdict: Severity = "flag" if id_ in _ONLY_FLAGGED else "block"
        found[id_] = Finding(id_, verdict, "raised", "-", message)
