"""How long a pass of a defense takes here: measured on two batches, for the plan of a run."""

from __future__ import annotations

import time

from bench.catalogue.loading import load_defense
from bench.datasets.examples import Examples
from bench.results.cell import Cell


def seconds_per_pass(cell: Cell, examples: Examples, device: str, batches: int = 3) -> float:
    """Measure the seconds per example and pass, a backward counted as two passes; the fastest batch after the first."""
    import torch
    from torch.nn import functional as F

    from bench.oracle.float32 import exact_float32
    from bench.oracle.oracle import Oracle
    from bench.oracle.randomness import preserved_generators

    defense = load_defense(cell.defense, examples.spec)
    defense.model.to(device).eval()
    part = examples.part(0, min(cell.batch, len(examples)))
    x, y = torch.from_numpy(part.x).to(device), torch.from_numpy(part.y).to(device)
    oracle = Oracle(defense, len(x), scope=("calibration",))
    rows = torch.arange(len(x), device=device)
    took = []
    with preserved_generators(), exact_float32():
        for _ in range(batches):  # the first one warms up
            began = time.perf_counter()
            oracle.gradient(x, y, lambda logits, labels: F.cross_entropy(logits, labels, reduction="none"), rows)
            # Kernels of a GPU run on after the call returns.
            if device != "cpu":
                torch.cuda.synchronize()
            took.append(time.perf_counter() - began)
    return min(took[1:]) / (3 * len(x))
