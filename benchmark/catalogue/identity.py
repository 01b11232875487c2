"""Digests of files and of installed packages; a stored verdict is stale when one of them changes."""

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
from bench.machine.system import package_folder


def of_text(*parts: object) -> str:
    """Return the SHA-256 of the parts as canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def of_bytes(content: bytes) -> str:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    try:
        with path.open("rb") as stream:
            sha = hashlib.sha256()
            # In pieces, because checkpoints may be larger than the memory that is left.
            while chunk := stream.read(1 << 20):
                sha.update(chunk)
    except OSError as error:
        raise BenchError(f"cannot read {str(path)!r}: {error.strerror}; check the path and its permissions") from error
    return sha.hexdigest()


def _of_sources(files: Iterable[Path], root: Path) -> str:
    # Line ends differ between checkouts; code does not.
    lines = [
        (path.relative_to(root).as_posix(), path.read_bytes().replace(b"\r\n", b"\n").hex()) for path in sorted(files)
    ]
    return of_text(lines)


@cache
def of_code(target: str) -> str:
    """Return the SHA-256 of the source of the top-level package that a third party's `"module:attribute"` is in."""
    root = package_folder(target.partition(":")[0].partition(".")[0])
    return _of_sources(root.rglob("*.py"), root)


def imported(path: Path) -> list[str]:
    """Return the modules a file names in its import statements, inside functions too."""
    return names_imported(ast.parse(path.read_text(encoding="utf-8")))


def names_imported(tree: ast.AST) -> list[str]:
    """Return the modules that a parsed file names in its import statements."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            # `from package import module` imports a module, too; names of anything else find no file and do no harm.
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def of_requirements(names: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of the distributions an attack depends on.

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
