"""From `robustbench:NAME[threat=Linf]` to a defense the matrix can plan with.

Adapters are named as strings, and an adapter imports its library only where a name cannot be settled
without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import fingerprint, versions
from bench.catalogue.libraries import ModelLibrary, library
from bench.cell import DefenseRef
from bench.datasets.examples import Examples
from bench.errors import BenchError, one_line, unknown
from bench.registry import load
from bench.request import Request, convert
from bench.types import ThreatModel

# What says where a file is from; the file itself is digested.
_ORIGIN = ("repo", "revision", "file")
_UNKNOWN = "what it was trained on is not known, so every threat counts as unseen: say [trained_on=Linf:8/255], or none"


def check(request: Request) -> ModelLibrary:
    """The library of a request, whose parameters exist.

    Raises:
        BenchError: an unknown library or parameter, a value that is none of its choices, or a library
            that is not installed.
    """
    prefix, found = library(request.name)
    if not request.name.partition(":")[2]:
        raise BenchError(f"{request.name!r} names no model: write for example {found.example}")
    for key, value in request.parameters.items():
        if key not in found.parameters:
            raise unknown(f"parameter of {prefix}", key, found.parameters)
        if value not in found.choices.get(key, (value,)):
            raise BenchError(f"{request.name}[{key}={value}]: {key} must be one of {', '.join(found.choices[key])}")
    _threats(request.parameters.get("trained_on"))
    convert(request.parameters.get("stochastic", "false"), bool, f"{request.name}[stochastic]")
    _version(request.name, found)
    return found


def defense_ref(request: Request, examples: Examples, weights: Path | None) -> DefenseRef:
    """A model of a library as the matrix knows it, with its checkpoints found and digested.

    Its digest covers the version of the library and of its adapter, the files, and everything settled about it;
    not where the files lie, nor where they were fetched.
    """
    of = check(request)
    found = _found(request, of, examples, weights)
    config = {key: value for key, value in found.config.items() if value}
    seen, notes = _threats(request.parameters.get("trained_on", found.trained_on)), tuple(found.notes)
    if seen is None:
        seen, notes = [], (*notes, _UNKNOWN)
    stochastic = request.parameters.get("stochastic", "false").lower()
    config |= {"trained_on": "+".join(map(str, seen)), "stochastic": stochastic}
    digests = {name: fingerprint.of_file(path) for name, path in found.files.items()}
    # The network's own library: that of the hub only fetches.
    prefix, networks = library(config.get("arch", request.name))
    code = {name: versions.of_models(name) for name in {prefix, library(request.name)[0]}}
    told = {key: value for key, value in config.items() if key not in _ORIGIN}
    return DefenseRef(
        label=_label(request),
        source=of.target,
        digest=fingerprint.of_text(prefix, code, told, digests, _version(request.name, networks)),
        stochastic=stochastic == "true",
        trained_on=tuple(seen),
        offers=("frozen",) if stochastic == "true" else (),
        config=config,
        checkpoints={name: str(path) for name, path in found.files.items()},
        notes=notes,
    )


def facts(request: Request) -> Mapping[str, str]:
    """What a library says of one of its models.

    Raises:
        BenchError: the library is not installed, or has no such model.
    """
    of = check(request)
    told: Mapping[str, str] = load(f"{of.adapter}:facts")(request.name.partition(":")[2], request.parameters)
    return told


def _found(request: Request, of: ModelLibrary, examples: Examples, weights: Path | None) -> Any:  # noqa: ANN401
    wanted = load(f"{of.adapter.rpartition('.')[0]}.found:Wanted")(
        request.name.partition(":")[2], request.parameters, examples.dataset, examples.spec, weights
    )
    try:
        return load(f"{of.adapter}:find")(wanted)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"defense {request.label!r} cannot be settled: {one_line(error)}; see bench doctor") from error


def _threats(text: str | None) -> list[ThreatModel] | None:
    """The threats of a `trained_on`; `None` where nothing is said."""
    if text is None:
        return None
    return [] if text in ("", "none") else [ThreatModel.parse(item) for item in text.split("+")]


def _version(name: str, of: ModelLibrary) -> dict[str, str]:
    try:
        return fingerprint.of_requirements((of.distribution,))
    except BenchError:
        raise BenchError(f"{name!r} needs {of.distribution}, which is not installed: {of.install}") from None


def _label(request: Request) -> str:
    """As asked for, but for the folder of a file: the same weights elsewhere are the same defense."""
    shown = {key: Path(value).name if key == "weights" else value for key, value in request.parameters.items()}
    return Request(request.name, shown).label
