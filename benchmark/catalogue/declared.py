"""The fields of our attacks, read from their source: to import the module of an attack is to import torch.

A run that finds everything stored needs no attack, only the key of each; and the key names the parameters, whose types
and defaults only the class knows.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from bench.catalogue import sources

_OURS = "bench.attacks."
# An attack with this method is asked what it costs, and has to be built for that.
_COST = "cost"


@cache
def declared(target: str) -> Mapping[str, Any] | None:
    """Return the fields of an attack with their defaults, in order; `None` where only the class itself can tell.

    Args:
        target: `"module:Class"`.
    """
    module, _, name = target.partition(":")
    path = sources.file_of(module) if module.startswith(_OURS) else None
    if path is None:
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    # What a base class brings would have to be looked for elsewhere.
    if found is None or found.bases or not any(map(_is_dataclass, found.decorator_list)):
        return None
    if any(isinstance(node, ast.FunctionDef) and node.name == _COST for node in found.body):
        return None
    fields = {}
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if "ClassVar" in ast.unparse(node.annotation):
                continue
            try:
                fields[node.target.id] = ast.literal_eval(node.value or "")
            except (ValueError, SyntaxError):  # no literal, or no default
                return None
    return MappingProxyType(fields)


def _is_dataclass(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == "dataclass"
