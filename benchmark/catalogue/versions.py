"""Versions of our own code, which keys name; they are declared by hand and defended by golden verdicts.

A key names versions, not source text: the protocol of the harness, and the version of each attack and defense. A
version is raised when the code gives other verdicts, and only then. `make vouch` computes the golden verdicts again
and records the code that made them (`tests/golden/units.json`, and its digests in `vouched.json` of the package); a
test fails if the code has changed since. Code that nobody has vouched for is a version of its own: its numbers are
stored separately, and no stored number is reused for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.catalogue import ATTACKS, DEFENSES, sources
from bench.catalogue.attack_libraries import LIBRARIES as ATTACK_LIBRARIES
from bench.catalogue.identity import of_code, of_text
from bench.catalogue.model_libraries import LIBRARIES as MODEL_LIBRARIES
from bench.catalogue.refs import AttackRef, DefenseRef, is_file
from bench.errors import BenchError
from bench.machine.system import write_whole

# The version of how attacks are run, judged, seeded and joined. Raise it, with a line in the CHANGELOG, when the
# verdicts of all attacks change.
PROTOCOL = 1
HARNESS = "harness"
_HARNESS_MODULES = ("bench.harness.evaluate", "bench.harness.task", "bench.harness.run")
_CHECK_MODULES = (
    "bench.checks.examination",
    "bench.checks.before.preflight",
    "bench.checks.after.agreement",
    "bench.checks.after.probes",
    "bench.checks.after.replay",
)
# Inside the package, because an installed copy has no tests to read the golden verdicts from.
VOUCHED = Path(__file__).parent / "vouched.json"
_SHORT = 12


@dataclass(frozen=True)
class Unit:
    """A piece of code with its own version.

    Attributes:
        name: `harness`, `attack pgd-20`, `defense atop`, `attacks of foolbox`, `models of timm`.
        version: as declared.
        modules: its entry points; everything that they import belongs to it.
    """

    name: str
    version: int
    modules: tuple[str, ...]

    @property
    def code(self) -> str:
        """Return the SHA-256 of what the code of this unit does (`bench.catalogue.sources`)."""
        return _code(self.modules)


def units() -> Iterator[Unit]:
    """Yield every unit of this package; the attacks and defenses of plug-ins are not among them."""
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
    """Return the version of the harness, as keys name it."""
    return _of(Unit(HARNESS, PROTOCOL, _HARNESS_MODULES))


def of_attack(name: str, target: str, version: int) -> str:
    """Return the version of an attack, as keys name it; for a plug-in it includes the digest of the code."""
    prefix, colon, _ = name.partition(":")
    unit = f"attacks of {prefix}" if colon else f"attack {name}"
    return _of_target(unit, target, version)


def of_defense(name: str, target: str, version: int) -> str:
    """Return the version of a registered defense, as `of_attack` does for an attack."""
    return _of_target(f"defense {name}", target, version)


def of_models(prefix: str) -> str:
    """Return the version of the loader of another library's models, as keys name it."""
    models = MODEL_LIBRARIES[prefix]
    return _of(Unit(f"models of {prefix}", models.version, (*_modules(models.target), models.adapter)))


def of_checks() -> str:
    """Return a digest of all code that can change a finding; the checks take seconds, so they have no version."""
    return sources.digest(_CHECK_MODULES)


def edited(refs: Iterable[DefenseRef | AttackRef]) -> list[str]:
    """Return the unvouched units of our code behind some defenses and attacks."""
    targets: dict[str, tuple[str, ...]] = {HARNESS: _HARNESS_MODULES}
    for ref in refs:
        members = (*ref.stages, *ref.reserve) if isinstance(ref, AttackRef) else ()
        for each in members or (ref,):
            targets |= {each.label: _modules(each.source)} if _is_ours(each.source) else {}
    known = set(vouched().values())
    return [name for name, modules in targets.items() if _code(modules) not in known]


def code_of(target: str) -> str:
    """Return the digest of our code behind a target, for documents; empty for a user's file."""
    return _code(_modules(target))[:_SHORT] if _is_ours(target) else ""


def code_of_harness() -> str:
    """Return the digest of the code of the harness, for documents."""
    return _code(_HARNESS_MODULES)[:_SHORT]


def _of_target(unit: str, target: str, version: int) -> str:
    if _is_ours(target) or not target:
        return _of(Unit(unit, version, _modules(target))) if target else str(version)
    # A plug-in's author has no golden verdicts here, so every change of the code makes new numbers.
    return of_text(version, of_code(target))[:_SHORT]


def _of(unit: Unit) -> str:
    code = unit.code
    return str(unit.version) if vouched().get(unit.name) == code else f"{unit.version}+{code[:_SHORT]}"


def vouched() -> Mapping[str, str]:
    """Return, for each unit, the digest of the code that made the golden verdicts."""
    found: Mapping[str, str] = _noted()["units"]
    return found


def note(code: Mapping[str, str]) -> None:
    """Record the code that made the golden verdicts of each unit."""
    modules = sorted(set().union(*(sources.closure(unit.modules) for unit in units())))
    # The shortcut by bytes is valid only if every digest was taken from the code as it is now.
    whole = all(sources.digest(unit.modules) == code.get(unit.name) for unit in units())
    told = {"text": sources.text(modules) if whole else "", "modules": modules, "units": code}
    write_whole(VOUCHED, (json.dumps(told, indent=1, sort_keys=True) + "\n").encode())
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
    """Return the digest of some modules; the recorded one if no byte has changed since, which saves parsing."""
    return _of_untouched().get(modules) or sources.digest(modules)


@cache
def _of_untouched() -> Mapping[tuple[str, ...], str]:
    noted = _noted()
    if sources.text(noted.get("modules", ())) != noted.get("text"):
        return {}
    return {unit.modules: noted["units"][unit.name] for unit in units() if unit.name in noted["units"]}


def _is_ours(target: str) -> bool:
    return target.startswith("bench.") and not is_file(target)


def _modules(target: str) -> tuple[str, ...]:
    return (target.partition(":")[0],)
