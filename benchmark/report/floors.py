"""Floors: accuracies that a candidate must not fall below, whatever its baseline.

`at/pgd-20=0.40` promises that `at` keeps at least 40 % under `pgd-20`. The floor is held to the *observed*
accuracy of the images that were measured, without a test: it is a plain promise about this n. A true accuracy that
lies on the floor would break it in half of all draws of images, so a floor belongs below the accuracy by the width
of its interval; each row says whether the interval contains the floor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import BenchError, unknown
from bench.report.gate_report import FloorRow, Held
from bench.results.accuracy import Column, DefenseRow, Score, Which, defense_rows
from bench.results.cell import Result
from bench.threats import ThreatModel

STANDARD = "standard"
_WORST: Mapping[str, Which] = {"worst-all": "all", "worst-seen": "seen", "worst-unseen": "unseen"}
_HOW = "write DEFENSE/ATTACK=SHARE, such as at/pgd-20=0.40 or at/pgd-20@Linf:0.2=0.40"
# Sums of shares of draws are rounded: an accuracy of exactly the floor must not be below it.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Floor:
    """A floor as it was typed.

    Attributes:
        place: what stands before the last `=`: a defense, a slash, an attack and perhaps `@` and a threat model.
        share: the least accuracy, in [0, 1].
    """

    place: str
    share: float


def parse_floor(text: str) -> Floor:
    """Read a floor; which defense and attack it names is found out when there are results.

    Raises:
        BenchError: it does not have the form, or the share is none.
    """
    place, equals, number = text.strip().rpartition("=")
    # `at/pgd-20[steps=5]` has an equals sign, but no share behind it.
    if not equals or "/" not in place or number.rstrip().endswith("]"):
        raise BenchError(f"--floor {text!r} is no floor: {_HOW}")
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise BenchError(f"--floor {text!r} is out of range: give a share from 0 to 1, such as 0.40 for 40 %")
    return Floor(place.strip(), share)


def hold(floors: Sequence[Floor], results: Sequence[Result]) -> tuple[FloorRow, ...]:
    """Hold results to floors; a floor is held by each set of images that the defense was run on.

    Raises:
        BenchError: a floor names a defense, an attack or a threat model that the results do not have.
    """
    rows = defense_rows(results) if floors else []
    return tuple(each for floor in floors for each in _held(floor, rows))


def _held(floor: Floor, rows: Sequence[DefenseRow]) -> Iterator[FloorRow]:
    label, attack = _owner(floor.place, [row.defense.label for row in rows])
    for row in rows:
        if row.defense.label == label:
            title, score = _score(row, label, attack)
            yield _row(floor, row, title, score)


def _owner(place: str, labels: Sequence[str]) -> tuple[str, str]:
    """Return the label of the defense, and what stands behind its slash; labels may hold slashes themselves."""
    cuts = [at for at, character in enumerate(place) if character == "/"]
    # The longest label first: a file `models/at.py:build` may stand beside a defense called `models`.
    for cut in reversed(cuts):
        if place[:cut] in labels:
            return place[:cut], place[cut + 1 :]
    raise unknown("defense of these results", place.partition("@")[0].rpartition("/")[0], labels)


def _score(row: DefenseRow, label: str, attack: str) -> tuple[str, Score]:
    """Return the title and the accuracy of what a floor names."""
    judge = row.judges[0]
    if attack == STANDARD:
        return f"{label}/{STANDARD}", row.standard(judge)
    if attack in _WORST:
        return f"{label}/{attack}", row.worst(_WORST[attack], judge)
    column = _column(row, attack)
    return f"{label}/{column.attack} ({column.threat})", row.score(column, judge)


def _column(row: DefenseRow, text: str) -> Column:
    name, threat = text, ""
    # Under known draws an accuracy is no promise to anybody: it holds no floor.
    every = [each for each in row.columns if not each.known_draws]
    names = list(dict.fromkeys(each.attack for each in every))
    if text not in names:
        # A name may hold `@` itself, so the whole is looked for first.
        name, at, threat = text.rpartition("@")
        name, threat = (name, str(ThreatModel.parse(threat))) if at else (text, "")
    if name not in names:
        raise unknown("attack of these results", name, [*names, STANDARD, *_WORST])
    columns = [each for each in every if each.attack == name]
    threats = [str(each.threat) for each in columns]
    if threat and threat not in threats:
        raise unknown(f"threat of {name} in these results", threat, threats)
    if not threat and len(columns) > 1:
        raise BenchError(f"--floor: {name!r} was run under {', '.join(threats)}: name one, as {name}@{threats[0]}")
    return next(each for each in columns if threat in ("", str(each.threat)))


def _row(floor: Floor, row: DefenseRow, title: str, score: Score) -> FloorRow:
    dataset, judged = row.slice.dataset, row.judges[0].name
    why = f"blocked: {row.blocks[0]}" if row.blocks else "" if score.state == "done" else _why(score)
    if why or score.accuracy is None:
        return FloorRow(title, "absent", floor.share, row.slice.n, reason=why, judged=judged, dataset=dataset)
    accuracy = score.accuracy
    verdict: Held = "below" if accuracy.value < floor.share - _ROUNDING else "ok"
    return FloorRow(
        title, verdict, floor.share, accuracy.n, accuracy.value, *accuracy.interval, judged=judged, dataset=dataset
    )  # fmt: skip


def _why(score: Score) -> str:
    told = " ".join(score.reason.split())
    # A worst case over fewer attacks is only an upper bound: that it is above a floor says nothing.
    return told if score.state == "partial" else f"{score.state}: {told}" if told else score.state
