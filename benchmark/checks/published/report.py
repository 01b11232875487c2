"""The audit of a claim: the answer to every question, as lines for the screen and as JSON."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.checks.published.claim import PublishedClaim
from bench.checks.published.comparison import UnpairedTest
from bench.checks.published.faults import FAULTS, Fault, State
from bench.checks.published.numbers import printed_numbers
from bench.checks.published.orderings import suspicious_orders
from bench.checks.published.protocol import Difference, differences, fulfilled, not_stated, reference_name
from bench.results.printed import USUAL_SIZES, PrintedNumber, percent, possible_sizes, truncated_count


@dataclass(frozen=True)
class Audit:
    """The results of an audit.

    Attributes:
        claim: the claim itself.
        numbers: its printed accuracies: robust, standard, then the table's, then that of the classifier alone.
        contrast: its comparison with another number.
        differences: the fields in which its protocol falls short of the reference.
        not_stated: fields that the reference asks for and the claim does not state.
        fulfilled: fields that are as good as the reference.
        orders: numbers in an order that should not occur.
    """

    claim: PublishedClaim
    numbers: tuple[PrintedNumber, ...]
    contrast: UnpairedTest | None
    differences: tuple[Difference, ...]
    not_stated: tuple[str, ...]
    fulfilled: tuple[str, ...]
    orders: tuple[str, ...]

    def faults(self, state: State) -> list[Fault]:
        return [fault for fault in FAULTS if fault.state(self.claim.protocol) == state]

    @property
    def findings(self) -> list[str]:
        """List what is wrong, one line each; empty where nothing is."""
        numbers = [*self.numbers, self.contrast.other] if self.contrast else self.numbers
        lines = [f"{item.name} {item.printed} is no k/{item.cells}" for item in numbers if item.possible is False]
        # `resolved` is None without n, and a difference that cannot be tested is not resolved either.
        if self.contrast is not None and not self.contrast.resolved:
            lines.append(f"the difference of {self.contrast.points} points is not resolved")
        if self.contrast is not None and not self.contrast.same_protocol:
            lines.append("the two numbers compared come from different protocols")
        lines += [f"{item.field} is {item.claimed}; the reference is {item.wanted}" for item in self.differences]
        lines += [f"{name} is not stated" for name in self.not_stated]
        lines += [f"{fault.id} applies: {fault.title}" for fault in self.faults("applies")]
        lines += [f"{fault.id} cannot be told" for fault in self.faults("cannot be told")]
        return [*lines, *self.orders]

    @property
    def exit_code(self) -> int:
        return 1 if self.findings else 0

    @property
    def candidates(self) -> list[int]:
        """List the n at which every printed number is possible, the smallest few and usual ones, if n is not stated."""
        if self.claim.n is not None:
            return []
        numbers = [item for item in self.numbers if item.n is None]
        if self.contrast is not None and self.contrast.other.n is None:
            numbers.append(self.contrast.other)
        return possible_sizes(numbers)

    def to_json(self) -> dict[str, Any]:
        """Return everything that the screen shows, and a little more."""
        protocol = self.claim.protocol
        return {
            "title": self.claim.title,
            "source": self.claim.source,
            "dataset": self.claim.dataset,
            "threat": None if self.claim.threat is None else str(self.claim.threat),
            "n": self.claim.n,
            "candidate_n": self.candidates,
            "numbers": [item.to_json() for item in self.numbers],
            "comparison": None if self.contrast is None else self.contrast.to_json(),
            "reference": reference_name(protocol),
            "differences": [asdict(item) for item in self.differences],
            "not_stated": list(self.not_stated),
            "fulfilled": list(self.fulfilled),
            "faults": [
                {
                    "id": fault.id,
                    "title": fault.title,
                    "state": fault.state(protocol),
                    "effect": fault.effect,
                    "does": fault.does,
                    "not_stated": list(fault.missing(protocol)),
                }
                for fault in FAULTS
            ],
            "orders": list(self.orders),
            "findings": self.findings,
        }

    @property
    def lines(self) -> list[str]:
        """Return one block of lines per question, and the conclusion last."""
        blocks = [
            self._head(),
            self._about_numbers(),
            self._about_comparison(),
            self._about_protocol(),
            self._about_faults(),
            self._about_orders(),
        ]
        count = len(self.findings)
        conclusion = f"{count} finding{'' if count == 1 else 's'}" if count else "nothing found"
        return [line for block in blocks if block for line in (*block, "")] + [conclusion]

    def _head(self) -> list[str]:
        facts = (self.claim.source, self.claim.dataset, self.claim.threat and str(self.claim.threat))
        return [self.claim.title, *(f"  {fact}" for fact in facts if fact)]

    def _about_numbers(self) -> list[str]:
        lines = ["Numbers"]
        for item in self.numbers:
            lines += number_lines(item)
        if self.claim.n is None:
            lines.append(f"  n is not stated; every number is possible at n = {_joined(self.candidates)}")
            usual = [n for n in self.candidates if n in USUAL_SIZES]
            # The smallest and the largest show how much the interval depends on n.
            for n in usual[:1] + usual[1:][-1:]:
                low, high = percent(self.numbers[0].wilson(n))
                lines.append(f"    at n = {n} the robust accuracy has the 95 % interval [{low:.1f}, {high:.1f}]")
        lines.append("  Intervals know the sampling of examples only: robust accuracy is an upper bound, which a")
        return [*lines, "  stronger attack can still lower."]

    def _about_comparison(self) -> list[str]:
        if self.contrast is None:
            return []
        contrast = self.contrast
        lines = [f"Comparison with {contrast.other.name}", *number_lines(replace(contrast.other, name="robust"))]
        needed = "" if contrast.needed is None else f"; about {contrast.needed:,} examples per side would do"
        if contrast.p is None:
            lines.append(f"  {contrast.points} points: cannot be told without n{needed}")
        elif contrast.resolved:
            lines.append(f"  {contrast.points} points: resolved (unpaired exact test, p = {contrast.p:.2g})")
        else:
            lines.append(
                f"  {contrast.points} points: not resolved (unpaired exact test, p = {contrast.p:.2g}){needed}"
            )
        if not contrast.same_protocol:
            lines.append("  The two protocols differ, so the difference is not the defense's alone.")
        return [
            *lines,
            "  A paired test resolves smaller differences, but needs the verdicts of both on the same examples.",
        ]

    def _about_protocol(self) -> list[str]:
        lines = [f"Protocol, against the reference for {reference_name(self.claim.protocol)}"]
        if self.claim.protocol.source is not None:
            lines.append(f"  as stated by {self.claim.protocol.source}")
        lines += [
            f"  {item.field:19s} {item.claimed:12s} reference: {item.wanted} ({_effect(item.effect)})"
            for item in self.differences
        ]
        lines += _wrapped("not stated", self.not_stated)
        return lines + _wrapped("as good", self.fulfilled)

    def _about_faults(self) -> list[str]:
        lines = ["Faults, if the protocol is as stated"]
        for fault in self.faults("applies"):
            lines += [f"  {fault.id:3s} {fault.title}", f"      ({_effect(fault.effect)}) {fault.does}"]
        open_ones = self.faults("cannot be told")
        missing = [f"{fault.id} ({' + '.join(fault.missing(self.claim.protocol))})" for fault in open_ones]
        lines += _wrapped("cannot be told", missing)
        return lines + _wrapped("do not apply", [fault.id for fault in self.faults("does not apply")])

    def _about_orders(self) -> list[str]:
        return ["Orders", *(part for line in self.orders for part in _folded(line))] if self.orders else []


def audit_claim(claim: PublishedClaim) -> Audit:
    """Audit a claim: answer every question about it."""
    numbers = printed_numbers(claim)
    contrast = None
    if claim.comparison is not None:
        other = claim.comparison
        name, n = other.title or "the other number", claim.n if other.n is None else other.n
        contrast = UnpairedTest(
            numbers[0], PrintedNumber(name, other.robust, n, claim.draws_averaged), other.same_protocol
        )
    return Audit(
        claim,
        numbers,
        contrast,
        tuple(differences(claim)),
        tuple(not_stated(claim)),
        tuple(fulfilled(claim)),
        tuple(suspicious_orders(claim)),
    )


def number_lines(item: PrintedNumber) -> list[str]:
    """Return lines that say whether n allows the number, and its intervals."""
    head = f"  {item.name:9s} {item.printed:>6}  "
    if item.n is None or item.cells is None:
        return [f"{head}n not stated"]
    low, high = percent(item.wilson(item.n))
    text = f"Wilson 95 % [{low:.1f}, {high:.1f}]"
    if item.exact is not None:
        low, high = percent(item.exact)
        text += f", Clopper-Pearson [{low:.1f}, {high:.1f}]"
    if item.any_number_is:
        return [f"{head}n = {item.n} allows any number so rounded; {text}"]
    if item.possible and item.count is not None:
        return [f"{head}{item.share(item.count)}; {text}"]
    nearest = " and ".join(item.share(k) for k in item.neighbours)
    lines = [f"{head}no k/{item.cells}: nearest are {nearest}", f"    {text} around the nearer one"]
    # A number that is impossible by rounding may have been truncated, which is no sign of another n.
    cut = truncated_count(item.printed, item.cells)
    if cut is not None:
        lines.append(f"    {item.share(cut)} gives it when cut off instead of rounded")
    others = possible_sizes([item])
    return [*lines, f"    possible at n = {_joined(others)}"]


def _joined(sizes: list[int]) -> str:
    if not sizes:
        return "none up to 10,000"
    return ", ".join(str(n) for n in sizes) + " and others"


def _p_value(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-6 else "p < 1e-6"


def _effect(effect: str) -> str:
    return "overstates" if effect == "overstates" else "either way"


def _wrapped(label: str, items: tuple[str, ...] | list[str], width: int = 96) -> list[str]:
    """Format `label: a, b, c` over as many lines as needed; nothing without items."""
    if not items:
        return []
    return _folded(f"{label}: {', '.join(items)}", width)


def _folded(text: str, width: int = 96) -> list[str]:
    """Wrap a text over as many lines as needed."""
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
