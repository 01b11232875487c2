"""Memory that one pass has freed stays with the process for the next."""

from __future__ import annotations

import ctypes
import os
import platform

# Parameters of mallopt in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The largest values that glibc takes.
_NEVER, _MOST = 2**31 - 1, 32 << 20
_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")


def keep_freed() -> bool:
    """Keep what is freed instead of giving it back to the system; returns whether that could be asked for.

    The activations of a pass are freed together at its end. glibc gives so much back to the system, and the
    next pass has every page of it zeroed and mapped anew: thousands of page faults per batch of a small
    network. It holds for the whole process, which then stays as large as it ever was. Where the C library is
    another one, or the user has set its thresholds (`MALLOC_TRIM_THRESHOLD_`, `GLIBC_TUNABLES`), nothing changes.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _OWN):
        return False
    if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # Not `all` of a generator: both are to be asked for, and setting either one ends glibc's own adjustment.
    return all([mallopt(_MMAP_THRESHOLD, _MOST), mallopt(_TRIM_THRESHOLD, _NEVER)])
