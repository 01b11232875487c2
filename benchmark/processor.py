"""Which processor this is, and which of the extensions it has that formats gain from."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe() -> str:
    """Such as `AMD EPYC (avx2)`; the machine type alone where the system tells no more."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    found = ", ".join(extension for extension in _EXTENSIONS if extension in flags)
    return f"{name or platform.processor() or platform.machine()} ({found or 'no vector extension known'})"
