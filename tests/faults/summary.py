"""The sum of a session's injected faults, bad inputs and malicious files: how many were survived.

A test says with a marker what it injects (`fault("F01")`, `bad_input("B07")`, `malicious("X01")`) and with
`record_property` how many times (`injections`), how many acknowledged rows were lost (`lost`) and how many digests
were compared (`digests`, such as `"20/20"`). Everything is summed up from reports, which pytest-xdist sends home.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MARKERS = ("fault", "bad_input", "malicious")
_SURVIVED = "passed"
# Of several reports of one test (setup, call, teardown) the worst one is its outcome.
_WORST_FIRST = ("failed", "error", "xpassed", "xfailed", "skipped", _SURVIVED)


@dataclass
class Sum:
    """Injections of one marker: how many there were, how many were survived, of which kinds.

    Attributes:
        expected: kinds with tests that are expected to fail, and how many injections these make.
        skipped: kinds that were not injected on this machine.
    """

    survived: int = 0
    total: int = 0
    kinds: set[str] = field(default_factory=set)
    expected: dict[str, int] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    lost: int = 0
    equal: int = 0
    compared: int = 0


def of_markers(item: Any) -> list[tuple[str, str]]:
    """Return the kinds that a collected test injects, as properties of its report."""
    return [(name, str(marker.args[0])) for name in MARKERS for marker in item.iter_markers(name) if marker.args]


def summed(stats: Mapping[str, Sequence[Any]]) -> dict[str, Sum]:
    """Sum up the reports of a session, by outcome (`TerminalReporter.stats`); by marker, only those that occur."""
    found: dict[str, Sum] = {}
    for outcome, properties in _outcomes(stats):
        kinds = {name: [kind for key, kind in properties if key == name] for name in MARKERS}
        values = dict(properties)
        times = int(values.get("injections", 1))
        for name in (name for name in MARKERS if kinds[name]):
            _add(found.setdefault(name, Sum()), outcome, kinds[name], times)
        if kinds["fault"] and outcome != "skipped":
            at = found["fault"]
            at.lost += int(values.get("lost", 0))
            equal, _, compared = str(values.get("digests", "0/0")).partition("/")
            at.equal, at.compared = at.equal + int(equal), at.compared + int(compared)
    return found


def _add(at: Sum, outcome: str, kinds: Sequence[str], times: int) -> None:
    if outcome == "skipped":
        at.skipped |= set(kinds)
        return
    at.kinds |= set(kinds)
    at.total += times
    at.survived += times if outcome == _SURVIVED else 0
    if outcome == "xfailed":
        at.expected[kinds[0]] = at.expected.get(kinds[0], 0) + times


def _outcomes(stats: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield every marked test once, with its worst outcome and its properties."""
    tests: dict[str, tuple[str, list[tuple[str, Any]]]] = {}
    for outcome in (*_WORST_FIRST, ""):  # "" is a setup or teardown that passed: it tells the properties
        for report in stats.get(outcome, ()):
            properties = list(getattr(report, "user_properties", ()))
            name = str(getattr(report, "nodeid", ""))
            before, known = tests.get(name, (outcome or _SURVIVED, []))
            tests[name] = (before, known if len(known) >= len(properties) else properties)
    for name, (outcome, properties) in tests.items():
        if any(key in MARKERS for key, _ in properties):
            yield outcome, properties
        # A file that cannot be imported, or a test that took its worker with it, brings no properties.
        elif "tests/faults/" in name and outcome in ("failed", "error"):
            yield outcome, [("fault", "?")]


def line(found: Mapping[str, Sum]) -> str:
    """Return the sums as one line; empty where nothing was injected."""
    parts = []
    if "fault" in found:
        at = found["fault"]
        parts.append(
            f"faults survived {at.survived}/{at.total} over {len(at.kinds)} kinds ({_named(at.kinds)}), "
            f"acknowledged rows lost {at.lost}, digests equal {at.equal}/{at.compared}"
        )
    for name, told in (("bad_input", "bad inputs"), ("malicious", "malicious files harmless")):
        if name in found:
            parts.append(f"{told} {found[name].survived}/{found[name].total}")
    for name, told in (("expected", "expected to fail"), ("skipped", "not injected here")):
        kinds = {kind for at in found.values() for kind in getattr(at, name)}
        if kinds:
            parts.append(f"{told}: {_named(kinds)}")
    return "; ".join(parts)


def _named(kinds: Iterable[str]) -> str:
    """Name kinds, runs of numbers as a range: `F01-F04 F06`."""
    ranges: list[list[str]] = []
    for kind in sorted(kinds):
        if ranges and kind == _next(ranges[-1][-1]):
            ranges[-1].append(kind)
        else:
            ranges.append([kind])
    return " ".join(each[0] if len(each) == 1 else f"{each[0]}-{each[-1]}" for each in ranges)


def _next(kind: str) -> str:
    match = re.fullmatch(r"([A-Z])(\d+)", kind)
    return f"{match[1]}{int(match[2]) + 1:02d}" if match else ""
