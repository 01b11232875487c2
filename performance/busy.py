"""How long a gradient takes while something else needs a core: threads that spin for long, briefly, and one alone.

    python performance/busy.py

The gradient is that of the shipped `atop` of CIFAR-10 on batches of random images. Each number is that of a process of
its own: once with nothing else to do on this machine, and once beside a process of another session, such as another
terminal, that never rests. The medians stand in docs/speed.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping

from bench.catalogue import resolve
from bench.catalogue.request import Request
from bench.harness.executors import cores
from bench.machine.threads import ROUNDS
from bench.types import ImageSpec

_ROWS, _BATCHES = 160, 5
_RESTLESS = "while True: pass"


def batch_time() -> float:
    """Return the median seconds of one forward and backward of a batch in this process."""
    import torch
    from fixture import loaded

    torch.manual_seed(0)
    model = loaded(resolve.defense(Request("atop", {}), "cifar10", None), ImageSpec((3, 32, 32), 10), "cpu").model
    x = torch.rand(_ROWS, 3, 32, 32, requires_grad=True)
    taken = []
    for _ in range(_BATCHES + 1):
        begun = time.perf_counter()
        torch.autograd.grad(model(x).sum(), x)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])  # the first allocates


def in_process(settings: Mapping[str, str]) -> float:
    """Return `batch_time` of a fresh process whose environment says how it uses threads."""
    # Started as a file, not by `bench`, which would choose for itself.
    command = [sys.executable, __file__, "--batch"]
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(command, env={**plain, **settings}, check=True, capture_output=True, text=True)  # noqa: S603
    return float(done.stdout)


def main() -> None:
    """Print a line for each way to use threads."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().batch:
        print(batch_time())
        return
    many = {"OMP_NUM_THREADS": str(cores())}
    ways = {
        "1 thread": {"OMP_NUM_THREADS": "1"},
        f"{cores()} threads, as OpenMP has them": many,
        f"{cores()} threads, as bench has them": many | {"GOMP_SPINCOUNT": ROUNDS},
    }
    print(f"{'seconds a batch':<36s}{'alone':>10s}{'beside another':>18s}")
    for way, settings in ways.items():
        alone = in_process(settings)
        with subprocess.Popen([sys.executable, "-c", _RESTLESS], start_new_session=True) as restless:  # noqa: S603
            try:
                beside = in_process(settings)
            finally:
                restless.kill()
        print(f"{way:<36s}{alone:10.2f}{beside:18.2f}", flush=True)


if __name__ == "__main__":
    main()
