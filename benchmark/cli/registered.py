"""`bench list` and `bench show`: what is registered. Neither imports torch."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from bench.catalogue import ATTACKS, DEFENSES
from bench.checkpoints import card, locate
from bench.datasets.names import known
from bench.errors import BenchError, unknown
from bench.registry import AttackEntry, DefenseEntry

_KINDS = ("all", "attacks", "defenses", "datasets")


def list_(kind: str, as_json: bool) -> int:
    """Print what is registered, a line each."""
    if kind not in _KINDS:
        raise unknown("list", kind, _KINDS)
    if as_json:
        everything: dict[str, Any] = {
            "defenses": [dataclasses.asdict(entry) for entry in DEFENSES],
            "attacks": [dataclasses.asdict(entry) for entry in ATTACKS],
            "datasets": list(known()),
        }
        chosen = everything if kind == "all" else everything[kind]
        print(json.dumps(chosen, indent=1))
        return 0
    if kind in ("all", "defenses"):
        print("defenses")
        for defense in DEFENSES:
            print(f"  {defense.name:14s} {_cite(defense.cite):18s} {defense.summary}")
    if kind in ("all", "attacks"):
        print("attacks")
        for attack in ATTACKS:
            threats = ",".join(attack.families)
            print(f"  {attack.name:14s} {_cite(attack.cite):18s} {attack.access:9s} {threats:8s} {attack.summary}")
    if kind in ("all", "datasets"):
        print("datasets")
        for name in known():
            print(f"  {name}")
    return 0


def show(name: str, dataset: str) -> int:
    """Print all that is known of one defense or attack.

    Raises:
        BenchError: nothing of that name is registered.
    """
    if name in ATTACKS.names():
        _show_attack(ATTACKS.get(name))
    elif name in DEFENSES.names():
        _show_defense(DEFENSES.get(name), dataset)
    else:
        raise unknown("name", name, [*ATTACKS.names(), *DEFENSES.names()])
    return 0


def _show_attack(entry: AttackEntry) -> None:
    print(f"{entry.name}: {entry.summary}")
    _line("paper", _cite(entry.cite))
    _line("access", entry.access)
    _line("threats", ", ".join(entry.families))
    _line(
        "parameters", ", ".join(f"{key}={value}" for key, value in entry.config.items()) or "the defaults of its class"
    )
    _line("cost", f"at most {entry.forwards} forwards and {entry.backwards} backwards per example and draw")
    if entry.eot > 1:
        _line("draws", f"{entry.eot} per query where the defense is stochastic")
    for kind, reason in entry.not_for.items():
        _line("not for", f"{kind} defenses: {reason}")
    _line("code", entry.target)


def _show_defense(entry: DefenseEntry, dataset: str) -> None:
    print(f"{entry.name}: {entry.summary}")
    _line("paper", _cite(entry.cite))
    for key, default in entry.config.items():
        _line("parameter", f"{key}={default} (one of {', '.join(entry.choices.get(key, ('anything',)))})")
    _line("stochastic", "yes" if entry.is_stochastic(entry.config) else "no")
    _line("code", entry.target)
    for pattern in entry.weights:
        weights = pattern.format_map(entry.config)
        try:
            path = locate(weights, dataset, None)
        except BenchError:
            _line("weights", f"{weights}: none shipped for {dataset}")
            continue
        _line("weights", f"{weights}: {path.stat().st_size:,} bytes")
        for key, value in card(path).items():
            if key not in ("name", "summary"):
                print(f"    {key:18s} {json.dumps(value) if isinstance(value, (dict, list)) else value}")


def _line(key: str, value: str) -> None:
    print(f"  {key:11s} {value}")


def _cite(cite: str) -> str:
    return f"arXiv:{cite}" if cite[:1].isdigit() else cite
