"""The speed benchmarks: `python performance/run.py [--only P1,P4] [--data FOLDER] [--device cuda]`.

The script writes `results.json` and, in the same folder, `RESULTS.md`. Rows that were not requested, or
could not run, are kept from the earlier file.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import torch
from fixture import HERE, Setup
from report import Row, machine, read, write

from bench.machine.system import keep_freed

ROWS = {
    "P1": "p1_exact",
    "P2": "p2_core",
    "P3": "p3_screen",
    "P4": "p4_pgd",
    "P5": "p5_eot",
    "P6": "p6_large",
    "P7": "p7_overhead",
    "P8": "p8_guard",
    "P9": "p9_launches",
    "P10": "p10_stochastic",
}
# Rows of a group share a process: the first three share a reference of several minutes.
GROUPS = (("P1", "P2", "P3"), ("P4", "P5", "P7", "P8", "P9", "P10", "P6"))


def measured(names: Sequence[str], setup: Setup) -> list[Row]:
    """Run some rows in this process and return them."""
    return list(_each(names, setup))


def _each(names: Sequence[str], setup: Setup) -> Iterator[Row]:
    """Run row after row, on one thread; a row that fails has not reached its goal."""
    # One thread, so that two groups may run at once on two cores without disturbing each other.
    torch.set_num_threads(1)
    keep_freed()
    for name in names:
        here = machine(setup.device)
        try:
            row = importlib.import_module(ROWS[name]).run(setup)
        except Exception as error:  # noqa: BLE001  (the other rows are still wanted)
            traceback.print_exc()
            row = Row(name, ROWS[name], "", f"failed: {type(error).__name__}: {error}", reached=False)
        print(row.show(), flush=True, end="\n\n")
        yield replace(row, machine=here)


def _all(groups: Sequence[Sequence[str]], setup: Setup, jobs: int) -> Iterator[list[Row]]:
    if jobs == 1 or len(groups) == 1:
        for names in groups:
            # One row at a time, so that each is written before the next begins.
            yield from ([row] for row in _each(names, setup))
        return
    # Spawned, not forked: a fork of a process with torch's threads may hang.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(measured, names, setup) for names in groups]):
            yield done.result()


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default=",".join(ROWS), help="rows, such as P1,P4")
    options.add_argument("--data", type=Path, help="the folder below which CIFAR-10 lies; else as bench run finds it")
    options.add_argument("--out", type=Path, default=HERE / "results.json")
    options.add_argument("--device", default="cpu")
    options.add_argument("--jobs", type=int, default=0, help="processes; 2 on a CPU of two cores or more")
    options.add_argument("--weights", type=Path, help="a robust wide residual network for P6")
    options.add_argument("--network", default="small", help="the robust network of P1 to P5 and P7: small or resnet-18")
    options.add_argument("--trained", type=Path, help="folder of its weights, as bench run --weights")
    options.add_argument("--n", type=int, help="fewer examples than a row is about, to try the scripts out")
    options.add_argument("--repetitions", type=int, default=3)
    given = options.parse_args()
    unknown = set(given.only.split(",")) - set(ROWS)
    if unknown:
        options.error(f"row {min(unknown)!r} is unknown: give some of {','.join(ROWS)}")
    return given


def main() -> int:
    """Run the requested rows; the exit status tells whether every script ran, not whether goals were reached."""
    given = _options()
    asked = given.only.split(",")
    setup = Setup(given.data, given.device, given.n, given.repetitions, given.weights, given.network, given.trained)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = given.jobs or (2 if given.device == "cpu" and cores > 1 else 1)
    groups = [names for group in GROUPS if (names := [name for name in group if name in asked])]
    if jobs == 1:  # in the requested order: with a GPU for a few minutes, the most important row comes first
        groups = [asked]
    rows = read(given.out)
    for found in _all(groups, setup, jobs):
        # A row that could not run, for lack of weights or peers, must not replace an earlier result.
        rows |= {row.name: row for row in found if row.reached is not None or row.name not in rows}
        write([rows[name] for name in ROWS if name in rows], given.out)
    print(f"written to {given.out} and {given.out.with_name('RESULTS.md')}")
    return int(any(rows[name].measured.startswith("failed") for name in asked))


if __name__ == "__main__":
    sys.exit(main())
