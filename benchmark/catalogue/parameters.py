"""Parameters of an attack, read from its source, because showing them must not import torch."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import system as _system


@dataclass(frozen=True)
class Parameter:
    """A field of an attack's class.

    Attributes:
        default: as in the source, or as the catalogue sets it.
        about: its line in the docstring of the class.
    """

    name: str
    default: str
    about: str


def about(target: str) -> str:
    """Return the docstring of the class that `"module:Class"` names, without its list of attributes."""
    module, _, name = target.partition(":")
    return _prose(_classes(module)[name])


def parameters(target: str, config: Mapping[str, Any]) -> list[Parameter]:
    """Return the fields of the class that `"module:Class"` names, those of its base classes first."""
    module, _, name = target.partition(":")
    defaults, told = _fields(module, name)
    return [Parameter(key, str(config.get(key, default)), told.get(key, "")) for key, default in defaults.items()]


def _fields(module: str, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return defaults and descriptions by field."""
    found = _classes(module)[name]
    defaults: dict[str, str] = {}
    told: dict[str, str] = {}
    for base in found.bases:
        if not isinstance(base, ast.Name):
            continue
        home = module if base.id in _classes(module) else _imports(module).get(base.id, "")
        # Bases from elsewhere, such as Protocol, bring no parameters.
        if home == module or home.startswith("bench.attacks"):
            more = _fields(home, base.id)
            defaults.update(more[0])
            told.update(more[1])
    for line in found.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value is not None:
            value = str(line.value.value) if isinstance(line.value, ast.Constant) else ast.unparse(line.value)
            # Class variables are traits that the harness reads; nobody can set them.
            defaults.update({} if "ClassVar" in ast.unparse(line.annotation) else {line.target.id: value})
    told.update(_attributes(ast.get_docstring(found) or ""))
    return defaults, told


def _tree(module: str) -> ast.Module:
    parts = module.split(".")
    if parts[0] == "bench":
        path = _system.package_folder(".".join(parts[:2])).joinpath(*parts[2:]).with_suffix(".py")
    else:  # a plug-in; only the packages above it are imported
        spec = importlib.util.find_spec(module)
        path = Path(spec.origin) if spec is not None and spec.origin is not None else Path(module)
    return ast.parse(path.read_text(encoding="utf-8"))


def _classes(module: str) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _tree(module).body if isinstance(node, ast.ClassDef)}


def _imports(module: str) -> dict[str, str]:
    """Return the module that each imported name comes from."""
    return {
        alias.asname or alias.name: node.module
        for node in _tree(module).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def _prose(found: ast.ClassDef) -> str:
    return (ast.get_docstring(found) or "").partition("\nAttributes:")[0].strip()


def _attributes(docstring: str) -> dict[str, str]:
    """Return the entries of a docstring's `Attributes:` section, each on one line."""
    told: dict[str, str] = {}
    name = ""
    for line in docstring.partition("Attributes:\n")[2].splitlines():
        if not line.strip():
            break
        # A deeper indent continues the entry above.
        if line.startswith("        "):
            told[name] += " " + line.strip()
        else:
            name, _, text = line.strip().partition(":")
            told[name] = text.strip()
    return told
