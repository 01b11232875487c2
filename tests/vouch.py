"""`make vouch`: compute the golden verdicts again of all code that changed, and note which code they were made by.

Where they are the same, versions stay and stored results live on. Where they are others, the version has to go up
(`version=` in the catalogue, or `PROTOCOL` in `bench.catalogue.versions`), with a line in the CHANGELOG; this then
records the new ones. Nothing is written for code whose verdicts became others under the same version.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.catalogue import ATTACKS, behaviour, resolve, selection, sources, versions
from bench.catalogue.loading import load_attack, load_defense
from bench.catalogue.request import Request
from bench.catalogue.selection import Selection
from bench.catalogue.versions import Unit
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.datasets.threats import threat
from bench.harness import matrix
from bench.harness.executors import choose
from bench.harness.run import run
from bench.results.cell import Cell, Planned
from bench.results.documents import of_cell
from bench.results.outcome import Done, Failed
from bench.results.store import Store
from bench.types import ImageSpec

GOLDEN = Path(__file__).parent / "golden" / "units.json"
IMAGES, STOCHASTIC_IMAGES, DRAWS = 16, 4, 4
# One example may round to the other side on another machine, and its passes with it.
ROUNDING, PASSES = 1, 0.1

# How the units are asked for that are not asked for by their names alone.
_ASKED = {"attack transfer": "transfer[source=at]"}
_OF_LIBRARIES = {
    "attacks of foolbox": "foolbox:LinfPGD",
    "attacks of art": "art:ProjectedGradientDescent",
}
_DEFENSES = {
    "defense ap": "ap,ap[purifier=autoencoder],ap[purifier=gan]",
    "defense atop": (
        "atop[rt=1],atop[rt=2],atop[rt=3],atop[rt=none],atop[purifier=autoencoder],atop[purifier=gan],"
        "atop[purifier=autoencoder,rt=2],atop[purifier=gan,rt=2]"
    ),
    "defense diffpure": "diffpure,diffpure[ft=on]",
}
# The library is no part of the test environment.
_WITHOUT = ("attacks of torchattacks", "attacks of advlib", "models of")


class _Quiet:
    """Nobody watches."""

    def begin(self, cells: Sequence[Cell], stored: int, beside: Sequence[Cell] = ()) -> None: ...
    def advance(self, cell: Cell, passed: int) -> None: ...
    def wait(self, cells: Sequence[Cell]) -> None: ...
    def end(self, cell: Cell, outcome: Done | Failed) -> None:
        print(f"  {cell.title}", file=sys.stderr)


def own_code(unit: Unit) -> str:
    """SHA-256 of the modules a unit begins with, without what they import."""
    return sources.alone(unit.modules)


def golden(units: Sequence[Unit], jobs: int = 0) -> dict[str, dict[str, Any]]:
    """What the code of some units gives now, by unit: rows of verdicts by cell, or answers by defense."""
    found: dict[str, dict[str, Any]] = {}
    for unit in units:
        if unit.name.startswith("defense ") and not unit.name.startswith(_WITHOUT):
            found[unit.name] = _answers(_DEFENSES.get(unit.name, unit.name.partition(" ")[2]))
    return {**found, **_verdicts([unit.name for unit in units], jobs)}


def _answers(names: str) -> dict[str, Any]:
    examples = load("digits", "test", n=2)
    refs = selection.defenses(names, examples, None)
    return {ref.label: behaviour.of_defense(load_defense(ref, examples.spec), examples.spec) for ref in refs}


def _verdicts(names: Sequence[str], jobs: int) -> dict[str, dict[str, Any]]:
    """The verdicts of every attack under every threat it is for, on a deterministic and a stochastic defense."""
    asked = {
        _ASKED.get(name, _OF_LIBRARIES.get(name, name.partition(" ")[2])): name
        for name in names
        if name.startswith("attack") and not name.startswith(_WITHOUT)
    }
    if not asked:
        return {}
    examples = load("digits", "test", n=IMAGES)
    families = dict.fromkeys(family for entry in ATTACKS for family in entry.families)
    threats = tuple(threat(family, "digits") for family in families)
    plan: list[Planned] = []
    for request in asked:
        some = tuple(each for each in threats if each.family in _families(asked[request]))
        plan += matrix.build(Selection.of("at,atop", request, some), examples, draws=DRAWS)
    plan = [_shortened(each, examples) for each in plan if each.skip is None]
    found: dict[str, dict[str, Any]] = {name: {} for name in asked.values()}
    with TemporaryDirectory() as folder:
        # One job stays in this process with its threads: beside others, two threads would wait for each other.
        executor = choose("local" if jobs == 1 else "auto", "cpu", jobs, len(plan))
        results = run(plan, examples, Store(Path(folder)), executor, _Quiet())
    for result in results:
        if not isinstance(result.outcome, Done):
            raise SystemExit(f"{result.cell.title} failed: {result.outcome}")
        found[asked[result.cell.attack.label]][result.cell.title] = _row(result.cell, result.outcome)
    return {name: rows or _proposals(name) for name, rows in found.items()}


def _proposals(unit: str) -> dict[str, Any]:
    """What an attack proposes that needs colors: the digits have none."""
    _, ref = resolve.attack(Request(unit.partition(" ")[2], {}))
    (family,) = _families(unit)
    return {ref.label: behaviour.of_attack(load_attack(ref), family, ImageSpec((3, 8, 8), 10))}


def _families(unit: str) -> tuple[str, ...]:
    if unit in _OF_LIBRARIES:
        return ("Linf",)
    return ATTACKS.get(unit.partition(" ")[2]).families


def _shortened(planned: Planned, examples: Examples) -> Planned:
    """A stochastic defense is asked about fewer images."""
    if not planned.cell.defense.stochastic:
        return planned
    part = examples.part(0, STOCHASTIC_IMAGES)
    piece = replace(planned.cell.slice, n=len(part), digest=part.digest, examples=part.fingerprints)
    return replace(planned, cell=replace(planned.cell, slice=piece))


def _row(cell: Cell, done: Done) -> dict[str, Any]:
    told = of_cell(cell, done, {})
    cost = told["cost"]
    return {**told["verdicts"], "passes": [cost["forwards"], cost["backwards"]]}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of the golden verdicts of a unit became other than rounding can make them, a line each."""
    found = [f"{title} is new" for title in now if title not in before]
    found += [f"{title} is gone" for title in before if title not in now]
    flipped = []
    for title in before.keys() & now.keys():
        was, is_ = before[title], now[title]
        if isinstance(was, str):
            found += [] if behaviour.same(was, is_) else [f"{title} answers otherwise"]
        elif was != is_:
            (flipped if _close(was, is_) else found).append(f"{title}: {_shown(was)} -> {_shown(is_)}")
    # One flip may be rounding; one in every row is a weaker attack.
    return sorted([*found, *(flipped if len(flipped) > ROUNDING else ())])


