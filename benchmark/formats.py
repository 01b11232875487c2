"""The same network in a faster format: memory layout, precision, batch norms folded into convolutions.

None of these changes what a network computes but for rounding, and how much that is is measured before
a format is used (`bench.planner`). An attack may search in such a format; the defense as it was given
has the last word on every success (`bench.oracle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.errors import BenchError


@dataclass(frozen=True)
class Format:
    """How a network is run.

    Attributes:
        half: bfloat16 in place of float32, where `torch.autocast` says so.
        channels_last: the channels of a pixel beside each other in memory.
        fused: batch norms folded into the convolutions before them.
    """

    half: bool = False
    channels_last: bool = False
    fused: bool = False

    def __str__(self) -> str:
        words = ["bfloat16" if self.half else "float32"]
        words += ["channels-last"] * self.channels_last + ["fused"] * self.fused
        return " ".join(words)

    @classmethod
    def parse(cls, text: str) -> Format:
        """The format that prints like this.

        Raises:
            BenchError: none does.
        """
        for found in FORMATS:
            if str(found) == text:
                return found
        raise BenchError(f"format {text!r} is unknown: give one of {', '.join(map(str, FORMATS))}")


PLAIN = Format()
FORMATS = (
    PLAIN,
    Format(channels_last=True),
    Format(fused=True),
    Format(channels_last=True, fused=True),
    Format(half=True, channels_last=True),
    Format(half=True, channels_last=True, fused=True),
)


_BESIDE = " / "


@dataclass(frozen=True)
class Plan:
    """How the queries of attacks on a defense are run, and as text: what of it stands in a key.

    `float32` is the defense as it is given; `bfloat16 channels-last / float32 fused / 160 rows` is searched in the
    first format, by what does not bear it in the second, with many draws of a query in one forward.

    Attributes:
        search: the fastest format.
        float32: the fastest one in float32.
        rows_at_once: as in `bench.oracle.Oracle`.
        gain: how many times faster than the plain format each trusted one ran.
    """

    search: Format = PLAIN
    float32: Format = PLAIN
    rows_at_once: int = 1
    gain: Mapping[str, float] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        words = [str(self.search), *([str(self.float32)] if self.float32 != self.search else [])]
        return _BESIDE.join([*words, *([f"{self.rows_at_once} rows"] if self.rows_at_once > 1 else [])])

    @classmethod
    def parse(cls, text: str) -> Plan:
        """The plan that prints like this.

        Raises:
            BenchError: none does.
        """
        words = text.split(_BESIDE)
        rows = int(words.pop().removesuffix(" rows")) if words[-1].endswith(" rows") else 1
        formats = [Format.parse(word) for word in words]
        return cls(formats[0], formats[-1], rows)

    def to_json(self) -> dict[str, Any]:
        gain = {name: round(value, 2) for name, value in self.gain.items()}
        return {
            "search": str(self.search),
            "float32": str(self.float32),
            "rows_at_once": self.rows_at_once,
            "gain": gain,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        return cls(Format.parse(data["search"]), Format.parse(data["float32"]), data["rows_at_once"], data["gain"])


def searched_in(text: str) -> str:
    """The formats of a plan that prints like this, without how many draws share a forward: that is noise."""
    return _BESIDE.join(word for word in text.split(_BESIDE) if not word.endswith(" rows"))
