"""A user's own defense or attack from a file, without packaging: `./mine.py:build`.

The file is code and runs with the user's rights; it is loaded by path under a private name, so it
can neither shadow nor be shadowed by an installed module.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from bench import behaviour
from bench.cell import AttackRef, DefenseRef
from bench.checks.answers import FaultyDefense, check_logits
from bench.errors import BenchError, one_line, unknown
from bench.fingerprint import imported, of_file, of_text
from bench.registry import AttackEntry
from bench.request import Request, convert
from bench.seeding import preserved_generators, seed_everything
from bench.types import Defense, ImageSpec
from bench.variants import offered


def build(source: str, parameters: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401  (whatever it returns)
    """Call the function a `FILE.py:FUNCTION` names; FUNCTION is `build` where it is left out.

    Args:
        source: the file and the function.
        parameters: what the function is called with, as it was typed: `{"sigma": "0.5"}`.

    Raises:
        BenchError: no such file, function or parameter, or one of them raises.
    """
    text, _, name = source.partition(":")
    name = name or "build"
    function = getattr(_module(text, name), name, None)
    if not callable(function):
        raise BenchError(f"{text!r} has no function {name!r}: define one, or name it as {text}:NAME")
    given = _arguments(function, source, parameters or {})
    try:
        return function(**given)
    except (Exception, SystemExit) as error:
        called = ", ".join(f"{key}={value!r}" for key, value in given.items()) or "without arguments"
        raise BenchError(f"{source!r} raised {one_line(error)}; it was called {called}") from error


def _module(text: str, name: str) -> ModuleType:
    """The file as a module, executed once for what it and the modules beside it hold now."""
    path = Path(text)
    if not path.is_file():
        raise BenchError(f"no file {text!r}: pass the path of a Python file with a function {name}()")
    alias = f"_bench_custom_{of_file(path)[:16]}"
    module = sys.modules.get(alias)
    if module is not None:
        return module
    spec = importlib.util.spec_from_file_location(alias, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"{text!r} is no Python file: its name must end in .py")
    # Its neighbors can be imported, but stand in nobody's way: behind everything that is installed.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[alias]
        raise BenchError(f"{text!r} does not load: {one_line(error)}; mend the file") from error
    return module


def _arguments(function: Callable[..., Any], source: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """What was typed in brackets, in the types that the function has for it.

    Raises:
        BenchError: it takes no such parameter, needs one that is missing, or the text is of another type.
    """
    try:
        signature = inspect.signature(function, eval_str=True)
    except (ValueError, TypeError, NameError):
        signature = inspect.signature(function) if inspect.isroutine(function) else inspect.Signature()
    known = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    open_ = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    given = {}
    for key, text in parameters.items():
        if key not in known and not open_:
            raise unknown(f"parameter of {source}", key, known or ["none"])
        given[key] = _converted(text, known.get(key), f"{source}[{key}={text}]")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise BenchError(f"{source!r} needs {name}: write {source}[{name}=VALUE], or give it a default")
    return given


def _converted(text: str, parameter: inspect.Parameter | None, where: str) -> Any:  # noqa: ANN401  (as it is annotated)
    """In the type of the annotation, else of the default, else as the number it looks like."""
    kinds = (bool, int, float, str)
    wanted = None if parameter is None else parameter.annotation
    if wanted not in kinds and parameter is not None and type(parameter.default) in kinds:
        wanted = type(parameter.default)
    if wanted in kinds:
        return convert(text, wanted, where)
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text.lower() == "true" if text.lower() in ("true", "false") else text


def _read_along(path: Path) -> list[tuple[str, str]]:
    """The modules beside a file that it imports, directly or not, and the digests of what they hold.

    By its import statements: what happens to be loaded depends on what else the command names.
    """
    folder = path.resolve().parent
    found: dict[Path, str] = {}
    waiting = [path.resolve()]
    while waiting:
        for name in _names_imported(waiting.pop()):
            place = folder.joinpath(*name.split("."))
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if file.is_file() and file != path.resolve() and file not in found:
                    found[file] = of_file(file)
                    waiting.append(file)
    return sorted((file.relative_to(folder).as_posix(), digest) for file, digest in found.items())


def _names_imported(file: Path) -> list[str]:
    # A neighbor that Python cannot read is imported by nobody, or its importer has failed already.
    with contextlib.suppress(SyntaxError, ValueError):
        return imported(file)
    return []


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


def to_be_examined(request: Request, spec: ImageSpec) -> Defense:
    """A user's defense as it is, for checks that say better than an error what is wrong with it.

    Raises:
        BenchError: the file cannot be loaded, or does not return a defense.
    """
    defense = _as_record(build(request.name, request.parameters), request.name)
    with contextlib.suppress(BenchError):
        return as_defense(defense, request.name, spec)
    return defense


def _as_record(built: object, source: str) -> Defense:
    if isinstance(built, nn.Module):
        built = Defense(built)
    if not isinstance(built, Defense):
        wrong = f"{source!r} returned {type(built).__name__}"
        raise BenchError(f"{wrong}: return an nn.Module from [0, 1] images to logits, or a Defense")
    for name, tensor in (*built.model.named_parameters(), *built.model.named_buffers()):
        if tensor.is_meta:
            raise BenchError(f"{source!r}: {name} is on the device 'meta', which holds no numbers: load the weights")
    try:
        built.model.eval()
    except NotImplementedError:
        built = replace(built, model=Exported(built.model))
    return built


class Exported(nn.Module):
    """A program of `torch.export` as the module that everything else takes it for: it knows no modes to change."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.program(x)
        return logits

    def train(self, mode: bool = True) -> Exported:
        """Change nothing but the mark: the modes of the layers were settled when they were exported."""
        self.training = mode
        return self


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

    Its digest covers the file and the modules beside it that it imports, the function and its parameters, and
    every tensor of every module that it declares; what it answers is taken along for `bench.recognition`.
    """
    defense = as_defense(build(request.name, request.parameters), request.name, spec)
    path = _path(request.name)
    bytes_ = (of_file(path), _read_along(path), _label(request), [_of_state(part) for part in _modules(defense)])
    return DefenseRef(
        label=_label(request),
        source=request.name,
        digest=of_text(*bytes_),
        stochastic=defense.stochastic,
        trained_on=defense.trained_on,
        config=dict(request.parameters),
        offers=offered(defense),
        answers=behaviour.of_defense(defense, spec),
    )


def attack_ref(request: Request, families: tuple[str, ...], spec: ImageSpec) -> tuple[AttackEntry, AttackRef]:
    """A user's attack as the matrix knows it.

    It may say more about itself through attributes `families`, `access`, `forwards`, `backwards`, and through
    `exempt`, why it need not break a linear classifier (`bench.checks.ability`).
    """
    attack = build(request.name, request.parameters)
    if not callable(attack):
        raise BenchError(
            f"{request.name!r} returned {type(attack).__name__}: return a callable (oracle, x, y, threat, *, stream)"
        )
    label, path = _label(request), _path(request.name)
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
    return entry, AttackRef(
        label,
        request.name,
        of_text(of_file(path), _read_along(path), label),
        access=entry.access,
        config=dict(request.parameters),
        forwards=entry.forwards,
        backwards=entry.backwards,
        answers=behaviour.of_attack(attack, entry.families[0], spec),
    )


def _modules(defense: Defense) -> list[nn.Module]:
    declared = (defense.model, defense.surrogate, defense.base, defense.purifier, defense.derandomized)
    return [module for module in declared if module is not None]


def _path(source: str) -> Path:
    return Path(source.partition(":")[0])


def _label(request: Request) -> str:
    function = request.name.partition(":")[2]
    name = _path(request.name).stem + (f":{function}" if function not in ("", "build") else "")
    return Request(name, request.parameters).label


def _of_state(model: nn.Module) -> str:
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        for part in _parts(value):
            if isinstance(part, torch.Tensor):
                sha.update(f"{name} {part.dtype} {tuple(part.shape)}".encode())
                # By way of bytes: numpy has no bfloat16, and quantized ones have none at all.
                plain = part.dequantize() if part.is_quantized else part
                sha.update(plain.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            else:
                sha.update(f"{name} {part!r}".encode())
    return sha.hexdigest()


def _parts(value: object) -> Iterator[object]:
    """A value of a state, or what it is made of: int8 layers keep weight and bias together."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _parts(item)
    else:
        yield value


def _check_logits(answer: object, rows: int, classes: int, source: str) -> None:
    try:
        check_logits(answer, rows)
    except FaultyDefense as error:
        raise BenchError(f"{source!r}: {error}; it must map [0, 1] images to logits") from None
    assert isinstance(answer, torch.Tensor)  # noqa: S101  (check_logits has made sure)
    if answer.shape[1] != classes:
        raise BenchError(f"S02: {source!r} gives {answer.shape[1]} classes, the dataset has {classes}: pair them anew")
