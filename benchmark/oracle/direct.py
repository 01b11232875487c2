"""Attacks on a model at hand, without a harness around them: `PGD(steps=20)(model, x, y, "Linf:8/255")`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.oracle.attack import proves
from bench.oracle.float32 import exact_float32
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream, preserved_generators
from bench.oracle.variants import declared, placed
from bench.threats import ThreatModel
from bench.types import Defense

Call = TypeVar("Call", bound=Callable[..., Tensor])


def on_models(call: Call) -> Call:
    """Let the call of an attack take a model in place of an oracle.

    `attack(model, x, y, threat, seed=0)` then wraps the model in an oracle of its own, puts it into eval mode while
    it is attacked, and returns `x_adv` float32 `[B, C, H, W]` on the device of `x`: for each image the best point that
    the attack has found. `model` is an `nn.Module` from images in [0, 1] to logits, or a `Defense`, which also says
    whether it is stochastic; `threat` is text such as `"Linf:8/255"` or a `ThreatModel`.
    """

    @wraps(call)
    def called(attack: Any, oracle: Any, x: Tensor, y: Tensor, threat: Any, **more: Any) -> Tensor:  # noqa: ANN401
        if not isinstance(oracle, nn.Module | Defense):
            return call(attack, oracle, x, y, threat, **more)
        return _on_model(attack, call, oracle, x, y, threat, **more)

    return cast(Call, called)


def _on_model(
    attack: Any,  # noqa: ANN401  (of the class whose call this is)
    call: Callable[..., Tensor],
    model: nn.Module | Defense,
    x: Any,  # noqa: ANN401  (a tensor, once it is looked at)
    y: Any,  # noqa: ANN401
    threat: ThreatModel | str,
    *,
    seed: int = 0,
) -> Tensor:
    bound = ThreatModel.parse(threat) if isinstance(threat, str) else threat
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise BenchError(
            f"images are {type(x).__name__}, labels {type(y).__name__}: give tensors, such as torch.tensor(y)"
        )
    inside = x.ndim == 4 and x.is_floating_point() and bool(((x >= 0) & (x <= 1)).all())
    if not inside:
        raise BenchError(f"images have shape {tuple(x.shape)} and type {x.dtype}: give floats [B, C, H, W] in [0, 1]")
    defense = model if isinstance(model, Defense) else Defense(model)
    device = next((tensor.device for tensor in defense.model.parameters()), x.device)
    here, labels = x.detach().float().to(device), y.to(device)
    place = (type(attack).__name__, str(bound))
    # Numbers that depend on the place in the batch alone: nobody has named these images.
    stream = Stream.of([str(row) for row in range(len(x))], seed, "direct", *place, device=device)
    with _attacked(defense, device), preserved_generators(), exact_float32():
        oracle = Oracle(defense, len(x), scope=(seed, "direct", *place), labels=labels)
        if bound.is_lp or not proves(attack):  # without it the attack is for norms alone, as its call then says
            found = oracle.proven(call(attack, oracle, here.clone(), labels.clone(), bound, stream=stream))
        else:
            found, _ = attack.propose(oracle, here.clone(), labels.clone(), bound, stream=stream)
    return found.detach().to(x.device)


@contextmanager
def _attacked(defense: Defense, device: torch.device) -> Iterator[None]:
    """Every module of a defense in eval mode inside, and in the mode it was in afterwards."""
    modes = [(each, each.training) for part in declared(defense) for each in part.modules()]
    placed(defense, device)
    try:
        yield
    finally:
        for each, training in modes:
            each.training = training
