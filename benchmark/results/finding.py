"""Findings of checks, stored beside the verdicts they are about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["pass", "info", "flag", "block"]

# From harmless to grave: `worst` compares places in it.
_ORDER: tuple[Severity, ...] = ("pass", "info", "flag", "block")


@dataclass(frozen=True)
class Finding:
    """One row of a check.

    Attributes:
        id: `S05`, `A03`: stable, used in messages, files and tests.
        verdict: `pass`; `info`; `flag`: the number counts, with a mark; `block`: there is no number
            on the leaderboard.
        value: what was measured, as printed.
        threshold: what it was compared with, as printed.
        message: one line, beginning with the id.
        attacks: the labels of the attacks whose columns it is about; empty if it is about all of them.
    """

    # Value and threshold are text, because checks measure counts, shares, shapes and names.
    id: str
    verdict: Severity
    value: str
    threshold: str
    message: str
    attacks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.verdict == "pass"

    @property
    def alarming(self) -> bool:
        return self.verdict in ("flag", "block")

    @property
    def idle(self) -> bool:
        """Return whether the check was not made, because it could not be or was not requested."""
        return self.verdict == "info" and self.message.startswith((f"{self.id}: not checked", f"{self.id}: not run"))

    def concerns(self, attack: str) -> bool:
        """Return whether it is about the column of an attack, given by label."""
        return not self.attacks or attack in self.attacks

    def to_json(self) -> dict[str, Any]:
        # Without attacks the row is as it was before this field, and so is its digest.
        told = asdict(self)
        return told if self.attacks else {name: value for name, value in told.items() if name != "attacks"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        return cls(**{**data, "attacks": tuple(data.get("attacks", ()))})


def gravity(verdict: str) -> int:
    """Return how grave a verdict is: 0 for one that passed."""
    return [str(each) for each in _ORDER].index(verdict)


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the gravest verdict among some findings; `pass` if there are none."""
    return max((finding.verdict for finding in findings), key=_ORDER.index, default="pass")
