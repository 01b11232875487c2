"""Digests of our own code that depend on what it does, and not on how it is written or where it lies.

A digest of source text changes with every comment, and a digest of paths with every move. Here the digest is that of
the syntax tree without docstrings, comments, annotations and error messages. Names that nobody outside can see are
replaced by numbers in order of appearance, and modules that are imported by their contents. So the digest stays the
same when a file is reformatted, a private function renamed or a module moved, and changes with any constant.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.catalogue.identity import names_imported
from bench.machine.system import package_folder

# Modules that code which makes verdicts imports, but that cannot change a verdict; all its other imports count.
HARMLESS: Mapping[str, str] = {
    "bench": "the number of the release",
    "bench.catalogue.behaviour": "recognizes what a user brought: it can refuse, not judge",
    "bench.harness.reservations": "decides who computes, not what",
    "bench.results.finding": "plain data of the checks",
    "bench.results.documents": "writes and reads what was judged, with a digest over it",
    "bench.errors": "messages",
    "bench.machine.reading": "reads files within bounds: it can refuse, not judge",
    "bench.catalogue.identity": "digests of what users bring",
    "bench.catalogue.registry": "looks up what a string names; what an entry says is in the key",
    "bench.catalogue.request": "reads what was typed, which is in the key",
    "bench.catalogue.sources": "this digest",
    "bench.results.store": "finds documents by their keys",
    "bench.catalogue.versions": "the versions themselves",
}

# Fields of a syntax tree that hold nothing that runs.
_SILENT = {"type_params", "type_comment", "kind", "ctx", "returns", "lineno"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def closure(modules: Iterable[str]) -> frozenset[str]:
    """Return these modules and all of this package that they import, directly or not, without `HARMLESS`."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name in HARMLESS or file_of(name) is None:
            continue
        found.add(name)
        waiting += _imports(name)
    return frozenset(found)


def text(modules: Iterable[str]) -> str:
    """Return the SHA-256 of the bytes of some modules, except for line ends, which differ between checkouts."""
    files = [(name, file_of(name)) for name in sorted(modules)]
    content = {name: path.read_bytes().replace(b"\r\n", b"\n") if path else b"" for name, path in files}
    return _sha([(name, hashlib.sha256(held).hexdigest()) for name, held in content.items()])


def alone(modules: Iterable[str]) -> str:
    """Return the SHA-256 of what some modules do, without their imports."""
    return _sha([_alone(name) for name in sorted(modules)])


def digest(modules: Iterable[str]) -> str:
    """Return the SHA-256 of what some modules and all that they import do."""
    return _digest(tuple(sorted(modules)))


@cache
def _digest(modules: tuple[str, ...]) -> str:
    # Sorted by digest instead of by name, so that a renamed module keeps its place.
    return _sha(sorted(_whole(name) for name in closure(modules)))


