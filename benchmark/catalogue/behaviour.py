"""Answers of a user's defense or attack on fixed inputs, by which it is recognized.

A digest of bytes is not enough: a frozen TorchScript file, an ensemble in a Python list, a number in a JSON file
or in the environment can change the answers while every byte that we could hash stays the same. So the harness
also queries what a user brings. It stores the answers and compares them within a tolerance instead of hashing
rounded numbers, because the same network differs in the last bits on another processor or with another number
of threads, and a rounded number then flips at the edge.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BenchError
from bench.oracle.attack import Attack
from bench.oracle.float32 import exact_float32
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream, preserved_generators, seed_everything
from bench.threats import FAMILIES, ThreatModel
from bench.types import Defense, ImageSpec

IMAGES = 8
# Rows of answers agree where they differ by no more than this share of their largest number: ten times what float32
# was seen to do across processors, threads and batches. Gradients of kinked networks round more.
CLOSE = {"logits": 1e-4, "gradient": 1e-2, "points": 1e-2}
# A worker beside the driver is believed where so many rows agree: a quantizer may turn a last bit of another number of
# threads into another answer for an image. A key is not: there a doubt costs a computation, not a wrong number.
AGREEING = 0.75
_PATTERNS = 6
_ATTACKED = 4


def of_defense(defense: Defense, spec: ImageSpec) -> str:
    """Return the answers of every module that a defense declares, as JSON text.

    Args:
        defense: in eval mode.
        spec: of the images it takes.
    """
    parts = {
        name: getattr(defense, name)
        for name in ("model", "surrogate", "base", "purifier", "derandomized")
        if getattr(defense, name) is not None
    }
    if defense.transfer_source is not None:
        parts["transfer_source"] = defense.transfer_source.model
    with preserved_generators(), exact_float32():
        x = _images(spec)
        told = {name: _answers(module, x) for name, module in parts.items()}
    return json.dumps(told, sort_keys=True)


def of_attack(attack: Attack, family: str, spec: ImageSpec) -> str:
    """Return what an attack proposes on a fixed linear classifier, or the error that it raises, as JSON text.

    Args:
        attack: as `bench.oracle.attack.Attack`.
        family: the threat family; eps is the usual one for such images.
        spec: of the images.
    """
    with preserved_generators(), exact_float32():
        x = _images(spec)[:_ATTACKED]
        seed_everything("behaviour", "classifier")
        linear, y = _unbreakable(spec), torch.zeros(len(x), dtype=torch.int64)
        threat = ThreatModel.parse(f"{family}:{FAMILIES[family].usual(spec.shape)}")
        oracle = Oracle(Defense(linear), len(x), scope=("behaviour",), labels=y)
        stream = Stream.of([f"fixed-{row}" for row in range(len(x))], "behaviour")
        proposes: Any = attack
        try:
            if threat.is_lp:
                x_adv = proposes(oracle, x.clone(), y.clone(), threat, stream=stream)
            else:
                x_adv, _ = proposes.propose(oracle, x.clone(), y.clone(), threat, stream=stream)
            told: dict[str, Any] = {"points": _summary(x_adv.detach().float() - x)}
        except Exception as error:  # noqa: BLE001  (what it cannot do on this classifier is an answer, too)
            told = {"raised": type(error).__name__}
    return json.dumps({"attack": told}, sort_keys=True)


def same(one: str, other: str, agreeing: float = 1.0) -> bool:
    """Return whether two texts of `of_defense` or `of_attack` agree up to rounding.

    Args:
        one: a text.
        other: another one.
        agreeing: the share of the rows of each part that have to agree.
    """
    first, second = json.loads(one), json.loads(other)
    if first.keys() != second.keys():
        return False
    return all(_agree(first[part], second[part], agreeing) for part in first)


def alike(stored: Mapping[str, str]) -> dict[str, str]:
    """Return, for each name of stored answers, the first name whose answers are the same.

    When folders filled on two machines are copied together, one defense has two sets of answers that differ in the
    last bits.
    """
    first: dict[str, str] = {}
    for name in sorted(stored):
        there = (kept for kept in dict.fromkeys(first.values()) if same(stored[kept], stored[name]))
        first[name] = next(there, name)
    return first


def require_same(answers: str, loaded: str, label: str) -> None:
    """Compare what a worker has loaded with what the key of its cell names.

    Raises:
        BenchError: its answers differ.
    """
    if answers and not same(answers, loaded, AGREEING):
        raise BenchError(f"{label} was changed while the run was under way: its answers are others; run again")


def _agree(one: dict[str, Any], other: dict[str, Any], agreeing: float) -> bool:
    if one.keys() != other.keys():
        return False
    for kind, rows in one.items():
        if kind not in CLOSE:
            if rows != other[kind]:
                return False
            continue
        first, second = torch.tensor(rows), torch.tensor(other[kind])
        if first.shape != second.shape:
            return False
        apart = torch.where(first.isnan() & second.isnan(), 0.0, (first - second).abs()).amax(1)
        limit = CLOSE[kind] * torch.nan_to_num(first).abs().amax(1).clamp_min(1e-6)
        if float((apart <= limit).float().mean()) < agreeing:
            return False
    return True


def _images(spec: ImageSpec) -> Tensor:
    """Return images of which half are noise and half are smooth, as photographs are; `[IMAGES, C, H, W]` in [0, 1]."""
    channels, height, width = spec.shape
    seed_everything("behaviour", "images")
    noise = torch.rand(IMAGES // 2, channels, height, width)
    coarse = torch.rand(IMAGES - len(noise), channels, 3, 3)
    return torch.cat([noise, F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)])


def _unbreakable(spec: ImageSpec) -> nn.Module:
    """Return a linear classifier that always answers 0 and has a gradient, so that no attack stops early."""
    layer = nn.Linear(math.prod(spec.shape), spec.classes)
    with torch.no_grad():
        # The magnitudes of a row sum to at most 0.5, so no image in [0, 1] lifts another logit to that of class 0.
        layer.weight.mul_(0.5 / layer.weight.abs().sum(1).max())
        layer.bias.zero_()[0] = 4
    return nn.Sequential(nn.Flatten(), layer).eval().requires_grad_(False)


def _answers(module: nn.Module, x: Tensor) -> dict[str, Any]:
    """Return the outputs and a summary of the gradient, if there is one; or the error of a module that raises."""
    device = next((tensor.device for tensor in module.parameters()), x.device)
    at = x.to(device).requires_grad_()
    seed_everything("behaviour", "draws")
    try:
        with torch.enable_grad():
            rows = module(at).float().flatten(1)
            told = {"logits": _outputs(rows)}
            grad = None
            if rows.requires_grad:
                weights = torch.linspace(-1, 1, rows.shape[1], device=device)
                (grad,) = torch.autograd.grad((rows * weights).sum(), at, allow_unused=True)
    except Exception as error:  # noqa: BLE001  (what is wrong with it is said elsewhere)
        return _answers_alone(module, x.to(device), error)
    return {**told, "without gradient": True} if grad is None else {**told, "gradient": _summary(grad)}


def _answers_alone(module: nn.Module, x: Tensor, error: Exception) -> dict[str, Any]:
    """Return the outputs of a module that raises when it is asked for a gradient."""
    told = {"raised": type(error).__name__}
    seed_everything("behaviour", "draws")
    try:
        with torch.no_grad():
            return {**told, "logits": _outputs(module(x.clone()).float().flatten(1))}
    except Exception:  # noqa: BLE001  (as above)
        return told


def _outputs(rows: Tensor) -> list[list[float]]:
    return _short(rows if rows.shape[1] <= 32 else _patterns(rows))


def _summary(values: Tensor) -> list[list[float]]:
    """Return a few numbers per row that change whenever the row does."""
    rows = values.detach().float().flatten(1)
    return _short(torch.cat([_patterns(rows), rows.norm(dim=1, keepdim=True)], 1))


def _patterns(rows: Tensor) -> Tensor:
    """Return each row projected on fixed random patterns of length 1, `[B, _PATTERNS]`."""
    seed_everything("behaviour", "patterns", rows.shape[1])
    seen = torch.randn(rows.shape[1], _PATTERNS)
    projected: Tensor = rows.detach() @ (seen / seen.norm(dim=0)).to(rows.device)
    return projected


def _short(rows: Tensor) -> list[list[float]]:
    """Round to seven digits, which is what float32 has."""
    return [[float(f"{value:.7g}") for value in row] for row in rows.detach().cpu().tolist()]
