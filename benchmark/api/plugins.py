"""The contracts that our attacks and defenses keep, run on a plug-in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.api.arguments import checked
from bench.catalogue import ATTACKS, DEFENSES, resolve, user_file
from bench.catalogue.attack_libraries import LIBRARIES as ATTACK_LIBRARIES
from bench.catalogue.brought import is_defense
from bench.catalogue.loading import load_attack, load_defense
from bench.catalogue.refs import SOURCE
from bench.catalogue.registry import AttackEntry
from bench.catalogue.request import Request, parse_one
from bench.catalogue.selection import defenses
from bench.checks.contracts import attack, defense
from bench.checks.contracts.contract import Held
from bench.checks.contracts.trial import Candidate, registered
from bench.checks.examination import HELD_OUT, ExaminedImages, noise_of
from bench.datasets.load import beyond, load
from bench.datasets.threats import HEADLINE
from bench.datasets.threats import threat as usual_threat
from bench.errors import BenchError, unknown
from bench.harness.executors import pick_device
from bench.threats import FAMILIES, LP_FAMILIES, ThreatModel, family
from bench.types import Defense

# How many images of the dataset a defense is tested on.
_IMAGES = 128


@checked
def hold_to_contracts(
    target: str,
    *,
    dataset: str = "digits",
    threat: str = "",
    data: Path | None = None,
    device: str = "auto",
    weights: Path | None = None,
) -> tuple[str, Iterator[Held]]:
    """Run the contracts on a plug-in, one after the other.

    Args:
        target: `./mine.py:attack`, `./mine.py:build`, with parameters in brackets, or a registered name.
        dataset: whose images a defense classifies.
        threat: families or threat models an attack is tried under; by default all it is defined for.
        data: folder the datasets lie in.
        device: where a defense runs.
        weights: folder of your own weights.

    Returns:
        `attack` or `defense`, and the result of each contract, as soon as it is known.

    Raises:
        BenchError: no such plug-in, or it cannot be loaded.
    """
    return _held(parse_one(target, "plug-in"), dataset, _asked(threat), data, device, weights)


def _asked(text: str) -> Mapping[str, ThreatModel | None]:
    """Return the families to test under, each with its size if one was given."""
    found: dict[str, ThreatModel | None] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        model = ThreatModel.parse(item) if ":" in item else None
        found[family(item.partition(":")[0])] = model
    return found


def _held(
    request: Request,
    dataset: str,
    asked: Mapping[str, ThreatModel | None],
    data: Path | None,
    device: str,
    weights: Path | None,
) -> tuple[str, Iterator[Held]]:
    """Return the kind of the target, and the results of its contracts."""
    if request.is_file:
        built = user_file.build(request.name, request.parameters)
        if not is_defense(built):
            return "attack", _attack_of_file(request, built, asked)
        return "defense", _defense(request, dataset, data, device, weights)
    name = request.name
    if name in ATTACKS.names() or name.partition(":")[0] in ATTACK_LIBRARIES:
        return "attack", _registered_attack(request, asked)
    if name in DEFENSES.names() or request.is_peer:
        return "defense", _defense(request, dataset, data, device, weights)
    raise unknown("attack or defense", name, [*ATTACKS.names(), *DEFENSES.names()])


def _attack_of_file(request: Request, built: object, asked: Mapping[str, ThreatModel | None]) -> Iterator[Held]:
    entry, ref = user_file.described_in(request)
    return _attack(Candidate(entry, ref, partial(user_file.build, request.name, request.parameters)), asked)


def _registered_attack(request: Request, asked: Mapping[str, ThreatModel | None]) -> Iterator[Held]:
    entry = resolve.entry(request)
    if entry.parts:
        parts = sorted({part for names in entry.parts.values() for part in names})
        raise BenchError(f"{request.label!r} is the worst case of other attacks: test {', '.join(parts)} one by one")
    if entry.needs == SOURCE and not request.parameters:
        return _attack(registered(entry), asked)
    entry, ref = resolve.attack(request)
    # With parameters an attack may cost more than its entry says, and the contracts check the cost.
    entry = replace(entry, forwards=ref.forwards, backwards=ref.backwards)
    return _attack(Candidate(entry, ref, partial(load_attack, ref)), asked)


def _attack(candidate: Candidate, asked: Mapping[str, ThreatModel | None]) -> Iterator[Held]:
    return attack.held(candidate, asked or dict.fromkeys(_families(candidate.entry)))


def _families(entry: AttackEntry) -> tuple[str, ...]:
    """Return the families it is tried under: those it declares that are known, else the Lp families."""
    return tuple(name for name in entry.families if name in FAMILIES) or LP_FAMILIES


def _defense(request: Request, dataset: str, data: Path | None, device: str, weights: Path | None) -> Iterator[Held]:
    images = ExaminedImages(load(dataset, "test", n=_IMAGES, data=data), beyond(dataset, _IMAGES, HELD_OUT, data=data))
    spec = images.examples.spec
    eps = noise_of([usual_threat(name, dataset) for name in HEADLINE])
    if request.is_file:
        built = user_file.build(request.name, request.parameters)
        # A bare module declares nothing, so nothing can be held against it.
        declared = built.stochastic if isinstance(built, Defense) else None

        def make() -> Defense:
            # Built anew for each contract, so that none sees what another one changed.
            return user_file.to_be_examined(request, spec)
    else:
        ref, *others = defenses(request.label, images.examples, weights)
        if others:
            raise BenchError(f"bench test-plugin tests one plug-in, {request.label!r} names several: name one of them")
        declared = ref.stochastic

        def make() -> Defense:
            return load_defense(ref, spec)

    return defense.held(defense.DefenseTrial(make, images, eps, pick_device(device), declared))
