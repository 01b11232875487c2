"""References to the defenses and attacks that names on the command line stand for.

Nothing here imports torch, except when the user asks for more than a registered name: a file of
their own, or a parameter of an attack that only its class can judge (`bench.catalogue.declared` tells the others).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.catalogue import ATTACKS, DEFENSES, identity, ranges, versions
from bench.catalogue.attack_file import entry_of_file
from bench.catalogue.attack_libraries import not_installed, parameters_of, peer_entry
from bench.catalogue.declared import declared
from bench.catalogue.refs import SOURCE, AttackRef, DefenseRef
from bench.catalogue.registry import AttackEntry, load
from bench.catalogue.request import Request, convert, parse_list, parse_one
from bench.catalogue.weights import card, locate, require_learned
from bench.errors import BenchError, unknown
from bench.machine.isolation import Elsewhere, apart
from bench.oracle.attack import cost_of
from bench.threats import ThreatModel


def is_trained(name: str, dataset: str, weights: Path | None) -> bool:
    """Return whether there are weights of a registered defense for this dataset, and the libraries it requires."""
    entry = DEFENSES.get(name)
    try:
        identity.of_requirements(entry.requires)
        for needed in entry.weight_names(entry.config):
            locate(needed, dataset, weights)
    except BenchError:
        return False
    return True


def held(request: Request) -> Request | None:
    """Return the unregistered model that a registered defense stands before: `robustbench:NAME`, `./mine.py:build`.

    Raises:
        BenchError: an unknown name or parameter.
    """
    entry = DEFENSES.get(request.name)
    if entry.holds not in request.parameters:
        return None
    inner = parse_one(request.parameters[entry.holds], entry.holds)
    return inner if inner.is_file or inner.is_peer else None


def settings(request: Request) -> dict[str, str]:
    """Return the parameters of a registered defense: the requested ones, and the defaults of the others.

    Raises:
        BenchError: an unknown name or parameter, or a value that is not among its choices.
    """
    entry = DEFENSES.get(request.name)
    config = dict(entry.config)
    free = entry.holds if held(request) is not None else ""
    for key, value in request.parameters.items():
        if key not in config:
            raise unknown(f"parameter of {entry.name}", key, config or ["none"])
        if key != free and value not in entry.choices.get(key, (value,)):
            more = ", or a model from elsewhere: see docs/defenses.md" if key == entry.holds else ""
            raise BenchError(f"{entry.name}[{key}={value}]: {key} must be one of {', '.join(entry.choices[key])}{more}")
        config[key] = value
    return config


def defense(request: Request, dataset: str, weights: Path | None, behind: DefenseRef | None = None) -> DefenseRef:
    """Return a reference to the registered defense of a request, with its checkpoints found and digested.

    Args:
        request: its name and parameters.
        dataset: whose checkpoints it takes.
        weights: folder of the user's own weights, searched first.
        behind: the model it stands before, if `held` says that it is not registered.

    Raises:
        BenchError: an unknown name or parameter, a missing checkpoint, or a stochastic model behind it.
    """
    entry = DEFENSES.get(request.name)
    config, parameters = settings(request), dict(request.parameters)
    if behind is not None:
        if behind.stochastic:
            raise BenchError(f"{request.label!r}: {behind.label} is stochastic: put {entry.name} before another model")
        # The label instead of the request: it leaves out the folder of a file, which is no part of a name.
        config[entry.holds] = parameters[entry.holds] = behind.label
    files = {name: locate(name, dataset, weights) for name in entry.weight_names(config, foreign=behind is not None)}
    cards = {name: card(path) for name, path in files.items()}
    for path in files.values():
        require_learned(path)
    # A threat that any part of the pipeline was trained on is seen, not unseen (rule V10).
    seen = dict.fromkeys(ThreatModel.parse(text) for told in cards.values() for text in told.get("trained_on", []))
    digests = {name: identity.of_file(path) for name, path in files.items()}
    # The file is used all the same and its digest enters the key; the note says that the card may not apply.
    strangers = [
        str(files[name]) for name, told_ in cards.items() if told_.get("sha256", digests[name]) != digests[name]
    ]
    stochastic, keyed = entry.is_stochastic(config), entry.keyed(config)
    return DefenseRef(
        label=Request(request.name, parameters).label,
        source=entry.target,
        digest=identity.of_text(
            entry.name,
            versions.of_defense(entry.name, entry.target, entry.version),
            keyed,
            digests,
            *([identity.of_requirements(entry.requires)] if entry.requires else []),
            *([behind.digest] if behind is not None else []),
        ),
        stochastic=stochastic,
        offers=tuple(name for name in entry.offers if stochastic or name not in ("derandomized", "frozen")),
        trained_on=tuple(dict.fromkeys((*seen, *(behind.trained_on if behind is not None else ())))),
        config=keyed,
        checkpoints={name: str(path) for name, path in files.items()},
        weights=digests,
        notes=(
            *(
                f"{name} is taken from the shipped weights: there is none in {weights}"
                for name in _elsewhere(files, weights)
            ),
            *(f"{path} is not the file its card describes" for path in strangers),
            *(behind.notes if behind is not None else ()),
        ),
        behind=behind,
    )


def _elsewhere(files: Mapping[str, Path], folder: Path | None) -> list[str]:
    """Return the checkpoints that do not come from the user's own folder, if one is given."""
    return [name for name, path in files.items() if folder is not None and folder not in path.parents]


