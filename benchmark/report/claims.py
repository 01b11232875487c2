"""Tests of the claims of a study: whether one defense is better than another.

A claim names two defenses and what they are compared on; a protocol names the attacks. Verdicts are
paired, image by image, with an exact two-sided test, Holm-adjusted over all comparisons of the study.
A measured claim holds, does not hold, or is not resolved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.catalogue.study import AttackProtocol, Claim, Study
from bench.report.columns import PAGE, draw_table, prose, screen_width
from bench.report.render import ALARM
from bench.results.accuracy import Column, DefenseRow, defense_rows
from bench.results.cell import Result
from bench.results.judging import Accuracy, accuracy_of
from bench.results.outcome import Done, Skipped
from bench.results.stats import holm, noise_of, sign_flip, smallest_detectable_drop

LEVEL, POWER = 0.05, 0.8
HOLDS, REFUTED, OPEN, MISSING = "holds", "does not hold", "not resolved", "not measured"

ABOUT = (
    "Each line compares two defenses image by image, by the worst case over the attacks of the protocol (exact "
    "two-sided sign-flip test, Holm-adjusted over all lines). Holds: better, p < .05. Does not hold: worse, p < .05. "
    "Not resolved: these images do not tell. A stochastic defense is judged by mean-of-N; the smallest of several "
    "noisy counts is below the smallest mean, so a worst case of many attacks is hard on it, never kind."
)

ABOUT_ALARMED = f"{ALARM}: a check flags the number; see the table."


@dataclass(frozen=True)
class ClaimResult:
    """One claim under one protocol.

    Attributes:
        claim: the claim.
        protocol: its name; empty without attack.
        better: the accuracy of the defense that is claimed to be better; `None` if it was not measured.
        worse: the accuracy of the other.
        difference: better minus worse, in [-1, 1].
        p: two-sided exact paired p-value, adjusted.
        verdict: `HOLDS`, `REFUTED`, `OPEN` or `MISSING`.
        reason: why nothing was measured.
        attacks: the attacks on both.
        flagged: the labels of the defenses whose number a check flags.
        n: the images that both were judged on; 0 if nothing was measured.
        noise: variance per image of the changes that cancel out (`bench.results.stats.noise_of`).
        smallest: the difference that the test would find in 80 % of all such samples; 1 if none.
    """

    claim: Claim
    protocol: str
    better: Accuracy | None = None
    worse: Accuracy | None = None
    difference: float = 0.0
    p: float = 1.0
    verdict: str = MISSING
    reason: str = ""
    attacks: tuple[str, ...] = ()
    flagged: tuple[str, ...] = ()
    n: int = 0
    noise: float = 0.0
    smallest: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; accuracies are shares in [0, 1], differences in [-1, 1], `None` if missing."""
        sides = {
            name: None if held is None else {"value": held.value, "low": held.interval.low, "high": held.interval.high}
            for name, held in (("better", self.better), ("worse", self.worse))
        }
        told = {name: value for name, value in asdict(self).items() if name not in ("noise", *sides)}
        tested = {} if self.better is not None else dict.fromkeys(("difference", "p", "smallest"))
        return {**told, **sides, **tested, "attacks": list(self.attacks), "flagged": list(self.flagged)}


@dataclass(frozen=True)
class _Measured:
    """The counts of one defense, with the attacks that gave them, and whether a check flags them."""

    row: DefenseRow
    counts: NDArray[np.uint8]
    attacks: tuple[str, ...]
    flagged: bool = False


def comparisons(results: Sequence[Result], study: Study) -> list[ClaimResult]:
    """Compare the defenses of every claim under every protocol, in the order of the study.

    A claim is not measured where a check blocks one of its defenses, where the two were not run on the same images, or
    where a worst case lacks an attack of the protocol: the number would flatter somebody.
    """
    rows: dict[str, list[DefenseRow]] = {}
    for row in defense_rows(results):
        rows.setdefault(row.defense.label, []).append(row)
    found = []
    for claim in study.claims:
        protocols: Sequence[AttackProtocol | None] = [None] if claim.on == "standard" else study.protocols
        found += [_compare(claim, protocol, rows) for protocol in protocols]
    # Holm's family is what was measured: a claim without numbers is no test.
    tested = [index for index, each in enumerate(found) if each.better is not None]
    for index, p in zip(tested, holm([found[index].p for index in tested]), strict=True):
        each = found[index]
        # Bonferroni's level, two-sided: Holm's is never stricter, so every claim has the power that its line states.
        smallest = smallest_detectable_drop(each.n, LEVEL / (2 * len(tested)), POWER, noise=each.noise)
        found[index] = replace(each, p=p, verdict=_verdict(each.difference, p), smallest=smallest)
    return found


def _verdict(difference: float, p: float) -> str:
    # Not significant is not equal: these images do not tell.
    if p >= LEVEL:
        return OPEN
    return HOLDS if difference > 0 else REFUTED


