"""P7: the time of a whole evaluation in units of the time of its passes alone.

A hook on each network records the batch and the backwards of every forward of the real run. The same
passes are then repeated alone, on the same networks, and timed. The difference is the cost of attacks,
oracle, judge and store.
"""

from __future__ import annotations

import tempfile
from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from clock import once
from fixture import LINF, Setup, cifar, loaded
from report import Row
from torch import Tensor, nn

from bench.catalogue import ATTACKS, DEFAULT_ATTACKS
from bench.catalogue.selection import Selection
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.harness import matrix, precision
from bench.harness.executors.local import Local
from bench.harness.formats import SearchFormats
from bench.harness.run import run as run_matrix
from bench.results.cell import Cell
from bench.results.outcome import Done, Failed
from bench.results.store import Store
from bench.threats import LP_FAMILIES, ThreatModel

IMAGES, BATCH = 32, 32
DEFENSES = ("standard", "at", "ap", "atop")
THREAT = ThreatModel.parse("Linf:0.2")
# For a larger network, on CIFAR-10: without the attacks that take ten thousand queries.
LARGE_ATTACKS = ("fgsm", "pgd-20", "apgd-ce", "apgd-dlr", "core")
MUST = "<= 1.3"  # times the time of the passes


class _Quiet:
    """A progress report that shows nothing and raises at a failed cell."""

    def begin(self, cells: Sequence[Cell], stored: int, beside: Sequence[Cell] = ()) -> None: ...
    def advance(self, cell: Cell, passed: int) -> None: ...
    def wait(self, cells: Sequence[Cell]) -> None: ...
    def end(self, cell: Cell, outcome: Done | Failed) -> None:
        if isinstance(outcome, Failed):
            raise RuntimeError(f"{cell.title}: {outcome.error}")


class _Call(NamedTuple):
    """A forward: its network (a copy is another one), its rows, its format, and whether a gradient follows."""

    network: nn.Module
    rows: int
    half: bool
    channels_last: bool
    graph: bool


class _Record:
    """A record of every forward of a network and of its copies, with the number of backwards through each."""

    def __init__(self, network: nn.Module) -> None:
        self.calls: list[_Call] = []
        self.backwards: Tally[int] = Tally()

        def forward(module: nn.Module, given: tuple[Tensor], logits: Tensor) -> None:
            x, index = given[0], len(self.calls)
            last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
            half = torch.is_autocast_enabled(x.device.type)
            self.calls.append(_Call(module, len(x), half, last, logits.requires_grad))
            if logits.requires_grad:
                logits.register_hook(lambda _grad: self.backwards.update((index,)))  # type: ignore[no-untyped-call]

        self.hook = network.register_forward_hook(forward)

    def tally(self) -> Tally[tuple[_Call, int]]:
        """Count equal forwards with the same number of backwards."""
        return Tally((call, self.backwards[index]) for index, call in enumerate(self.calls))


def _replay(tally: Tally[tuple[_Call, int]], images: Tensor) -> None:
    for (call, backwards), count in tally.items():
        # The same few images: the time of a pass depends on shapes, not on values.
        x = images.repeat(-(-call.rows // len(images)), 1, 1, 1)[: call.rows].clone()
        # A conversion queries its network before it rounds the weights; the replay has only the rounded ones.
        half = call.half or any(weight.dtype == torch.bfloat16 for weight in call.network.parameters())
        if call.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        for _ in range(count):
            at = x.detach().requires_grad_(call.graph)
            with torch.set_grad_enabled(call.graph), torch.autocast(x.device.type, torch.bfloat16, enabled=half):
                logits = call.network(at)
            # All backwards but the last keep the graph, as in a query of several losses.
            for index in range(backwards):
                torch.autograd.grad(logits.sum(), at, retain_graph=index + 1 < backwards)


def _measured(name: str, examples: Examples, setup: Setup) -> dict[str, Any]:
    attacks = [attack for attack in DEFAULT_ATTACKS if set(ATTACKS.get(attack).families) & set(LP_FAMILIES)]
    threat = THREAT
    if setup.network != "small":
        attacks, threat = list(LARGE_ATTACKS), LINF
    request = Selection.of(name, ",".join(attacks), (threat,))
    with tempfile.TemporaryDirectory() as folder:
        threads = torch.get_num_threads()
        settled = precision.settled(
            matrix.build(request, examples, batch=BATCH, weights=setup.trained),
            examples,
            Store(Path(folder)),
            precision="auto",
            place=lambda: (setup.device, threads),
        )
    plan, how = settled.plan, next(iter(settled.how.values()), SearchFormats())
    cells = [part for each in plan if each.skip is None for part in each.parts or (each.cell,)]
    defense = loaded(plan[0].cell.defense, examples.spec, setup.device)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        record = _Record(defense.model)
        whole = once(lambda: run_matrix(plan, examples, store, Local(setup.device), _Quiet()), setup.device)
    record.hook.remove()
    tally = record.tally()
    for network in {call.network for call, _ in tally}:
        network._forward_hooks.clear()  # noqa: SLF001  (copies made while the hook was set have it, too)
    images = torch.from_numpy(examples.x).to(setup.device)
    # A first replay that does not count: kernels are chosen and memory is allocated, as in the real run.
    _replay(Tally({key: min(count, 2) for key, count in tally.items()}), images)
    bare = once(lambda: _replay(tally, images), setup.device)
    forwards = sum(call.rows * count for (call, _), count in tally.items())
    backwards = sum(call.rows * made * count for (call, made), count in tally.items())
    calls = sum(tally.values())
    return {
        "cells": len({cell.key for cell in cells}),
        "whole": whole.median,
        "bare": bare.median,
        "calls": calls,
        "rows per call": forwards / max(calls, 1),
        "forwards": forwards,
        "backwards": backwards,
        "format": str(how.search),
    }


def run(setup: Setup) -> Row:
    """Time the evaluation of each defense, then its passes alone."""
    if setup.network == "small":
        examples = load("digits", "test", n=setup.size(IMAGES))
        subject = f"{len(DEFENSES)} defenses x default Lp attacks ({THREAT}), {len(examples)} digits"
        found = {name: _measured(name, examples, setup) for name in DEFENSES}
    else:
        examples = cifar(setup, IMAGES)
        subject = f"{setup.title} x {', '.join(LARGE_ATTACKS)} ({LINF}), {len(examples)} images"
        found = {setup.robust.label: _measured(setup.robust.label, examples, setup)}
    total = {
        key: sum(each[key] for each in found.values()) for key in ("whole", "bare", "calls", "forwards", "backwards")
    }
    ratio = total["whole"] / total["bare"]
    table = [
        (
            name,
            each["cells"],
            f"{each['whole']:.1f}",
            f"{each['bare']:.1f}",
            f"{each['whole'] / each['bare']:.2f}",
            f"{each['rows per call']:.1f}",
            f"{each['forwards']:,} f + {each['backwards']:,} b",
            each["format"],
        )
        for name, each in found.items()
    ]
    return Row(
        "P7",
        f"{subject}: time / that of its passes",
        MUST,
        f"{ratio:.2f} ({total['whole']:.1f} s / {total['bare']:.1f} s)",
        ratio <= 1.3,
        f"{total['forwards']:,} f + {total['backwards']:,} b in {total['calls']:,} calls",
        ("defense", "cells", "s", "bare s", "ratio", "rows per call", "passes", "search in"),
        table,
        ("one repetition; the choice of formats is not in the time, its passes are not counted",),
        {"defenses": found, "ratio": round(ratio, 3)},
    )