@cache
def file_of(module: str) -> Path | None:
    """Return the file of a module of this package without importing it; `None` for anything else."""
    parts = module.split(".")
    if parts[0] != "bench":
        return None
    # The rooms of attacks and defenses may lie elsewhere than the rest.
    depth = 2 if len(parts) > 1 and parts[1] in ("attacks", "defenses") else 1
    path = package_folder(".".join(parts[:depth])).joinpath(*parts[depth:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path if path.is_file() else None


@cache
def _imports(module: str) -> tuple[str, ...]:
    return tuple(name for name in names_imported(_tree(module)) if name.startswith("bench"))


@cache
def _tree(module: str) -> ast.Module:
    path = file_of(module)
    assert path is not None  # noqa: S101  (`closure` holds modules that have one)
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _alone(module: str) -> str:
    """Return the digest of a module without its imports."""
    return _sha(_Reader(_tree(module), lambda _name: "").read())


@cache
def _whole(module: str) -> str:
    """Return the digest of a module, with every import replaced by the digest of what it holds."""

    def named(name: str) -> str:
        if file_of(name) is None or name in HARMLESS:
            # A harmless module counts for nothing; of another package the name is enough, its version is in the key.
            return "" if name.startswith("bench") else name
        return _alone(name)

    return _sha(_Reader(_tree(module), named).read())


def _sha(told: object) -> str:
    return hashlib.sha256(repr(told).encode()).hexdigest()


class _Reader:
    """A reader that turns the tree of a module into nested tuples that say what it does.

    Args:
        tree: of the module.
        named: returns the text that replaces an imported module.
    """

    def __init__(self, tree: ast.Module, named: Any) -> None:  # noqa: ANN401  (str -> str)
        self._tree, self._named = tree, named
        self._private = _private_names(tree)
        self._modules = _modules_bound(tree)
        self._numbers: dict[str, int] = {}
        self._locals: dict[str, int] | None = None
        self._of_function: frozenset[str] = frozenset()

    def read(self) -> object:
        body = [node for node in self._tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
        # Sorted, because nothing may depend on the order of imports.
        imports = sorted({told for node in self._tree.body for told in self._imported(node)})
        return imports, self._body(body)

    def _body(self, nodes: Iterable[ast.stmt]) -> list[object]:
        return [self._node(node) for node in nodes if not _is_silent(node)]

    def _node(self, node: ast.AST) -> object:
        if isinstance(node, ast.Import | ast.ImportFrom):
            return tuple(sorted(self._imported(node)))
        if isinstance(node, _FUNCTIONS) and self._locals is None:
            self._locals, self._of_function = {}, _local_names(node)
            try:
                return self._fields(node)
            finally:
                self._locals, self._of_function = None, frozenset()
        # The message of an error is for people; that it is raised is what counts.
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _name_of(node.exc.func) == "BenchError":
            return "raise BenchError"
        if isinstance(node, ast.AnnAssign) and (self._locals is not None or node in self._tree.body):
            # Only in a class does an annotation do something: it makes a dataclass field.
            bound = self._node(node.target)
            return ("Assign", bound, None if node.value is None else self._node(node.value))
        return self._fields(node)

    def _fields(self, node: ast.AST) -> object:
        told: list[object] = [type(node).__name__]
        for name, value in ast.iter_fields(node):
            if name in _SILENT or value is None or value == []:
                continue
            if isinstance(node, ast.arg) and name == "annotation":
                continue
            told.append((name, self._value(node, name, value)))
        return tuple(told)

    def _value(self, node: ast.AST, name: str, value: object) -> object:
        if isinstance(value, list):
            if name in ("body", "orelse", "finalbody"):
                return self._body(value)
            return [self._value(node, name, each) for each in value]
        if isinstance(value, ast.AST):
            return self._node(value)
        if isinstance(node, ast.Name) and value in self._modules:
            return self._module(str(value))
        if isinstance(value, str) and not isinstance(node, ast.Constant | ast.arg | ast.keyword):
            return self._identifier(value)
        return f"{type(value).__name__} {value!r}"

    def _module(self, name: str) -> object:
        """Return what replaces one of our modules: its contents, because its name may change."""
        number = self._numbers.setdefault(f"module {self._modules[name]}", len(self._numbers))
        return ("module", number, self._named(self._modules[name]))

    def _identifier(self, name: str) -> object:
        """Return the number of a name that nobody outside can see, else the name itself."""
        if self._locals is not None and name in self._of_function:
            return ("local", self._locals.setdefault(name, len(self._locals)))
        if name in self._private:
            return ("private", self._numbers.setdefault(name, len(self._numbers)))
        return name

    def _imported(self, node: ast.stmt) -> list[tuple[str, str, str]]:
        """Return the names an import binds, and what they come from."""
        if isinstance(node, ast.Import):
            return [("import", self._named(alias.name), alias.asname or alias.name) for alias in node.names]
        if not isinstance(node, ast.ImportFrom) or node.module == "__future__":
            return []
        told = []
        for alias in node.names:
            inside = f"{node.module}.{alias.name}"
            if file_of(inside) is not None:
                # A module of ours: its contents alone, since its name and the alias may change.
                told.append(("from", self._named(inside), ""))
            else:
                told.append(("from", self._named(str(node.module)), f"{alias.name} as {alias.asname or alias.name}"))
        return told


def _is_silent(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring or something that only a type checker reads."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return True
    if isinstance(node, ast.If) and _name_of(node.test) == "TYPE_CHECKING" and not node.orelse:
        return True
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _private_names(tree: ast.Module) -> frozenset[str]:
    """Return the names with an underscore that this module binds; those of another library keep their names."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            bound.add(node.attr)
    # Arguments may be passed by name, so their names matter to callers even with an underscore.
    given = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return frozenset(name for name in bound - given if name.startswith("_") and not name.endswith("__"))


def _modules_bound(tree: ast.Module) -> dict[str, str]:
    """Return the modules of this package by the names they are bound to, if a name stands for nothing else."""
    found: dict[str, str] = {}
    other = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    other |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                if file_of(inside) is not None:
                    found[alias.asname or alias.name] = inside
    return {name: module for name, module in found.items() if name not in other}


def _local_names(function: ast.AST) -> frozenset[str]:
    """Return the names a function binds that nobody outside can use; arguments are not among them."""
    bound: set[str] = set()
    given: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, (*_FUNCTIONS, ast.ExceptHandler)) and node is not function and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            given.add(node.arg)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            given.update(node.names)
    return frozenset(bound - given)
