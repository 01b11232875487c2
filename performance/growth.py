"""How time and memory grow with images, cells, shards and workers: `python performance/growth.py [--only cells]`.

Every point is measured in a fresh process (`growth_work.py`). The script writes `growth.json`, and from it, in the same
folder, `GROWTH.md` and `growth.svg` (`growth_page.py`). Sweeps that were not requested are kept from the earlier file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from growth_page import write
from growth_work import wanted

# Neither torch nor anything else large is imported here before the end: a process that this one starts counts the
# memory that this one holds at that moment as its own.
HERE = Path(__file__).resolve().parent
# Points of a sweep, and the phases that are measured at each, one after the other in one results folder.
_SIMULATED = ("run", "resume", "table")
_IMAGES = (128, 512, 2048, 10_000)
_CELLS = ((2, 5), (5, 15), (10, 30), (20, 60), (60, 100))
_BATCHES = (10_000, 1000, 100, 10, 1)
_MOST_IMAGES, _USUAL, _ATTACKED = 10_000, 128, 2048


def points(sweep: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the points of a sweep: what is varied, and the options of the work."""
    one = {"defenses": 1, "attacks": 1}
    if sweep == "images":
        yield from ((n, {"defenses": 4, "attacks": 5, "n": n, "batch": n}) for n in _IMAGES)
    elif sweep == "cells":
        for defenses, attacks in _CELLS:
            yield defenses * attacks, {"defenses": defenses, "attacks": attacks, "n": _USUAL, "batch": _USUAL}
    elif sweep == "shards":
        yield from ((_MOST_IMAGES // batch, {**one, "n": _MOST_IMAGES, "batch": batch}) for batch in _BATCHES)
    else:
        cores = len(os.sched_getaffinity(0))
        yield from ((jobs, {"jobs": jobs, "n": _ATTACKED}) for jobs in sorted({1, 2, cores}))


SWEEPS = ("images", "cells", "shards", "workers", "command", "disk")


def measured(sweep: str, repetitions: int) -> dict[str, Any]:
    """Measure a sweep: by phase, a list of points with the median of each number over the repetitions."""
    if sweep == "command":
        return _of_commands(repetitions)
    if sweep == "disk":
        return {"seconds": _seconds_of_a_wait()}
    found: dict[str, list[dict[str, float]]] = {}
    for at, options in points(sweep):
        rounds = [_round(sweep, options) for _ in range(repetitions)]
        for phase in rounds[0]:
            numbers = {name: statistics.median(each[phase][name] for each in rounds) for name in rounds[0][phase]}
            found.setdefault(phase, []).append({"at": at, **numbers})
            print(f"{sweep} {at} {phase}: {numbers}", flush=True)
    return found


def _round(sweep: str, options: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "results"
        if sweep == "workers":
            return {"attack": _worked("attack", root, options)}
        told = {phase: _worked(phase, root, options if phase != "table" else {}) for phase in _SIMULATED}
        documents = [path for path in root.rglob("*.json") if path.parent.name != "runs"]
        told["run"]["bytes"] = sum(path.stat().st_size for path in documents)
        return told


def _worked(phase: str, root: Path, options: Mapping[str, Any]) -> dict[str, float]:
    asked = json.dumps({"phase": phase, "root": str(root), **options})
    done = _python(str(HERE / "growth_work.py"), asked)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _of_commands(repetitions: int) -> dict[str, Any]:
    """Measure whole commands, from the start of Python to its end, on 20 x 60 cells that are all stored."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "results"
        prepared = _worked("prepare", root, {})
        options = [word for name, value in wanted(root).items() for word in (f"--{name}", str(value))]
        found: dict[str, Any] = {"cells": len(list(root.rglob("Linf*/*/*.json"))), "prepare": prepared}
        for command in (["run", *options], ["table", "--results", str(root)]):
            rounds = [_timed("-m", "bench", *command) for _ in range(repetitions)]
            found[command[0]] = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
            print(f"bench {command[0]}: {found[command[0]]}", flush=True)
    return found


def _timed(*words: str) -> dict[str, float]:
    """Run Python on these words and return its seconds and its peak of memory."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)  # noqa: S603  (ours)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(words[:3])} ... ended with status {os.waitstatus_to_exitcode(status)}")
    wall = time.perf_counter() - began
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}


def _python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603


def _seconds_of_a_wait(times: int = 200) -> float:
    """Return how long the disk of temporary files takes to hold a small file for good: the mean of some."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(times):
            with (Path(folder) / str(index)).open("wb") as file:
                file.write(b"x" * 2000)
                file.flush()
                began = time.perf_counter()
                os.fsync(file.fileno())
                seconds.append(time.perf_counter() - began)
    return statistics.fmean(seconds)  # the sum is what counts, and a few take long


def main() -> int:
    """Measure the requested sweeps and write everything."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default=",".join(SWEEPS), help="sweeps, such as cells,shards")
    options.add_argument("--out", type=Path, default=HERE / "growth.json")
    options.add_argument("--repetitions", type=int, default=3)
    given = options.parse_args()
    asked = [name for name in given.only.split(",") if name]
    unknown = set(asked) - set(SWEEPS)
    if unknown:
        options.error(f"sweep {min(unknown)!r} is unknown: give some of {','.join(SWEEPS)}")
    found = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for name in asked:
        found[name] = measured(name, given.repetitions)
        given.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    from report import machine

    found["machine"] = machine("cpu")
    given.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    write(found, given.out)
    print(f"written to {given.out}, {given.out.with_name('GROWTH.md').name} and {given.out.with_suffix('.svg').name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
