"""Copies of models in memory, made before their first query: A13 judges these again, not what was attacked.

A model that carries state from query to query would give the same verdicts once more; its copy does not.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bench.types import Defense

if TYPE_CHECKING:
    from torch import nn

    from bench.checks.before.pristine import Pristine

_copies: dict[str, Pristine] = {}


@contextmanager
def copied(models: Mapping[str, nn.Module | Defense]) -> Iterator[None]:
    """Keep a copy of each model inside, by the label it has in tables; one that refuses to be copied has none."""
    # Not at the top: a run that finds everything stored must not import torch.
    from bench.checks.before.pristine import Pristine

    for label, each in models.items():
        model = each.model if isinstance(each, Defense) else each
        # Any class may refuse to be copied, each in its own way.
        with suppress(Exception):
            _copies[label] = Pristine(copy.deepcopy(model), "cpu")
    try:
        yield
    finally:
        for label in models:
            _copies.pop(label, None)


def fresh(label: str) -> nn.Module | None:
    """Return a model as it was before its first query; `None` where there is no copy of it."""
    # A run may call its defenses NAME#LABEL.
    kept = _copies.get(label.partition("#")[0])
    if kept is None:
        return None
    model = kept.fresh()
    return model if kept.copied else None
