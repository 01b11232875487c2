"""How long tasks take: what orders them, and when one is called hung."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bench.results.cell import Cell

# A task is called hung when it takes so many times its estimate, and never before so many seconds.
_PATIENCE, _AT_LEAST = 20.0, 600.0


@dataclass(frozen=True)
class Pace:
    """The seconds that a pass of each defense takes, and the most that anything may take.

    Attributes:
        speeds: seconds per example and pass, a backward counted as two, by the digest of a defense.
        timeout: the most seconds for one step of others' code; `None` for many times what it should take.
    """

    speeds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    timeout: float | None = None

    def seconds(self, cell: Cell, n: int) -> float:
        """Return about how long `n` examples of a cell take, at most."""
        known = self.speeds.get(cell.defense.digest)
        # A defense that nobody has timed is taken to be as slow as the slowest that somebody has.
        return cell.passes(n) * (max(self.speeds.values(), default=1.0) if known is None else known)

    def limit(self, cell: Cell, n: int) -> float:
        """Return the seconds after which the attack on `n` examples of a cell is called hung."""
        if self.timeout is not None:
            return self.timeout
        return max(_AT_LEAST, _PATIENCE * cell.passes(n) * self.speeds.get(cell.defense.digest, 0.0))

    def limit_of(self, passes: int, digest: str = "") -> float:
        """Return the seconds after which a step of so many passes, such as an examination, is called hung."""
        if self.timeout is not None:
            return self.timeout
        return max(_AT_LEAST, _PATIENCE * passes * self.speeds.get(digest, 0.0))


UNKNOWN = Pace()
