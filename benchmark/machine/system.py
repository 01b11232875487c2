"""The machine and the installation under a run: memory, processor, files, packages, and processes of our own."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from bench.errors import BenchError

# Parameters of mallopt in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The largest values that glibc accepts: for the trim threshold an int, for mmap 32 MiB (DEFAULT_MMAP_THRESHOLD_MAX).
_NEVER, _MOST = 2**31 - 1, 32 << 20
_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")


def keep_freed() -> bool:
    """Tell glibc to keep freed memory instead of returning it to the system; return whether it agreed.

    The activations of a pass are freed together at its end. glibc returns that much memory to the system, and
    the next pass has every page zeroed and mapped anew: thousands of page faults per batch of a small network.
    The setting holds for the whole process, which never shrinks again. With another C library, or where the
    user has set the thresholds (`MALLOC_TRIM_THRESHOLD_`, `GLIBC_TUNABLES`), nothing changes.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _OWN):
        return False
    if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # Not `all` of a generator: both calls must be made, because either one ends glibc's own adjustment of the other.
    return all([mallopt(_MMAP_THRESHOLD, _MOST), mallopt(_TRIM_THRESHOLD, _NEVER)])


_MEMORY = Path("/proc/meminfo")
# Where the kernel says how much memory a container may use: version 2 of control groups, and version 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory() -> int | None:
    """Return the bytes of memory that this machine or its container has; `None` where the system does not say."""
    found = []
    for path in (_MEMORY, *_LIMITS):
        with contextlib.suppress(OSError):
            text = path.read_text()
            words = text.partition("MemTotal:")[2].split() if path == _MEMORY else text.split()
            if words and words[0].isdigit():
                found.append(int(words[0]) * (1024 if path == _MEMORY else 1))
    return min(found, default=None)


# The files of drivers of NVIDIA, of Windows under which Linux runs, and of AMD.
_GPUS = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))


def may_have_gpu() -> bool:
    """Return whether there may be a GPU, without importing torch, which takes seconds; only torch knows for sure."""
    return sys.platform != "linux" or "torch" in sys.modules or any(path.exists() for path in _GPUS)


_CPUINFO = Path("/proc/cpuinfo")
_EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe() -> str:
    """Name the processor, such as `AMD EPYC (avx2)`; the machine type where the system says no more."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    found = ", ".join(extension for extension in _EXTENSIONS if extension in flags)
    return f"{name or platform.processor() or platform.machine()} ({found or 'no vector extension known'})"


@contextmanager
def whole(path: Path, *, lasting: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes its place when it is complete: a reader, or a crash, finds the old one or the new one.

    The file is written, and may be read, under a temporary name in the same folder, which is made where it is missing.
    At the end it is brought to the disk and renamed; where anything fails, it is removed and the old file stays.

    Args:
        path: its place.
        lasting: whether its name is brought to the disk, too. Without it the system may crash and lose the whole file
            until `keep_names` is called for the folder, once for any number of files.
    """
    make_folder(path.parent)
    # In the same folder, for a rename is atomic only within one file system; and not to be guessed by a process number,
    # for machines that share a folder have the same ones.
    temporary = path.with_name(f".tmp-{os.urandom(4).hex()}-{path.name}")
    try:
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # before the rename: after a crash the name must not point to an empty file
        temporary.replace(path)
        if lasting:
            keep_names(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Replace the content of a file, whole or not at all; `lasting` as of `whole`."""
    with whole(path, lasting=lasting) as file:
        file.write(content)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that a crash of the system cannot lose it with all that it will hold."""
    if folder.is_dir():
        return
    made = [folder, *(each for each in folder.parents if not each.exists())]
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        keep_names(each.parent)


def require_no_links(folder: Path) -> None:
    """Raise a BenchError if anything below a folder is a symbolic link; the folder itself may be one.

    What is written into a folder that somebody else has made would end where its links lead: a lock empties the file
    that it is a link to, and a document of a known name goes into any folder.
    """
    waiting = [os.fspath(folder)]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        raise BenchError(
                            f"{entry.path!r} is a symbolic link, and nothing is written through one: put what it leads "
                            f"to in its place, or name another folder than {str(folder)!r}"
                        )
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:  # of another run in this folder, which is done with it
            continue


def keep_names(folder: Path) -> None:
    """Bring the names in a folder to the disk: without it a crash of the system may undo a rename."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def staying() -> Iterator[None]:
    """Come back to the working directory, which code of a user may leave: paths that users type are relative to it."""
    home = os.getcwd()  # noqa: PTH109  (no path is made of it)
    try:
        yield
    finally:
        os.chdir(home)


_SAFE = "PYTHONSAFEPATH"
# Of several threads that start processes each would bring back what another one has put there for a moment.
_one_at_a_time = threading.RLock()


@contextmanager
def own_process() -> Iterator[None]:
    """Start processes inside: they import nothing from the working directory, and do not run the user's script again.

    multiprocessing starts them, and its resource tracker, by `python -c`, which puts the working directory
    before everything else: a `socket.py` of the user's would be taken for the standard library's. The environment
    says otherwise. And it imports the main module anew, for what of it may be needed; of ours nothing is, and a
    script that calls `bench.run` without `if __name__ == "__main__"` would call it without end.
    """
    with _one_at_a_time:
        before, main = os.environ.get(_SAFE), sys.modules.get("__main__")
        os.environ[_SAFE] = "1"
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            if main is not None:
                sys.modules["__main__"] = main
            if before is None:
                del os.environ[_SAFE]
            else:
                os.environ[_SAFE] = before


def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise BenchError(f"package {package!r} is not installed: pip install it into this environment")
    return Path(spec.origin).parent


def in_order(content: bytes) -> bytes:
    """Return a safetensors file with its metadata in order: the library writes them in one that differs each time."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[8 + size :]
