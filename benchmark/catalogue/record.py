"""The record of a defense that a user brings, held against what it declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from bench.errors import BenchError, brief
from bench.threats import ThreatModel
from bench.types import Card, Defense


def require_record(defense: Defense, source: str) -> None:
    """Raise a BenchError if a field of a defense is of another type than its record says.

    Args:
        defense: as a build function returned it.
        source: what it came from, for errors.
    """
    for name, (fits, wanted) in _FIELDS.items():
        value = getattr(defense, name)
        if not fits(value):
            raise BenchError(f"{source!r}: {name} of the Defense is {brief(value)}: give {wanted}")


def _is_module(value: object) -> bool:
    return isinstance(value, nn.Module)


def _is_module_or_none(value: object) -> bool:
    return value is None or isinstance(value, nn.Module)


def _are_threats(value: object) -> bool:
    # Text is a sequence of letters, and a list would make the record no key.
    return isinstance(value, tuple) and all(isinstance(each, ThreatModel) for each in value)


_PART = (_is_module_or_none, "an nn.Module or None")
_FIELDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "model": (_is_module, "an nn.Module from [0, 1] images to logits"),
    "stochastic": (lambda value: isinstance(value, bool), "True or False"),
    "trained_on": (_are_threats, "a tuple such as (ThreatModel.parse('Linf:8/255'),)"),
    "surrogate": _PART,
    "base": _PART,
    "purifier": _PART,
    "derandomized": _PART,
    "card": (lambda value: isinstance(value, Card), "a bench.Card"),
}
