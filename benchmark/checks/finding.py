"""What a check found: one row, stored beside the verdicts it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["pass", "info", "flag", "block"]

_ORDER: tuple[Severity, ...] = ("pass", "info", "flag", "block")


@dataclass(frozen=True)
class Finding:
    """One row of a check.

    Attributes:
        id: `S05`, `A03`: stable, used in messages, files and tests.
        verdict: `pass`; `info`; `flag`: the number stands, with a mark; `block`: there is no number
            on the leaderboard.
        value: what was measured, as printed.
        threshold: what it was held against, as printed.
        message: one line, beginning with the id.
        attacks: the labels of the attacks whose columns alone it is about; empty where it is about all of them.
    """

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
        """Whether the check could not be made, or was not asked for."""
        return self.verdict == "info" and self.message.startswith((f"{self.id}: not checked", f"{self.id}: not run"))

    def concerns(self, attack: str) -> bool:
        """Whether it is about the column of an attack, by its label."""
        return not self.attacks or attack in self.attacks

    def to_json(self) -> dict[str, Any]:
        told = asdict(self)
        return told if self.attacks else {name: value for name, value in told.items() if name != "attacks"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        return cls(**{**data, "attacks": tuple(data.get("attacks", ()))})


def worst(findings: Iterable[Finding]) -> Severity:
    """The gravest verdict among some findings; `pass` where there are none."""
    return max((finding.verdict for finding in findings), key=_ORDER.index, default="pass")