def entry(request: Request) -> AttackEntry:
    """Return the entry of a registered attack, of a supported one of another library, or of a file that names some."""
    if request.is_composition:
        return entry_of_file(request)
    return peer_entry(request.name, request.parameters) if request.is_peer else ATTACKS.get(request.name)


def attack(request: Request, dataset: str | None = None, weights: Path | None = None) -> tuple[AttackEntry, AttackRef]:
    """Return the entry of the requested attack, registered or of another library, and a reference to it.

    Args:
        request: its name and parameters.
        dataset: whose checkpoints a transfer attack takes for the defense it transfers from.
        weights: as for `defense`.

    Raises:
        BenchError: an unknown name or parameter, or a package it needs is not installed.
    """
    found = entry(request)
    if found.parts and request.parameters:
        raise BenchError(
            f"{request.label!r}: {found.name} has no parameters, its parts have: see bench show {found.name}"
        )
    config, forwards, backwards = _configured_apart(found, request)
    ref = AttackRef(
        label=request.short_label if request.is_composition else request.label,
        source=found.target,
        digest=identity.of_text(
            found.name,
            versions.of_attack(found.name, found.target, found.version),
            (found.access, found.needs),
            config,
            _required(found),
        ),
        access=found.access,
        config=config,
        forwards=forwards,
        backwards=backwards,
        # Where it is a parameter the attack asks so often, whatever its entry says.
        eot=int(config["eot"]) if "eot" in request.parameters else found.eot,
        needs=found.needs,
        known_draws=found.known_draws,
    )
    return found, _transferring(ref, dataset, weights) if found.needs == SOURCE else ref


def _required(found: AttackEntry) -> dict[str, str]:
    """Return the installed versions of the packages an attack requires, without importing them."""
    installed: dict[str, str] = {}
    for name in found.requires:
        try:
            installed.update(identity.of_requirements((name,)))
        except BenchError:
            raise not_installed(name, found.name) from None
    return installed


def _configured_apart(found: AttackEntry, request: Request) -> tuple[dict[str, Any], int, int]:
    """Return what `_configured` does, in a process of its own where that loads the code of a plug-in."""
    if not request.parameters or found.target.startswith("bench."):
        return _configured(found, request)
    try:
        configured: tuple[dict[str, Any], int, int] = apart(_configured, found, request, guest=found.target)
    except Elsewhere as error:
        raise BenchError(f"{request.label!r} does not load: {error}; mend or uninstall its package") from error
    return configured


def _configured(found: AttackEntry, request: Request) -> tuple[dict[str, Any], int, int]:
    """Return the parameters an attack is built with, and the forwards and backwards it takes at most."""
    config = dict(found.config)
    if not request.parameters:
        return config, found.forwards, found.backwards
    if request.is_peer:
        known = parameters_of(found.name)
        given = _typed(found.name, request.parameters, known)
        config["parameters"] = given
        usual = {name: default for name, (_, default) in known.items()}
    else:
        # Only the class itself can refuse a value; of a number of rounds, only the range matters, which is checked.
        read = declared(found.target) if set(request.parameters) <= _COUNTS | {"eot"} else None
        fields = read or {field.name: field.default for field in dataclasses.fields(load(found.target))}
        usual = {**fields, **config}
        given = _typed(found.name, request.parameters, {key: (type(fields[key]), usual[key]) for key in fields})
        config.update(given)
        # An attack that knows its cost is asked; for the others the cost in the catalogue is scaled below.
        passes = None if read else cost_of(load(found.target)(**config))
        if passes is not None:
            return config, *passes
    return config, *_scaled((found.forwards, found.backwards), usual, given)


