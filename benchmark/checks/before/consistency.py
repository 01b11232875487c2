"""Checks that an attack and the judge get the same answers: S05 history, S06 grad mode, S07 mode, S08 input.

A defense that behaves differently while it is attacked, or that remembers earlier queries, has no robust
accuracy: the attack did not see the defense that is judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.checks.before.conditions import tire
from bench.checks.before.subject import Subject, gap
from bench.oracle.answers import FaultyDefense, require_eval_mode
from bench.results.finding import Finding

# Repeats of one query on one instance: enough to exhaust a defense that counts its batches.
REPEATS = 8
REPEATED_ROWS = 16


def history(subject: Subject) -> Finding:
    """Check S05: the answer to a query does not depend on earlier queries.

    A fresh instance answers x, then x + delta, and its second answer must equal that of an instance
    whose first query was x + delta; then it gets the same query repeatedly. The instance of all other
    checks (so run this one after them) gets its first query once more, and again after hundreds of
    queries, as many as an attack makes.
    """
    if not subject.repeatable:
        return Finding("S05", "info", "-", "-", "S05: not checked: answers cannot be repeated, see S03")
    reference = subject.first
    late = subject.ask(subject.x_noisy)
    instance = subject.origin.fresh()
    subject.ask(subject.x, 1, model=instance)
    answers = [(reference, late), (reference, subject.ask(subject.x_noisy, model=instance))]
    few = subject.x_noisy[:REPEATED_ROWS]
    repeats = [subject.ask(few, model=instance) for _ in range(REPEATS)]
    answers += [(repeats[0], repeat) for repeat in repeats[1:]]
    tire(subject)
    answers.append((reference, subject.ask(subject.x_noisy)))
    subject.origin.restore_world()
    change = max(float(gap(a, b).max()) for a, b in answers)
    threshold = f"{float(subject.allowed(reference).median()):.2g}"
    if any(bool(subject.differing(a, b).any()) for a, b in answers):
        message = f"S05: output depends on earlier queries: logits of one image change by {change:.3g}"
        return Finding("S05", "block", f"{change:.3g}", threshold, message)
    how = "" if subject.origin.copied else " (within one instance: it cannot be copied)"
    return Finding("S05", "pass", f"{change:.2g}", threshold, f"S05: output does not depend on earlier queries{how}")


def grad_mode(subject: Subject, answers: Sequence[tuple[Tensor, Tensor]]) -> Finding:
    """Check S06: the defense gives the same answer whether or not it is differentiated.

    Args:
        subject: the defense.
        answers: pairs of its answers to the same images, as judged and as leaves that require a gradient; of draw 0.
    """
    if not subject.repeatable:
        return Finding("S06", "info", "-", "-", "S06: not checked: answers cannot be repeated, see S03")
    # A third mode: gradients are enabled, but the images do not require one, as in training.
    with torch.enable_grad():
        recording = subject.forward(subject.x.clone(), subject.x).detach().float()
    pairs = [*answers, (subject.clean, recording)]
    change = max(float(gap(judged, other).max()) for judged, other in pairs)
    threshold = f"{float(subject.allowed(subject.clean).median()):.2g}"
    if any(bool(subject.differing(judged, other).any()) for judged, other in pairs):
        message = f"S06: defense behaves differently while being differentiated: logits change by {change:.3g}"
        return Finding("S06", "block", f"{change:.3g}", threshold, message)
    return Finding("S06", "pass", f"{change:.2g}", threshold, "S06: same answers with and without gradients")


def fingerprints(model: nn.Module) -> dict[str, str]:
    """Return a digest of every parameter and buffer that a checkpoint would hold, by name."""
    return {name: _fingerprint(value) for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def _fingerprint(tensor: Tensor) -> str:
    # By bytes: equal values would call NaN changed, and miss a zero that changed its sign.
    try:
        data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    except (RuntimeError, NotImplementedError, ValueError):  # not materialized yet, or of a kind without bytes
        return ""
    return hashlib.blake2b(data.tobytes(), digest_size=16).hexdigest()


def state(subject: Subject, before: dict[str, str]) -> Finding:
    """Check S07: every layer is in eval mode, and no forward has changed a parameter or buffer.

    Args:
        subject: the defense, after all queries of the preflight.
        before: its `fingerprints` before the first one.
    """
    try:
        require_eval_mode(subject.model)
    except FaultyDefense as error:
        return Finding("S07", "block", "train mode", "eval mode", str(error))
    after = fingerprints(subject.model)
    changed = sorted(name for name, digest in before.items() if digest and after.get(name) != digest)
    if changed:
        message = f"S07: parameter {changed[0]} changed during inference"
        return Finding("S07", "block", f"{len(changed)} changed", "0 changed", message)
    training = [name or "the model" for name, module in subject.model.named_modules() if module.training]
    if training:
        message = f"S07: {training[0]} is in train mode after model.eval(); no batch norm or dropout is"
        return Finding("S07", "info", f"{len(training)} in train mode", "0", message)
    return Finding("S07", "pass", "0 changed", "0 changed", "S07: all layers in eval mode, no parameter changed")


def untouched_input(subject: Subject) -> Finding:
    """Check S08: no query of the preflight changed its input in place."""
    if subject.changed_input:
        message = "S08: defense modified its input in place"
        return Finding("S08", "block", f"{subject.changed_input} queries", "0", message)
    return Finding("S08", "pass", "0 queries", "0", "S08: input is left as it was")
