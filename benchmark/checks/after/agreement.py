"""Checks A01-A14, after the attacks: do the results of the attacks agree with each other?

A robust accuracy is an upper bound, and it is wrong exactly when an attack failed. These checks look, in
the counts alone, for signs of a failed attack: a stronger or better informed attack that breaks less, a
large eps that breaks little, a base that is as robust as its defense. Their probes are small runs on the
first images of the slice (`bench.checks.after.probes`); thresholds are those of `bench.checks.after.group`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from bench.checks.after.group import (
    BEATEN_LEAST,
    BEATEN_SHARE,
    BLACK_BOX,
    SKIPPING,
    Counts,
    DefenseUnderThreat,
    Measured,
)
from bench.results.finding import Finding, Severity
from bench.results.stats import mcnemar, sign_flip

# The robust accuracy that may survive a large eps (A01), and the rise that an order of attacks may show (A12).
_ALMOST_NONE = 0.01
_ABOVE = 0.005

# The advice for an attack that discards its successes.
_HAND_IN = (
    "; return the point that was misclassified: keep the best of the path, where `success` of what oracle.gradient "
    "answers is largest"
)


def after(group: DefenseUnderThreat) -> tuple[Finding, ...]:
    """Return a finding per check, in the order of their ids; `info` for a check without the data it needs.

    Before them come S01, if the answer to an adversarial image was NaN or Inf, and S09, if parts of an attack
    found no gradient.
    """
    found = [check(group) or _not_run(id_) for id_, check in _CHECKS.items()]
    return (*_nonfinite(group), *_unable(group), *found)


def _nonfinite(group: DefenseUnderThreat) -> list[Finding]:
    """Check S01 under attack, which the preflight, on clean and noisy images, could not see."""
    most = max((attack.done.evidence.nonfinite for attack in group.table), default=0)
    n = group.cell.slice.n
    message = f"{most}/{n} adversarial images give NaN/Inf logits; they are counted as broken"
    return [_finding("S01", "block", f"{most}/{n}", "0", message)] if most else []


def _unable(group: DefenseUnderThreat) -> list[Finding]:
    """Check S09 under attack: report parts of an attack that found no gradient, so that its number lacks them."""
    lacking = {
        attack.attack.label: attack.done.evidence.unable for attack in group.table if attack.done.evidence.unable
    }
    told = "; ".join(f"{label} without {', '.join(parts)}" for label, parts in lacking.items())
    message = f"no gradient under attack: {told}"
    return [_finding("S09", "flag", told, "none", message)] if lacking else []


def _not_run(id_: str) -> Finding:
    message = "not run: it does not apply here, or its probes were left out (--checks all runs every probe)"
    return _finding(id_, "info", "-", "-", message)


def _finding(id_: str, verdict: Severity, value: str, threshold: str, message: str) -> Finding:
    return Finding(id_, verdict, value, threshold, f"{id_}: {message}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _full_gradient(group: DefenseUnderThreat) -> list[Measured]:
    return [attack for attack in group.table if attack.is_gradient]


def _eps_curve(group: DefenseUnderThreat) -> Finding | None:
    """Check A01: robust accuracy does not rise with eps, and a large eps leaves nothing."""
    roles = ("half eps", "same eps", "double eps", "large eps")
    if any(role not in group.probes for role in roles):
        return None
    curve = [group.probes[role] for role in roles]
    value = ", ".join(f"{role} {_percent(probe.accuracy)}" for role, probe in zip(roles, curve, strict=True))
    chance = 1 / group.classes if group.stochastic else 0.0
    left = curve[-1].accuracy
    # One survivor of a deterministic defense may be a matter of rounding.
    single = not group.stochastic and int((curve[-1].counts > 0).sum()) < BEATEN_LEAST
    if left > max(_ALMOST_NONE, chance) and not single:
        message = f"{_percent(left)} robust at {group.probes['large eps'].attack.label} with a large eps; "
        return _finding("A01", "flag", value, "<= 1 % or chance", message + "the attack, not the defense, fails")
    for (smaller, larger), role in zip(pairwise(curve), roles[1:], strict=True):
        risen = group.beaten(larger.counts, smaller.counts)
        if risen:
            message = f"{risen} of {len(larger.counts)} examples broken at a smaller eps stand at {role}"
            return _finding("A01", "flag", value, "does not rise", message)
    return _finding("A01", "pass", value, "falls to <= 1 % or chance", "robust accuracy falls with eps")


def _iterations(group: DefenseUnderThreat) -> Finding | None:
    """Check A02: many steps break at least what one step breaks."""
    single = [attack for attack in _full_gradient(group) if attack.attack.backwards == 1]
    many = [attack for attack in _full_gradient(group) if attack.attack.backwards > 1]
    if not single or not many:
        return None
    best = min(many, key=lambda attack: attack.accuracy)
    lost = best.counts - single[0].counts
    p = sign_flip(lost) if group.stochastic else mcnemar(int((lost > 0).sum()), int((lost < 0).sum()))
    value = f"{single[0].attack.label} {_percent(single[0].accuracy)}, {best.attack.label} {_percent(best.accuracy)}"
    if p < 0.01:
        return _finding("A02", "flag", value, "p >= .01", f"one step beats {best.attack.label} (p = {p:.2g})")
    return _finding("A02", "pass", value, "p >= .01", "many steps break at least what one step breaks")


def _black_box(group: DefenseUnderThreat) -> Finding | None:
    """Check A03: an attack that knows less does not break more."""
    chained = _chained(group)
    if chained is not None:
        return chained
    white = _full_gradient(group)
    black = [attack for attack in group.table if attack.is_black_box]
    black += [probe for role, probe in group.probes.items() if role in (BLACK_BOX, "noise", "blind", "derandomized")]
    if not white or not black:
        return None
    message = "black-box {label} found {k} the white-box attacks missed; union taken"
    return _beaten_by(group, "A03", white, black, message)


def _chained(group: DefenseUnderThreat) -> Finding | None:
    """Find a black-box stage of a cascade that broke examples which the gradient stages had left."""
    for attack in group.table:
        stages = () if attack.is_composite else (*attack.attack.stages, *attack.attack.reserve)
        followed = {stage.label for stage in stages if stage.access == "gradient"}
        if followed <= set(attack.done.evidence.unable):
            continue  # there was no gradient to follow, which S09 says
        for stage in stages:
            part = attack.done.ledger.components.get(stage.label)
            if stage.access == "gradient" or part is None:
                continue
            if part.broken >= max(BEATEN_LEAST, BEATEN_SHARE * len(attack.counts)):
                message = f"black-box {stage.label} broke {part.broken} that the attacks by gradient had left"
                value = f"{part.broken} of {part.entered} in {attack.attack.label}"
                return _finding("A03", "flag", value, ">= 2 and > 0.2 %", f"{message}; union taken")
    return None


def _beaten_by(
    group: DefenseUnderThreat, id_: str, champions: Sequence[Measured], challengers: Sequence[Measured], message: str
) -> Finding | None:
    """Flag the challenger that breaks most of what the champions leave."""
    worst: tuple[int, str] = (0, "")
    compared = []
    for challenger in challengers:
        champion = group.strongest(champions, len(challenger.counts))
        if champion is None:
            continue
        compared.append(f"{challenger.attack.label} {_percent(challenger.accuracy)}")
        worst = max(worst, (group.beaten(champion, challenger.counts), challenger.attack.label))
    if not compared:
        return None
    threshold = "significant, > 1 point" if group.stochastic else ">= 2 and > 0.2 %"
    if worst[0]:
        return _finding(id_, "flag", ", ".join(compared), threshold, message.format(k=worst[0], label=worst[1]))
    return _finding(id_, "pass", ", ".join(compared), threshold, "nothing beyond the attacks of the table")


def _convergence(group: DefenseUnderThreat) -> Finding | None:
    """Check A04: twice the steps break no more than the table does."""
    if "double steps" not in group.probes or not group.table:
        return None
    message = "attack not converged: twice the steps break {k} more"
    return _beaten_by(group, "A04", group.table, [group.probes["double steps"]], message)


def _path(group: DefenseUnderThreat) -> Finding:
    """Check A05: every attack returned the adversarial iterates that it saw.

    Our attacks return them, so if one did not, no number of this group can be believed. A user's attack may
    discard what it saw; that is no fault of the defense, whose number rests on the other attacks.
    """
    guilty = [attack for attack in group.table if attack.done.evidence.silent and not attack.is_composite]
    if not guilty:
        return _finding("A05", "pass", "0", "0", "every success on the way was handed in")
    total = sum(attack.done.evidence.silent for attack in guilty)
    labels = tuple(attack.attack.label for attack in guilty)
    message = f"{total} silent successes in {', '.join(labels)}"
    if any(attack.is_ours for attack in guilty):
        return _finding("A05", "block", str(total), "0", message)
    if all(attack.done.evidence.silent for attack in group.table):
        return _finding("A05", "block", str(total), "0", f"{message}, and no other attack was run{_HAND_IN}")
    found = _finding("A05", "flag", str(total), "0", f"{message}: its column is no evidence{_HAND_IN}")
    return replace(found, attacks=labels)


def _surrogates(group: DefenseUnderThreat) -> Finding:
    """Check A06: report attacks that differentiate another model than the one that is judged."""
    declared = [f"{attack.label} ({attack.needs})" for attack in group.asked if attack.needs]
    if not declared:
        return _finding("A06", "pass", "none", "declared", "every gradient is of the defense that is judged")
    message = f"attacked through a surrogate, judged on the defense: {', '.join(declared)}"
    return _finding("A06", "info", str(len(declared)), "declared", message)


def _eot(group: DefenseUnderThreat) -> Finding | None:
    """Check A07: twice the draws per gradient break no more."""
    if "same eps" not in group.probes or "double eot" not in group.probes:
        return None
    message = "EOT not converged: twice the draws per gradient break {k} more"
    return _beaten_by(group, "A07", [group.probes["same eps"]], [group.probes["double eot"]], message)


def _noise(group: DefenseUnderThreat) -> Finding | None:
    """Check A08: random points of the ball break no more than the attacks."""
    if "noise" not in group.probes or not group.table:
        return None
    return _beaten_by(group, "A08", group.table, [group.probes["noise"]], "random noise beats the attacks on {k}")


def _purifier(group: DefenseUnderThreat) -> Finding | None:
    """Check A09: a purifier is attacked through its full gradient, and gradients that skip it break no more."""
    if "bpda" not in group.cell.defense.offers:
        return None
    gradients = [attack for attack in group.asked if attack.access == "gradient"]
    if gradients and all(attack.needs in SKIPPING for attack in gradients):
        skipping = ", ".join(attack.label for attack in gradients)
        return _finding("A09", "block", skipping, "full gradient", "the purifier was skipped in the backward pass")
    full = _full_gradient(group)
    around = [attack for attack in group.table if attack.attack.needs in SKIPPING]
    around += [group.probes[role] for role in ("bpda", "blind") if role in group.probes]
    if not full or not around:
        return None
    message = "gradient masked: {label}, which skips the purifier, breaks {k} the full gradient left"
    return _beaten_by(group, "A09", full, around, message)


def _frozen(group: DefenseUnderThreat) -> Finding | None:
    """Check A10: report how much of the robustness is randomness that the attack cannot foresee."""
    if "frozen" not in group.probes or "same eps" not in group.probes:
        return None
    frozen, moving = group.probes["frozen"], group.probes["same eps"]
    # The frozen defense answers once, the random one in N draws; this brings both to one scale.
    gained = frozen.counts * group.draws - moving.counts
    rise = float(gained.mean()) / group.draws
    value = f"frozen {_percent(frozen.accuracy)}, random {_percent(moving.accuracy)}"
    if rise > 0.02 and sign_flip(gained) < 0.01:
        message = "without its randomness the defense looks more robust; the attack fails on it"
        return _finding("A10", "flag", value, "<= random + 2 points", message)
    message = f"{max(0.0, -100 * rise):.0f} points of robustness come from randomness the attack cannot foresee"
    return _finding("A10", "info", value, "<= random + 2 points", message)


def _base(group: DefenseUnderThreat) -> Finding | None:
    """Check A11: the defense is more robust than the classifier behind it."""
    if "base" not in group.probes or not group.table:
        return None
    base = group.probes["base"]
    n = len(base.counts)
    held = group.strongest(group.table, n)
    if held is None:
        return None
    gained = held - base.counts * group.draws
    p = min(1.0, 2 * min(sign_flip(gained), sign_flip(-gained)))
    value = f"defense {_percent(float(held.mean()) / group.draws)}, base {_percent(base.accuracy)}, n={n}"
    if p >= 0.05 or gained.sum() <= 0:
        return _finding("A11", "flag", value, "p < .05", f"no significant gain over the base (p = {p:.2g})")
    return _finding("A11", "pass", value, "p < .05", f"{100 * gained.mean() / group.draws:.1f} points above its base")


def _ordering(group: DefenseUnderThreat) -> Finding | None:
    """Check A12: a stronger attack leaves less than a weaker one."""
    ladder = [_named(group, ("fgsm",)), _named(group, ("pgd",)), _named(group, ("autoattack", "adaptive"))]
    rungs = [attack for attack in ladder if attack is not None]
    if len(rungs) < 2:
        return None
    value = ", ".join(f"{attack.attack.label} {_percent(attack.accuracy)}" for attack in rungs)
    for weaker, stronger in pairwise(rungs):
        above = stronger.counts - weaker.counts
        rise = float(above.mean()) / group.draws
        clear = sign_flip(above) < 0.01 if group.stochastic else int(above.sum()) >= 2
        if rise > _ABOVE and clear:
            names = f"{stronger.attack.label} {_percent(stronger.accuracy)} is above {weaker.attack.label} "
            message = f"{names}{_percent(weaker.accuracy)}; attack set misconfigured or gradient masked"
            return _finding("A12", "flag", value, "stronger <= weaker", message)
    return _finding("A12", "pass", value, "stronger <= weaker", "stronger attacks leave less")


def _named(group: DefenseUnderThreat, names: tuple[str, ...]) -> Measured | None:
    """Return the strongest attack of the table whose name begins with one of `names`."""
    found = [attack for attack in group.table if attack.attack.label.startswith(names)]
    return min(found, key=lambda attack: attack.accuracy, default=None)


def _optimality(group: DefenseUnderThreat) -> Finding | None:
    """Check A14: report how far each attack is from the worst case over all of them."""
    if len(group.table) < 2:
        return None
    counts: list[Counts] = [attack.counts for attack in group.table]
    best = float(np.stack(counts).min(axis=0).mean()) / group.draws
    gaps = ", ".join(f"{attack.attack.label} +{100 * (attack.accuracy - best):.1f}" for attack in group.table)
    return _finding("A14", "info", _percent(best), "-", f"points above the worst case over all: {gaps}")


# A13 needs the stored images: `bench.checks.after.replay`.
_CHECKS: Mapping[str, Callable[[DefenseUnderThreat], Finding | None]] = {
    "A01": _eps_curve,
    "A02": _iterations,
    "A03": _black_box,
    "A04": _convergence,
    "A05": _path,
    "A06": _surrogates,
    "A07": _eot,
    "A08": _noise,
    "A09": _purifier,
    "A10": _frozen,
    "A11": _base,
    "A12": _ordering,
    "A14": _optimality,
}