def _typed(name: str, parameters: Mapping[str, str], known: Mapping[str, tuple[type, Any]]) -> dict[str, Any]:
    """Convert the parameters to the types that the attack declares, and check their ranges."""
    typed = {}
    for key, text in parameters.items():
        if key not in known:
            raise unknown(f"parameter of {name}", key, known or ["none"])
        typed[key] = convert(text, known[key][0], f"{name}[{key}={text}]")
        ranges.require(name, key, typed[key], known[key][1])
    return typed


# Parameters that the number of passes is proportional to, in our attacks and in other libraries'.
_COUNTS = {
    *("steps", "n_restarts", "targets", "queries", "n_draws"),
    *("num_steps", "max_iter", "max_iterations", "n_iter", "iter", "nb_iter", "nb_sample", "query_limit", "n_queries"),
    *("restarts", "nb_restarts", "nb_random_init", "num_random_init", "num_targets", "binary_search_steps", "eot_iter"),
}
# The attack repeats its whole run for each of these.
_RUNS = ("n_restarts", "targets")


def _scaled(passes: tuple[int, int], usual: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[int, int]:
    """Return the passes of an attack with parameters that differ from the usual ones, rounded up."""
    share, shorter = 1.0, 0
    for key in _COUNTS & set(given):
        before, now = (max(values.get(key) or 1, 1) for values in (usual, given))
        share *= now / before
        if key not in _RUNS and now < before:
            # Fewer steps leave a pass or two per run, such as the one that judges the last point.
            shorter = math.prod(int({**usual, **given}.get(name) or 1) for name in _RUNS) + 1
    # Less 1e-9, because a product of shares may come out just above a whole number.
    forwards, backwards = (math.ceil(share * count - 1e-9) + (shorter if count else 0) for count in passes)
    return forwards, backwards


def _transferring(ref: AttackRef, dataset: str | None, weights: Path | None) -> AttackRef:
    """Return the attack with the registered defense it transfers from, the only one that it queries."""
    if dataset is None:
        raise BenchError(f"{ref.label!r} attacks another defense: it can be asked for in a run only")
    source = defense(Request(str(ref.config[SOURCE]), {}), dataset, weights)
    draws = int(ref.config.get("eot", 1)) if source.stochastic else 1
    return dataclasses.replace(
        ref,
        digest=identity.of_text(ref.digest, source.digest),
        surrogate=source,
        forwards=draws * ref.forwards,
        backwards=draws * ref.backwards,
    )


def composite(
    found: AttackEntry, kind: str, fits: Callable[[AttackEntry], bool], family: str
) -> tuple[AttackRef, list[AttackRef]]:
    """Return an attack that is the worst case of others on a kind of defense, and its parts that are defined there.

    Parts that differ by threat family are under `"KIND FAMILY"`: AutoAttack takes other parameters in L1.

    Raises:
        BenchError: none of its parts fits.
    """

    def members(of: Mapping[str, tuple[str, ...]]) -> list[AttackRef]:
        # The entry for this family, else the one for all families.
        names = of.get(f"{kind} {family}") or of.get(kind, ())
        named = [attack(each) for name in names for each in parse_list(name, "attack")]
        return [ref for part, ref in named if fits(part)]

    def passes(of: Callable[[AttackRef], int]) -> int:
        # Draws differ from part to part. A defense in a known draw is deterministic: its parts average over nothing.
        many = kind == "stochastic" and not found.known_draws
        return sum(of(part) * (part.eot if many else 1) for part in (*parts, *reserve))

    parts, reserve = members(found.parts), members(found.reserve)
    if not parts:
        raise BenchError(f"no part of {found.name} is defined for {family} on a {kind} defense: leave it out")
    whole = AttackRef(
        label=found.name,
        source=" + ".join(part.label for part in parts),
        digest=identity.of_text(*(part.digest for part in (*parts, *reserve)), *_policy(found)),
        config={part.label: dict(part.config) for part in (*parts, *reserve)},
        forwards=passes(lambda part: part.forwards),
        backwards=passes(lambda part: part.backwards),
        stages=tuple(parts),
        reserve=tuple(reserve),
        audited=found.audited,
        known_draws=found.known_draws,
    )
    return whole, parts


def _policy(found: AttackEntry) -> tuple[object, ...]:
    known = ("known draws",) if found.known_draws else ("in turn",) if found.in_turn else ()
    return (*known, *(("reserve", found.audited) if found.reserve else ()))
