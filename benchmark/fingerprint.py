"""Digests of code and files: what makes a stored verdict stale when it changes."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from bench.errors import BenchError

# Training code shapes weights, and weights have digests of their own.
_NOT_VERDICTS = ("training",)

# The modules of the harness that can change a verdict; everything else only stores or prints it. A test holds them
# against what `evaluate` and the executors' task import.
_HARNESS = (
    "types",
    "families",
    "features",
    "outcome",
    "custom",
    "executors/task",
    "geometry",
    "random",
    "seeding",
    "variants",
    "formats",
    "conversion",
    "float32",
    "record",
    "answers",
    "successes",
    "oracle",
    "counted",
    "alarm",
    "cascade",
    "evaluate",
    "checks/answers",
    "checks/threat",
)


def of_text(*parts: object) -> str:
    """SHA-256 of the parts as canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def of_bytes(content: bytes) -> str:
    """SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    try:
        with path.open("rb") as stream:
            sha = hashlib.sha256()
            while chunk := stream.read(1 << 20):
                sha.update(chunk)
    except OSError as error:
        raise BenchError(f"cannot read {str(path)!r}: {error.strerror}; check the path and its permissions") from error
    return sha.hexdigest()


def package_folder(package: str) -> Path:
    """Where a package lies, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise BenchError(f"package {package!r} is not installed: pip install it into this environment")
    return Path(spec.origin).parent


def _of_sources(files: Iterable[Path], root: Path) -> str:
    # Line ends differ between checkouts; code does not.
    lines = [
        (path.relative_to(root).as_posix(), path.read_bytes().replace(b"\r\n", b"\n").hex()) for path in sorted(files)
    ]
    return of_text(lines)


@cache
def of_code(target: str) -> str:
    """SHA-256 of the source behind a `"module:attribute"` target.

    For our own plug-ins it is the module and all it imports, directly or not, from its room (attacks
    or defenses); for anybody else's module it is the top-level package the module is in.
    """
    module = target.partition(":")[0]
    parts = module.split(".")
    if parts[0] != "bench":
        root = package_folder(parts[0])
        return _of_sources(root.rglob("*.py"), root)
    room = ".".join(parts[:2])
    root = package_folder(room)
    return _of_sources(_closure(module, room, root), root)


def _closure(module: str, room: str, root: Path) -> set[Path]:
    """The files of a module and of everything in its room that it imports, found without importing."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        parts = waiting.pop().split(".")[2:]
        path = root.joinpath(*parts)
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not path.is_file():  # "from module import name" names no module
            continue
        if path in found or any(part in _NOT_VERDICTS for part in parts):
            continue
        found.add(path)
        waiting += [name for name in imported(path) if name == room or name.startswith(f"{room}.")]
    return found


def imported(path: Path) -> list[str]:
    """The modules a file names in its import statements, inside functions too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@cache
def of_harness() -> str:
    """SHA-256 of the harness's own modules that take part in a verdict."""
    root = package_folder("bench")
    return _of_sources([root / f"{name}.py" for name in _HARNESS], root)


@cache
def of_checks() -> str:
    """SHA-256 of everything that can change a finding."""
    root = package_folder("bench")
    files = [*(root / "checks").glob("*.py"), *(root / f"{name}.py" for name in ("probes", "replay", "soundness"))]
    return of_text(_of_sources(files, root), of_harness())


def of_requirements(names: Iterable[str]) -> dict[str, str]:
    """The installed versions of the distributions an attack leans on.

    Raises:
        BenchError: one of them is not installed.
    """
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise BenchError(f"package {name!r} is not installed: pip install {name}") from None
    return versions