def _compare(claim: Claim, protocol: AttackProtocol | None, held: Mapping[str, Sequence[DefenseRow]]) -> ClaimResult:
    comparison = ClaimResult(claim, protocol.name if protocol else "")
    why = _incomparable(claim, held)
    if why:
        return replace(comparison, reason=why)
    rows = {label: held[label][0] for label in (claim.better, claim.worse)}
    sides = []
    for label in (claim.better, claim.worse):
        side = _measured(rows[label], claim, protocol, rows)
        if isinstance(side, str):
            return replace(comparison, reason=f"{label}: {side}")
        sides.append(side)
    better, worse = sides
    # Defenses may differ in draws: counts are brought to one unit, so that the test stays exact.
    unit = math.lcm(better.row.draws, worse.row.draws)
    difference = better.counts.astype(np.int64) * (unit // better.row.draws)
    difference -= worse.counts.astype(np.int64) * (unit // worse.row.draws)
    return replace(
        comparison,
        better=accuracy_of(better.counts, better.row.judges[0]),
        worse=accuracy_of(worse.counts, worse.row.judges[0]),
        difference=float(difference.mean()) / unit,
        p=min(1.0, 2 * min(sign_flip(difference), sign_flip(-difference))),
        attacks=tuple(dict.fromkeys((*better.attacks, *worse.attacks))),
        flagged=tuple(side.row.defense.label for side in sides if side.flagged),
        n=len(difference),
        noise=noise_of(difference / unit),
    )


def _incomparable(claim: Claim, held: Mapping[str, Sequence[DefenseRow]]) -> str:
    """Return why the two defenses of a claim cannot be compared at all; empty if they can."""
    for label in (claim.better, claim.worse):
        if label not in held:
            return f"{label} is not in this run"
        # Of any set of images: a defense that answers with NaN on some of them has no number on the others either.
        blocks = [message for row in held[label] for message in row.blocks]
        if blocks:
            return f"a check blocks {label}: {blocks[0]}"
        if len(held[label]) > 1:
            return f"{label} was run on several sets of images, seeds or draws: select one"
    better, worse = (held[label][0] for label in (claim.better, claim.worse))
    if (better.slice, better.seed) != (worse.slice, worse.seed):
        return f"{claim.better} and {claim.worse} were not run on the same images and seed"
    return ""


def _measured(
    row: DefenseRow, claim: Claim, protocol: AttackProtocol | None, rows: Mapping[str, DefenseRow]
) -> _Measured | str:
    """Return the worst case of a defense under a protocol, or the reason why there is none."""
    if protocol is None:
        done = [outcome.verdicts.clean for outcome in map(_done, row.results.values()) if outcome]
        return _Measured(row, done[0], ()) if done else "no cell finished"
    columns = [column for column in row.attacked if _concerns(claim, column, rows)]
    if not columns:
        return f"no threat of this run is {claim.on}"
    for attacks in filter(None, (protocol.attacks, protocol.otherwise)):
        chosen = [column for column in columns if column.attack in attacks]
        # What was asked of the other defense only is missing here, for it is not known to be undefined.
        results = [row.results.get(column) for column in chosen]
        wanted = [each for each in results if each is None or not isinstance(each.outcome, Skipped)]
        if not wanted:
            continue
        outcomes = [_done(result) for result in wanted]
        counts = [outcome.verdicts.adversarial for outcome in outcomes if outcome]
        if len(counts) < len(wanted):
            # A worst case over fewer attacks would flatter the defense.
            return f"{len(wanted) - len(counts)} of {len(wanted)} cells failed or missing"
        unable = [name for outcome in outcomes if outcome for name in outcome.evidence.unable]
        if unable:
            return f"only an upper bound: there is no gradient for {', '.join(dict.fromkeys(unable))}"
        names = tuple(result.cell.title.partition(" x ")[2] for result in wanted if result)
        flagged = any(row.score(column, row.judges[0]).alarmed for column in chosen)
        return _Measured(row, np.stack(counts).min(axis=0), names, flagged)
    return f"no attack of protocol {protocol.name!r} is defined for it"


def _concerns(claim: Claim, column: Column, rows: Mapping[str, DefenseRow]) -> bool:
    """Return whether a claim is about a column: seen by the better defense, or unseen by both."""
    better, worse = rows[claim.better].seen(column), rows[claim.worse].seen(column)
    return better if claim.on == "seen" else not (better or worse)


def _done(result: Result | None) -> Done | None:
    return result.outcome if result is not None and isinstance(result.outcome, Done) else None


def render(found: Sequence[ClaimResult]) -> str:
    """Return the comparisons as text for the screen."""
    page = screen_width(PAGE)
    text = draw_table(
        ["", "claim", "protocol", "better", "worse", "difference", "p", "verdict"],
        [_line(index, each) for index, each in enumerate(found, 1)],
        screen_width(),
        right=(0, 3, 4, 5, 6),
        text=(1,),
        named=2,
    )
    notes = [prose(f"{index}: {_note(each)}", page, hang="   ") for index, each in enumerate(found, 1)]
    about = [ABOUT, *([ABOUT_ALARMED] if any(each.flagged for each in found) else [])]
    return "\n".join([text, "", *notes, "", *(prose(line, page, hang="") for line in about)])


def _note(each: ClaimResult) -> str:
    sides = f"{each.claim.better} against {each.claim.worse}"
    if each.reason:
        return f"{sides}: {each.reason}"
    return f"{sides}, {' + '.join(each.attacks) if each.attacks else 'without attack'}"


def _line(index: int, each: ClaimResult) -> list[str]:
    if each.better is None or each.worse is None:
        return [str(index), each.claim.name, each.protocol, "-", "-", "-", "-", each.verdict]
    return [
        str(index),
        each.claim.name,
        each.protocol,
        _shown(each.better, alarmed=each.claim.better in each.flagged),
        _shown(each.worse, alarmed=each.claim.worse in each.flagged),
        f"{100 * each.difference:+.1f}",
        f"{each.p:.2g}",
        each.verdict,
    ]


def _shown(accuracy: Accuracy, *, alarmed: bool) -> str:
    low, high = accuracy.interval
    return f"{100 * accuracy.value:.1f}{ALARM if alarmed else ''} [{100 * low:.1f}, {100 * high:.1f}]"
