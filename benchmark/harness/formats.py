"""Formats of a network: memory layout, precision, batch norms folded into convolutions.

A format changes what a network computes by rounding only, and `bench.harness.format_choice` measures how much
before a format is used. An attack may search in such a format; the defense as given confirms every success
(`bench.oracle.oracle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.errors import BenchError


@dataclass(frozen=True)
class Format:
    """A way to run a network.

    Attributes:
        half: whether operations that `torch.autocast` allows run in bfloat16 instead of float32.
        channels_last: whether the channels of a pixel are adjacent in memory.
        fused: whether batch norms are folded into the convolutions before them.
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
        """Return the format whose text this is.

        Raises:
            BenchError: no format has this text.
        """
        for found in FORMATS:
            if str(found) == text:
                return found
        raise BenchError(f"format {text!r} is unknown: give one of {', '.join(map(str, FORMATS))}")


PLAIN = Format()
# The plain one first. bfloat16 comes with channels_last only, for which it has fast kernels.
FORMATS = (
    PLAIN,
    Format(channels_last=True),
    Format(fused=True),
    Format(channels_last=True, fused=True),
    Format(half=True, channels_last=True),
    Format(half=True, channels_last=True, fused=True),
)


# These formats stand in keys as text, so neither this separator nor the words of a format may ever change.
_BESIDE = " / "


@dataclass(frozen=True)
class SearchFormats:
    """The formats in which attacks query a defense; its text is part of a cell's key.

    `float32` is the defense as given. With `bfloat16 channels-last / float32 fused / 160 rows` attacks search in the
    first format, or in the second if they need float32, and several draws of a query share a forward of 160 rows.

    Attributes:
        search: the fastest format.
        float32: the fastest float32 format.
        rows_at_once: as in `bench.oracle.oracle.Oracle`.
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
    def parse(cls, text: str) -> SearchFormats:
        """Return the formats whose text this is.

        Raises:
            BenchError: a format in it is unknown.
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
    def from_json(cls, data: Mapping[str, Any]) -> SearchFormats:
        return cls(Format.parse(data["search"]), Format.parse(data["float32"]), data["rows_at_once"], data["gain"])
