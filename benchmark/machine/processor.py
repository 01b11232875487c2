"""What the processor computes by itself, and what a library has to emulate on it."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Either of them multiplies bfloat16, as Linux calls them.
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})


def emulates_bfloat16(cpuinfo: Path = _CPUINFO) -> bool:
    """Return whether this is an x86 processor that does not multiply bfloat16, as all but newer servers are.

    torch computes in bfloat16 all the same, through float32, and takes longer than with float32 alone. `False` where
    nothing is known: processors of another kind, and systems without `/proc/cpuinfo`.

    Args:
        cpuinfo: the file in which Linux describes the processor.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return "sse2" in flags and not _BFLOAT16.intersection(flags)
