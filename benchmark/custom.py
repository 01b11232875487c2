"""A user's own defense or attack from a file, without packaging: `./mine.py:build`.

The file is code and runs with the user's rights; it is loaded by path under a private name, so it
can neither shadow nor be shadowed by an installed module.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.cell import AttackRef, DefenseRef
from bench.checks.answers import FaultyDefense, check_logits
from bench.errors import BenchError, one_line
from bench.fingerprint import of_file, of_text
from bench.registry import AttackEntry
from bench.request import Request
from bench.seeding import preserved_generators, seed_everything
from bench.types import Defense, ImageSpec
from bench.variants import offered


def build(source: str) -> Any:  # noqa: ANN401  (whatever the user's function returns)
    """Call the function a `FILE.py:FUNCTION` names; FUNCTION is `build` where it is left out.

    Raises:
        BenchError: no such file or function, or one of them raises.
    """
    text, _, name = source.partition(":")
    name = name or "build"
    path = Path(text)
    if not path.is_file():
        raise BenchError(f"no file {text!r}: pass the path of a Python file with a function {name}()")
    alias = f"_bench_custom_{of_file(path)[:16]}"
    module = sys.modules.get(alias)
    if module is None:
        spec = importlib.util.spec_from_file_location(alias, path)
        if spec is None or spec.loader is None:
            raise BenchError(f"{text!r} is no Python file: its name must end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[alias] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[alias]
            raise BenchError(f"{text!r} does not load: {one_line(error)}; mend the file") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise BenchError(f"{text!r} has no function {name!r}: define one without arguments, or name it as {text}:NAME")
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise BenchError(f"{source!r} raised {one_line(error)}; it is called without arguments") from error


def as_defense(built: object, source: str, spec: ImageSpec) -> Defense:
    """A `Defense` record from what a build function returned.

    Whether it is stochastic is found out, not believed: a defense whose two differently seeded
    forwards differ is stochastic whatever it declares.

    Raises:
        BenchError: it is neither a module nor a record, or does not map images to logits.
    """
    defense = _as_record(built, source)
    if not defense.stochastic and draws_differ(defense.model, source, spec):
        return replace(defense, stochastic=True)
    return defense


def to_be_examined(source: str, spec: ImageSpec) -> Defense:
    """A user's defense as it is, for checks that say better than an error what is wrong with it.

    Raises:
        BenchError: the file cannot be loaded, or does not return a defense.
    """
    defense = _as_record(build(source), source)
    with contextlib.suppress(BenchError):
        return as_defense(defense, source, spec)
    return defense


def _as_record(built: object, source: str) -> Defense:
    if isinstance(built, nn.Module):
        built = Defense(built)
    if not isinstance(built, Defense):
        wrong = f"{source!r} returned {type(built).__name__}"
        raise BenchError(f"{wrong}: return an nn.Module from [0, 1] images to logits, or a Defense")
    built.model.eval()
    return built


def draws_differ(model: nn.Module, source: str, spec: ImageSpec) -> bool:
    """Whether two forwards of the same images under different seeds are not bit-equal."""
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    answers = []
    with preserved_generators(), torch.no_grad():
        seed_everything("custom", "images")
        x = torch.rand(8, *spec.shape).to(device)
        for draw in (1, 2):
            seed_everything("custom", draw)
            try:
                answers.append(model(x.clone()))
            except Exception as error:
                raise BenchError(f"{source!r} fails on images of shape {tuple(x.shape)}: {one_line(error)}") from error
    for answer in answers:
        _check_logits(answer, 8, spec.classes, source)
    return not torch.equal(answers[0], answers[1])


def defense_ref(request: Request, spec: ImageSpec) -> DefenseRef:
    """A user's defense as the matrix knows it: built once, to learn what it is.

    Its digest covers the file, the function and every tensor of the model: another checkpoint makes
    another cell.
    """
    defense = as_defense(build(request.name), request.name, spec)
    digest = of_text(of_file(_path(request.name)), _label(request.name), _of_state(defense.model))
    return DefenseRef(
        label=_label(request.name),
        source=request.name,
        digest=digest,
        stochastic=defense.stochastic,
        trained_on=defense.trained_on,
        offers=offered(defense),
    )


def attack_ref(request: Request, families: tuple[str, ...]) -> tuple[AttackEntry, AttackRef]:
    """A user's attack as the matrix knows it.

    It may say more about itself through attributes `families`, `access`, `forwards`, `backwards`.
    """
    attack = build(request.name)
    if not callable(attack):
        raise BenchError(
            f"{request.name!r} returned {type(attack).__name__}: return a callable (oracle, x, y, threat, *, stream)"
        )
    label = _label(request.name)
    entry = AttackEntry(
        label,
        request.name,
        cite="",
        summary="",
        families=tuple(getattr(attack, "families", families)),
        forwards=getattr(attack, "forwards", 0),
        backwards=getattr(attack, "backwards", 0),
        access=getattr(attack, "access", "gradient"),
    )
    digest = of_text(of_file(_path(request.name)), label)
    return entry, AttackRef(
        label, request.name, digest, access=entry.access, forwards=entry.forwards, backwards=entry.backwards
    )


def _path(source: str) -> Path:
    return Path(source.partition(":")[0])


def _label(source: str) -> str:
    name = source.partition(":")[2]
    return _path(source).stem + (f":{name}" if name not in ("", "build") else "")


def _of_state(model: nn.Module) -> str:
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # By way of bytes: numpy has no bfloat16.
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def _check_logits(answer: object, rows: int, classes: int, source: str) -> None:
    try:
        check_logits(answer, rows)
    except FaultyDefense as error:
        raise BenchError(f"{source!r}: {error}; it must map [0, 1] images to logits") from None
    assert isinstance(answer, torch.Tensor)  # noqa: S101  (check_logits has made sure)
    if answer.shape[1] != classes:
        raise BenchError(f"S02: {source!r} gives {answer.shape[1]} classes, the dataset has {classes}: pair them anew")