def _close(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    flips = sum(one != two for kind in ("clean", "adversarial") for one, two in zip(was[kind], now[kind], strict=True))
    near = all(
        abs(one - two) <= PASSES * max(one, two, 1) for one, two in zip(was["passes"], now["passes"], strict=True)
    )
    # The same verdicts by other passes are other code: no rounding does that without a flip.
    return 0 < flips <= ROUNDING and near


def _shown(row: Mapping[str, Any]) -> str:
    return f"{row['adversarial']} in {row['passes'][0]}+{row['passes'][1]} passes"


def vouch(everything: bool = False, jobs: int = 0) -> list[str]:
    """Compute again what changed and note it; returns what must get another version first, a line each."""
    known = _read()

    def noted_as(unit: Unit) -> tuple[object, object]:
        row = known.get(unit.name, {})
        return row.get("version"), row.get("code")

    units = {unit.name: unit for unit in versions.units()}
    protocol = units[versions.HARNESS]
    all_ = everything or noted_as(protocol) != (protocol.version, protocol.code)
    changed = [unit for unit in units.values() if all_ or noted_as(unit) != (unit.version, unit.code)]
    rows = golden(changed, jobs)
    raised = noted_as(protocol)[0] not in (None, protocol.version)
    wrong: list[str] = []
    noted = {name: row for name, row in known.items() if name in units}
    for unit in changed:
        before, now = known.get(unit.name), rows.get(unit.name, {})
        free = before is None or before["version"] != unit.version or raised
        if not free and before is not None:
            other = differences(before["golden"], _asked_before(before["golden"], now))
            if not now and unit.name != versions.HARNESS and before["own"] != own_code(unit):
                other = ["its code changed, and there are no golden verdicts of it"]
            if other:
                wrong += [f"{unit.name}: {line}" for line in other]
                continue
        noted[unit.name] = {"version": unit.version, "code": unit.code, "own": own_code(unit), "golden": now}
        print(f"vouched for {unit.name}, version {unit.version}")
    if wrong:
        # Other verdicts of one attack may come from the harness, whose own row says nothing of that.
        noted[versions.HARNESS] = known.get(versions.HARNESS, noted[versions.HARNESS])
    _write(noted)
    return wrong


def _asked_before(golden: Mapping[str, Any], now: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of answers of defenses, those that the golden ones can tell something of.

    A defense that is asked with further parameters has no golden answer to them yet; where it has none at all,
    nothing says that it answers as before.
    """
    further = {title for title, answer in now.items() if isinstance(answer, str) and golden and title not in golden}
    return {title: answer for title, answer in now.items() if title not in further}


def _read() -> dict[str, Any]:
    if not GOLDEN.is_file():
        return {}
    found: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))["units"]
    return found


def _write(noted: Mapping[str, Any]) -> None:
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({"format": 1, "units": noted}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    versions.note({name: row["code"] for name, row in noted.items()})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="what did not change, too")
    parser.add_argument("--jobs", type=int, default=0, help="worker processes; 0: one per core")
    options = parser.parse_args()
    wrong = vouch(options.all, options.jobs)
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        print("raise the version of what this is, say so in the CHANGELOG, and run this again", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
