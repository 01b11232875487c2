"""The report of a gate as test cases, the form that JUnit XML, annotations and pytest share.

At least one case fails exactly if the exit status is not 0: a reader that counts failures and one that looks at the
status never disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bench.report.gate_report import FloorRow, GateReport, GateRow
from bench.report.plain import flat

Outcome = Literal["passed", "failure", "error", "skipped"]

# Names of the cases that are about no cell.
COMPARISON, POWER = "comparison", "power"


@dataclass(frozen=True)
class Case:
    """One test case.

    Attributes:
        name: a line of printable text; with `group` it is unique.
        group: the images it is about, by dataset; empty if it is about all.
        outcome: `error` where nothing could be tested.
        kind: one word for machines: `regression`, `below-floor`, `absent`, `not-comparable`, `underpowered`.
        message: why it did not pass; empty if it did.
        numbers: what was measured.
        seconds: that measuring took.
    """

    name: str
    group: str
    outcome: Outcome
    kind: str = ""
    message: str = ""
    numbers: str = ""
    seconds: float = 0.0


def cases(report: GateReport) -> list[Case]:
    """Return a case per cell and floor, one for what is wrong with the whole comparison, and one for its power."""
    found = [_of_row(row) for row in report.rows] + [_of_floor(row) for row in report.floors]
    # Refusals of single cells are told by their rows.
    told = {f"{row.title}: {row.reason}" for row in report.rows}
    refusals = [why for why in report.not_comparable if why not in told]
    found += [Case(COMPARISON, "", "error", "not-comparable", flat(why)) for why in refusals]
    return [*_told_apart(found), *_power(report)]


def _of_row(row: GateRow) -> Case:
    name, group = flat(row.title), flat(row.dataset)
    if row.verdict in ("absent", "not comparable"):
        kind = row.verdict.replace(" ", "-")
        return Case(name, group, "error", kind, flat(f"{row.verdict}: {row.reason}"))
    told = {
        "n": row.n,
        "baseline": row.baseline,
        "candidate": row.candidate,
        "drop": row.drop,
        "p": row.p,
        "adjusted p": row.adjusted,
        "verdict": row.verdict,
    }
    numbers = "\n".join(
        f"{key}: {value:.6g}" if isinstance(value, float) else f"{key}: {value}" for key, value in told.items()
    )
    if row.verdict == "regression":
        return Case(name, group, "failure", "regression", flat(f"REGRESSION {row.line}"), numbers, row.seconds)
    return Case(name, group, "passed", numbers=numbers, seconds=row.seconds)


def _of_floor(row: FloorRow) -> Case:
    name, group, line = flat(f"floor {row.title}"), flat(row.dataset), flat(f"floor {row.line}")
    if row.verdict == "absent":
        return Case(name, group, "error", "absent", line)
    if row.verdict == "below":
        return Case(name, group, "failure", "below-floor", line, line)
    return Case(name, group, "passed", numbers=line)


def _power(report: GateReport) -> list[Case]:
    if not report.gated:
        return []
    if not report.underpowered:
        return [Case(POWER, "", "passed", numbers=report.sensitivity)]
    message = f"{report.sensitivity}; a drop of {100 * report.must_detect:.1f} points could pass unseen"
    return [Case(POWER, "", "skipped" if report.allow_underpowered else "failure", "underpowered", message)]


def _told_apart(found: list[Case]) -> list[Case]:
    """Return the cases with a number behind names that occur again: readers take one name for one case."""
    seen: dict[tuple[str, str], int] = {}
    apart = []
    for case in found:
        count = seen[case.group, case.name] = seen.get((case.group, case.name), 0) + 1
        apart.append(case if count == 1 else replace(case, name=f"{case.name} ({count})"))
    return apart
