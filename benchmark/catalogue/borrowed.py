"""Defenses of other libraries, from `robustbench:NAME[threat=Linf]` to a reference the matrix can plan with.

Adapters are named as strings, and an adapter imports its library only where a name cannot be resolved
without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.catalogue import identity, versions
from bench.catalogue.model_libraries import FoundModel, ModelLibrary, library
from bench.catalogue.refs import DefenseRef
from bench.catalogue.request import Request, convert
from bench.datasets.examples import Examples
from bench.errors import BenchError, one_line, unknown
from bench.threats import ThreatModel

# Where a file came from says nothing about the model: the file itself is in the digest.
_ORIGIN = ("repo", "revision", "file")
_UNKNOWN = "what it was trained on is not known, so every threat counts as unseen: say [trained_on=Linf:8/255], or none"


def check(request: Request) -> ModelLibrary:
    """Return the library of a request, after checking its parameters.

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
    # Parsed here for their errors alone, so that a typo ends the run before anything is downloaded.
    _threats(request.parameters.get("trained_on"))
    convert(request.parameters.get("stochastic", "false"), bool, f"{request.name}[stochastic]")
    _version(request.name, found)
    return found


def defense_ref(request: Request, examples: Examples, weights: Path | None) -> DefenseRef:
    """Return a reference to a model of a library, with its checkpoints found and digested.

    The digest covers the version of the library and of its adapter, the files, and every parameter; it does not
    cover where the files lie or where they were fetched from.
    """
    of = check(request)
    found = _found(request, of, examples, weights)
    config = {key: value for key, value in found.config.items() if value}
    seen, notes = _threats(request.parameters.get("trained_on", found.trained_on)), tuple(found.notes)
    # The library does not say. Counting nothing as seen must not pass in silence: it decides the unseen column.
    if seen is None:
        seen, notes = [], (*notes, _UNKNOWN)
    stochastic = request.parameters.get("stochastic", "false").lower()
    config |= {"trained_on": "+".join(map(str, seen)), "stochastic": stochastic}
    digests = {name: identity.of_file(path) for name, path in found.files.items()}
    # The network's own library: that of the hub only fetches.
    prefix, networks = library(config.get("arch", request.name))
    code = {name: versions.of_models(name) for name in {prefix, library(request.name)[0]}}
    told = {key: value for key, value in config.items() if key not in _ORIGIN}
    return DefenseRef(
        label=_label(request),
        source=of.target,
        digest=identity.of_text(prefix, code, told, digests, _version(request.name, networks)),
        stochastic=stochastic == "true",
        trained_on=tuple(seen),
        offers=("frozen",) if stochastic == "true" else (),
        config=config,
        checkpoints={name: str(path) for name, path in found.files.items()},
        notes=notes,
    )


def facts(request: Request) -> Mapping[str, str]:
    """Return what a library says about one of its models.

    Raises:
        BenchError: the library is not installed, or has no such model.
    """
    of = check(request)
    return of.facts(request.name.partition(":")[2], request.parameters)


def _found(request: Request, of: ModelLibrary, examples: Examples, weights: Path | None) -> FoundModel:
    name = request.name.partition(":")[2]
    try:
        # A BenchError passes as it is; anything else that an adapter raises is wrapped into one with a remedy.
        return of.find(name, request.parameters, examples.dataset, examples.spec, weights)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"defense {request.label!r} cannot be settled: {one_line(error)}; see bench doctor") from error


def _threats(text: str | None) -> list[ThreatModel] | None:
    """Return the threats of a `trained_on`; `None` where nothing is said."""
    if text is None:
        return None
    return [] if text in ("", "none") else [ThreatModel.parse(item) for item in text.split("+")]


def _version(name: str, of: ModelLibrary) -> dict[str, str]:
    try:
        return identity.of_requirements((of.distribution,))
    except BenchError:
        raise BenchError(f"{name!r} needs {of.distribution}, which is not installed: {of.install}") from None


def _label(request: Request) -> str:
    """Return the label as typed, without the folder of a file: the same weights elsewhere are the same defense."""
    shown = {key: Path(value).name if key == "weights" else value for key, value in request.parameters.items()}
    return Request(request.name, shown).label
