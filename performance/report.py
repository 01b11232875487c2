"""The report of a benchmark: a table to print, JSON to keep, and one line of `RESULTS.md`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from bench.catalogue import versions
from bench.machine import system as _system

# Distributions whose versions can change a time.
_TOLD = (
    *("atop-bench", "torch", "torchvision", "numpy", "pyautoattack"),
    *("torchattacks", "foolbox", "adversarial-robustness-toolbox", "adv-lib"),
)
_WORDS = {True: "yes", False: "no", None: "not run"}


@dataclass(frozen=True)
class Row:
    """A row of the results.

    Attributes:
        name: `P1` and so on.
        workload: the measured work.
        must: the goal.
        measured: the result.
        reached: whether the result reaches the goal; `None` if the row was not run.
        passes: counted passes, theirs and ours.
        headers: of `table`.
        table: the lines behind `measured`.
        notes: further facts about the numbers.
        data: every number, for the JSON file.
        machine: the machine of the measurement.
    """

    name: str
    workload: str
    must: str
    measured: str
    reached: bool | None
    passes: str = ""
    headers: Sequence[str] = ()
    table: Sequence[Sequence[Any]] = ()
    notes: Sequence[str] = ()
    data: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)

    def show(self) -> str:
        """Return the row as text for a terminal."""
        lines = [f"{self.name}  {self.workload}"]
        if self.table:
            lines.append(tabulate(self.table, self.headers, disable_numparse=True))
        lines += [f"must reach {self.must}", f"measured   {self.measured}: {_WORDS[self.reached]}"]
        return "\n".join((*lines, *(f"note: {note}" for note in self.notes)))


def machine(device: str) -> dict[str, str]:
    """Return the processor, the versions and the load of the machine."""
    told = {
        "processor": _system.describe(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": platform.platform(),
    }
    if device != "cpu":
        told["gpu"] = torch.cuda.get_device_name(device)
    told |= {"torch threads": str(torch.get_num_threads()), "load at the start": f"{os.getloadavg()[0]:.1f}"}
    told |= {"python": platform.python_version(), "harness": versions.code_of_harness()}
    return told | {name: _version(name) for name in _TOLD}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def read(path: Path) -> dict[str, Row]:
    """Read the rows of an earlier run, by name."""
    if not path.is_file():
        return {}
    return {row["name"]: Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as JSON, and the table as `RESULTS.md` in the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_name("RESULTS.md").write_text(_markdown(rows), encoding="utf-8")


def _markdown(rows: Sequence[Row]) -> str:
    headers = ("row", "workload", "must reach", "measured", "reached", "passes")
    lines = [(row.name, row.workload, row.must, row.measured, _WORDS[row.reached], row.passes or "-") for row in rows]
    text = [
        "# Results\n",
        "Written by `make performance`; what each row is and how time is taken is in [README.md](README.md), every "
        "number in `results.json`. f: examples passed forward, b: examples passed backward.\n",
        tabulate(lines, headers, tablefmt="github", disable_numparse=True) + "\n",
        "\n".join(f"- {row.name}: {note}" for row in rows for note in row.notes) + "\n",
        "## Machine and versions\n",
    ]
    machines: list[tuple[dict[str, str], list[str]]] = []
    for row in rows:
        same = next((names for told, names in machines if _place(told) == _place(row.machine)), None)
        if same is None:
            machines.append((row.machine, [row.name]))
        else:
            same.append(row.name)
    for told, names in machines:
        text.append(f"{', '.join(names)}:\n\n" + "\n".join(f"- {key}: {value}" for key, value in told.items()) + "\n")
    return "\n".join(text)


def _place(told: dict[str, str]) -> dict[str, str]:
    # The load differs from run to run; rows of one machine shall share a paragraph all the same.
    return {key: value for key, value in told.items() if not key.startswith("load")}
