"""A user's own defense or attack from a file, without packaging: `./mine.py:build`.

The file is code and runs with the user's rights; it is loaded by path under a private name, so it
can neither shadow nor be shadowed by an installed module.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.catalogue import behaviour
from bench.catalogue.brought import as_attack, as_defense, as_record, described, modules_of, of_state, recognizable
from bench.catalogue.identity import imported, of_file, of_text
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.registry import AttackEntry
from bench.catalogue.request import Request, convert
from bench.errors import BenchError, Exited, Terminated, one_line, unknown
from bench.machine.system import staying
from bench.oracle.variants import offered
from bench.types import Defense, ImageSpec


def build(source: str, parameters: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401  (whatever it returns)
    """Call the function that `PATH:FUNCTION` names; FUNCTION is `build` if it is left out.

    Args:
        source: the file and the function.
        parameters: the arguments of the function, as they were typed: `{"sigma": "0.5"}`.

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
        with staying():
            return function(**given)
    except Terminated:
        raise
    except SystemExit as error:
        raise Exited.by(error, repr(source)) from error
    except Exception as error:
        called = ", ".join(f"{key}={value!r}" for key, value in given.items()) or "without arguments"
        raise BenchError(f"{source!r} raised {one_line(error)}; it was called {called}") from error


def _module(text: str, name: str) -> ModuleType:
    """Load the file as a module; an unchanged file is executed once per process."""
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
    # Appended, so that the modules beside the file can be imported but never shadow an installed one.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module
    try:
        with staying():
            spec.loader.exec_module(module)
    except Terminated:
        raise
    except SystemExit as error:
        del sys.modules[alias]
        raise Exited.by(error, repr(text)) from error
    except Exception as error:
        del sys.modules[alias]
        raise BenchError(f"{text!r} does not load: {one_line(error)}; mend the file") from error
    return module


def _arguments(function: Callable[..., Any], source: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Convert the parameters in brackets to the types that the function declares.

    Raises:
        BenchError: it takes no such parameter, needs one that is missing, or the text is of another type.
    """
    try:
        signature = inspect.signature(function, eval_str=True)
    except (ValueError, TypeError, NameError):
        # Annotations may name what only a type checker imports; some callables have no signature at all.
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
    """Convert text to the type of the annotation, else of the default, else to the number it looks like."""
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


def read_along(path: Path) -> list[tuple[str, str]]:
    """Return the modules beside a file that it imports, directly or not, and the digests of their contents.

    They are found by import statements, because which modules are loaded depends on what else the command names.
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
    # A module that Python cannot parse is imported by nobody, or its importer has failed already.
    with contextlib.suppress(SyntaxError, ValueError):
        return imported(file)
    return []


def to_be_examined(request: Request, spec: ImageSpec) -> Defense:
    """Return a user's defense even if it is faulty, for checks that explain better than an error what is wrong.

    Raises:
        BenchError: the file cannot be loaded, or does not return a defense.
    """
    defense = as_record(build(request.name, request.parameters), request.name)
    with contextlib.suppress(BenchError):
        return as_defense(defense, request.name, spec)
    return defense


def defense_ref(request: Request, spec: ImageSpec) -> DefenseRef:
    """Return a reference to a user's defense, which is built once to describe it.

    The digest covers the file and the modules beside it that it imports, the function and its parameters, and
    every tensor of every module that it declares. The answers are recorded for `bench.harness.recognition`.
    """
    path = request.path.resolve()  # before its code runs, which may change the working directory
    defense = as_defense(build(request.name, request.parameters), request.name, spec)
    bytes_ = (of_file(path), read_along(path), request.short_label, [of_state(part) for part in modules_of(defense)])
    return DefenseRef(
        label=request.short_label,
        source=request.name,
        digest=of_text(*bytes_),
        stochastic=defense.stochastic,
        trained_on=defense.trained_on,
        config=dict(request.parameters),
        offers=offered(defense),
        answers=behaviour.of_defense(defense, spec),
    )


def attack_ref(request: Request, spec: ImageSpec) -> tuple[AttackEntry, AttackRef]:
    """Return the entry of a user's attack and a reference to it.

    Raises:
        BenchError: the file cannot be loaded or does not return a callable, or a trait of the attack is invalid.
    """
    known = _known_by(request)  # before its code runs, which may change the working directory
    attack = as_attack(build(request.name, request.parameters), request.name)
    entry, ref = recognizable(attack, *known, spec)
    return entry, replace(ref, config=dict(request.parameters))


def described_in(request: Request) -> tuple[AttackEntry, AttackRef]:
    """Return an attack as its file describes it, unchecked; nothing is attacked."""
    attack = as_attack(build(request.name, request.parameters), request.name)
    entry, ref = described(attack, *_known_by(request))
    return entry, replace(ref, config=dict(request.parameters))


def _known_by(request: Request) -> tuple[str, str, str]:
    """Return the label, source and digest of what a file builds."""
    label, path = request.short_label, request.path
    return label, request.name, of_text(of_file(path), read_along(path), label)
