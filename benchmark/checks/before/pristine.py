"""Fresh instances of a model, as it was before its first query.

Copying the module restores the state inside it. State that its code keeps elsewhere (globals and closures
of its methods, attributes of its classes, default arguments) is saved once and restored. State outside of
Python, in files or other processes, is not restored.
"""

from __future__ import annotations

import copy
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType, staticmethod, classmethod, property)
_ATTRIBUTES = (int, float, Tensor, np.ndarray, dict, list, set, deque, bytearray)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
# Packages whose code never remembers a query.
_STATELESS = frozenset({"torch", "numpy", "builtins", "bench", *sys.stdlib_module_names}) - {"__main__"}


class Pristine:
    """Fresh instances of a model that must not have been queried yet.

    Attributes:
        device: the device of fresh instances.
        copied: whether the model can be copied; if not, `fresh` returns the model itself.
    """

    def __init__(self, model: nn.Module, device: torch.device | str) -> None:
        self._model, self.device = model, device
        self._modes = [(module, module.training) for module in model.modules()]
        self._world = [undo for function in _functions_of(model) for undo in _memories(function)]
        self._world += [undo for kind in _classes_of(model) for undo in _class_memories(kind)]
        self.copied = True

    def fresh(self) -> nn.Module:
        """Return an instance in eval mode, on the device, with all outside state as before the first query."""
        self.restore_world()
        model = self._model
        if self.copied:
            try:
                model = copy.deepcopy(model)
            except Exception:  # noqa: BLE001  (any class may refuse to be copied, each in its own way)
                self.copied = False
        return model.to(self.device).eval()

    def restore_world(self) -> None:
        for undo in self._world:
            undo()

    def restore_modes(self) -> None:
        """Restore the training modes of the model, which was used itself if it could not be copied."""
        for module, training in self._modes:
            module.training = training


def holds_generator(model: nn.Module) -> bool:
    """Return whether a model has its own random generators, which no seed of the harness reaches."""
    values = [value for module in model.modules() for value in vars(module).values()]
    for function in _functions_of(model):
        names = set(_names(function.__code__))
        values += [value for name, value in function.__globals__.items() if name in names]
        values += [value for _, value in _cells(function)]
    return any(isinstance(value, _GENERATORS) for value in values)


def _is_foreign(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] not in _STATELESS


def _classes_of(model: nn.Module) -> list[type]:
    kinds = dict.fromkeys(kind for module in model.modules() for kind in type(module).__mro__)
    return [kind for kind in kinds if _is_foreign(kind.__module__)]


def _functions_of(model: nn.Module) -> list[FunctionType]:
    """List the functions of the model's own code, and those that they call by name."""
    waiting: list[Any] = [value for kind in _classes_of(model) for value in vars(kind).values()]
    waiting += [value for module in model.modules() for value in vars(module).values()]
    found: dict[int, FunctionType] = {}
    while waiting:
        value = waiting.pop()
        value = getattr(value, "__func__", value)
        value = value.fget if isinstance(value, property) else value
        if not isinstance(value, FunctionType) or id(value) in found or not _is_foreign(value.__module__):
            continue
        found[id(value)] = value
        waiting += [value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__]
        waiting += [content for _, content in _cells(value)]
    return list(found.values())


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _cells(function: FunctionType) -> Iterator[tuple[Any, Any]]:
    for cell in function.__closure__ or ():
        try:
            yield cell, cell.cell_contents
        except ValueError:  # not bound yet
            continue


def _memories(function: FunctionType) -> Iterator[Callable[[], None]]:
    """Yield functions that undo what a function may write outside of its module."""
    space = function.__globals__
    for name in set(_names(function.__code__)) & space.keys():
        yield from _memory(space[name], lambda value, name=name: space.__setitem__(name, value))  # type: ignore[misc]
    for cell, content in _cells(function):
        yield from _memory(content, lambda value, cell=cell: setattr(cell, "cell_contents", value))  # type: ignore[misc]
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _memory(default, lambda _: None)


def _class_memories(kind: type) -> Iterator[Callable[[], None]]:
    for name, value in vars(kind).items():
        if not name.startswith("__") and (value is None or isinstance(value, _ATTRIBUTES)):
            yield from _memory(value, lambda value, name=name: setattr(kind, name, value))  # type: ignore[misc]


def _memory(value: Any, rebind: Callable[[Any], None]) -> Iterator[Callable[[], None]]:  # noqa: ANN401
    """Yield the function that restores a value: its content in place, for other holders of it, then the name."""
    if isinstance(value, _CODE):
        return
    saved = _copied(value)

    def undo() -> None:
        _refill(value, saved)
        rebind(value)

    yield undo


def _copied(value: Any) -> Any:  # noqa: ANN401
    """Copy containers and arrays; share everything else, which may not allow a copy."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray | bytearray):
        return value.copy()
    if type(value) in (list, set, deque):
        return type(value)(_copied(item) for item in value)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return value


def _refill(value: Any, saved: Any) -> None:  # noqa: ANN401
    if isinstance(value, Tensor):
        if not torch.equal(value, saved):
            value.data.copy_(saved)
    elif isinstance(value, np.ndarray):
        if value.flags.writeable:
            value[...] = saved
    elif isinstance(value, bytearray | list):
        value[:] = _copied(saved)
    elif isinstance(value, dict | set):
        value.clear()
        value.update(_copied(saved))
    elif isinstance(value, deque):
        value.clear()
        value.extend(_copied(saved))
