"""Which version of our own code a number is of: declared, and defended by golden verdicts.

A key names versions, not source text: the protocol of the harness, and the version of each attack and defense. They
go up where the code gives other verdicts, and only there. `make vouch` computes the golden verdicts again and notes
which code they were made by (`tests/golden/units.json`, and its digests in `golden/vouched.json` of the package);
a test fails where the code is another one. Code that nobody has vouched for is a version of its own: its numbers
stand apart, and nothing that is stored is taken for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench import sources
from bench.catalogue import ATTACKS, DEFENSES
from bench.catalogue.attacks.peers import LIBRARIES as ATTACK_LIBRARIES
from bench.catalogue.libraries import LIBRARIES as MODEL_LIBRARIES
from bench.cell import Cell
from bench.errors import BenchError
from bench.fingerprint import of_code, of_text

# How verdicts are made: how attacks are asked, judged, seeded and joined. Raised, with a line in the CHANGELOG, where
# verdicts of all attacks become others.
PROTOCOL = 1
HARNESS = "harness"
_HARNESS_MODULES = ("bench.evaluate", "bench.executors.task", "bench.run")
_CHECK_MODULES = ("bench.soundness", "bench.checks.preflight", "bench.checks.after", "bench.probes", "bench.replay")
VOUCHED = Path(__file__).parent / "golden" / "vouched.json"
_SHORT = 12


@dataclass(frozen=True)
class Unit:
    """Code with a version of its own.

    Attributes:
        name: `harness`, `attack pgd-20`, `defense atop`, `attacks of foolbox`, `models of timm`.
        version: as declared.
        modules: where it begins; what they import belongs to it.
    """

    name: str
    version: int
    modules: tuple[str, ...]

    @property
    def code(self) -> str:
        """SHA-256 of what the code of this unit does (`bench.sources`)."""
        return _code(self.modules)


def units() -> Iterator[Unit]:
    """Every unit of this package; what plug-ins of others register is theirs to version."""
    yield Unit(HARNESS, PROTOCOL, _HARNESS_MODULES)
    for attack in ATTACKS:
        if _is_ours(attack.target):
            yield Unit(f"attack {attack.name}", attack.version, _modules(attack.target))
    for defense in DEFENSES:
        if _is_ours(defense.target):
            yield Unit(f"defense {defense.name}", defense.version, _modules(defense.target))
    for name, library in ATTACK_LIBRARIES.items():
        yield Unit(f"attacks of {name}", library.version, _modules(library.target))
    for name, models in MODEL_LIBRARIES.items():
        yield Unit(f"models of {name}", models.version, (*_modules(models.target), models.adapter))


def of_harness() -> str:
    """The version of the harness, as it stands in keys."""
    return _of(Unit(HARNESS, PROTOCOL, _HARNESS_MODULES))


def of_attack(name: str, target: str, version: int) -> str:
    """The version of an attack, as it stands in keys; of another package's, it has the digest of its code, too."""
    prefix, colon, _ = name.partition(":")
    unit = f"attacks of {prefix}" if colon else f"attack {name}"
    return _of_target(unit, target, version)


def of_defense(name: str, target: str, version: int) -> str:
    """The version of a registered defense, as it stands in keys; as for `of_attack`."""
    return _of_target(f"defense {name}", target, version)


def of_models(prefix: str) -> str:
    """The version of what loads the models of another library, as it stands in keys."""
    models = MODEL_LIBRARIES[prefix]
    return _of(Unit(f"models of {prefix}", models.version, (*_modules(models.target), models.adapter)))


def of_checks() -> str:
    """Digest of everything that can change a finding: these are made anew within seconds, so no version is declared."""
    return sources.digest(_CHECK_MODULES)


def edited(cells: Iterable[Cell]) -> list[str]:
    """The units of our code behind some cells that nobody has vouched for."""
    targets: dict[str, tuple[str, ...]] = {HARNESS: _HARNESS_MODULES}
    for cell in cells:
        for stage in (*cell.attack.stages, *cell.attack.reserve) or (cell.attack,):
            targets |= {stage.label: _modules(stage.source)} if _is_ours(stage.source) else {}
        targets |= {cell.defense.label: _modules(cell.defense.source)} if _is_ours(cell.defense.source) else {}
    known = set(vouched().values())
    return [name for name, modules in targets.items() if _code(modules) not in known]


def code_of(target: str) -> str:
    """What stands in a document for the code behind a target: of our own a digest, of a user's file nothing."""
    return _code(_modules(target))[:_SHORT] if _is_ours(target) else ""


def code_of_harness() -> str:
    """The same for the harness."""
    return _code(_HARNESS_MODULES)[:_SHORT]


def _of_target(unit: str, target: str, version: int) -> str:
    if _is_ours(target) or not target:
        return _of(Unit(unit, version, _modules(target))) if target else str(version)
    return of_text(version, of_code(target))[:_SHORT]


def _of(unit: Unit) -> str:
    code = unit.code
    return str(unit.version) if vouched().get(unit.name) == code else f"{unit.version}+{code[:_SHORT]}"


def vouched() -> Mapping[str, str]:
    """The digest of the code that golden verdicts were made by, for each unit."""
    found: Mapping[str, str] = _noted()["units"]
    return found


def note(code: Mapping[str, str]) -> None:
    """Write down which code the golden verdicts of each unit were made by."""
    modules = sorted(set().union(*(sources.closure(unit.modules) for unit in units())))
    # Bytes stand for digests only where these are all of the same bytes.
    whole = all(sources.digest(unit.modules) == code.get(unit.name) for unit in units())
    told = {"text": sources.text(modules) if whole else "", "modules": modules, "units": code}
    VOUCHED.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _noted.cache_clear()
    _of_untouched.cache_clear()


@cache
def _noted() -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(VOUCHED.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{str(VOUCHED)!r} cannot be read: install atop-bench anew, or run 'make vouch'") from error
    return found


def _code(modules: tuple[str, ...]) -> str:
    """What some modules do; known without reading it where no byte differs from when it was noted."""
    return _of_untouched().get(modules) or sources.digest(modules)


@cache
def _of_untouched() -> Mapping[tuple[str, ...], str]:
    noted = _noted()
    if sources.text(noted.get("modules", ())) != noted.get("text"):
        return {}
    return {unit.modules: noted["units"][unit.name] for unit in units() if unit.name in noted["units"]}


def _is_ours(target: str) -> bool:
    return target.startswith("bench.")


def _modules(target: str) -> tuple[str, ...]:
    return (target.partition(":")[0],)
