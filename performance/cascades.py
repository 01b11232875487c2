"""Timings of our cascades against AutoAttack's standard version in pyautoattack, for P1, P2, P3 and P6."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from clock import Timed, Variant, counter, interleaved, once
from fixture import (
    LINF,
    Setup,
    broken,
    cell,
    cifar,
    evaluated,
    fresh,
    loaded,
    planned,
    right,
    robust,
    standard,
    tensors,
)
from numpy.typing import NDArray
from report import Row
from torch import Tensor, nn

from bench.catalogue.loading import load_attack
from bench.datasets.examples import Examples
from bench.harness.cascade import Stage
from bench.harness.conversion import SearchModels, converted
from bench.harness.evaluate import stand_in
from bench.harness.formats import SearchFormats
from bench.results.cell import Cell
from bench.results.outcome import Done

IMAGES = 256  # few enough for minutes, and one of them is 0.4 %, the tolerance of P1 and P2


@dataclass(frozen=True)
class Goal:
    """The goal of a row.

    Attributes:
        ratio: least speed-up over the reference.
        differing: largest share of examples with another verdict than the reference's.
        missed: largest share of examples that only the reference breaks.
        no_fewer: whether the total of broken examples must reach the reference's.
    """

    ratio: float
    differing: float = 1.0
    missed: float = 1.0
    no_fewer: bool = False


@dataclass(frozen=True)
class Subject:
    """The network and the images of a row.

    Attributes:
        title: the name of the network in the row.
        defense: the name of the defense in our cells.
        network: returns a new copy of the network in the form in which its user has it.
        examples: the images.
    """

    title: str
    defense: str
    network: Callable[[], nn.Module]
    examples: Examples


# Runs longer than this many seconds are not repeated: their spread is small compared with their length.
_LONG = 60.0
# Images in a bare pass, a batch at which a processor is at its best, and the number of timings.
_AT_ONCE = 64
_TURNS = 10


@dataclass(frozen=True)
class _Run:
    """The timings of one repetition: the choice of a format, then the cell."""

    plan: Timed[SearchFormats]
    cell: Timed[Done]

    @property
    def seconds(self) -> float:
        return self.plan.median + self.cell.median


_references: dict[tuple[str, str, str], Timed[NDArray[np.bool_]]] = {}


def reference(subject: Subject, device: str) -> Timed[NDArray[np.bool_]]:
    """Return AutoAttack's broken set, `[n]`; it takes minutes, so it runs once for all rows of a process."""
    key = (subject.title, subject.examples.digest, device)
    if key not in _references:
        network = subject.network()
        x, y = tensors(subject.examples, device)
        clean = right(network, x, y)
        timed = once(lambda: standard(network, x, y), device, counter(network))
        # Images that are wrong without attack are broken for both and say nothing about the attacks.
        mistaken = clean & (timed.result != y).cpu().numpy()
        _references[key] = Timed(mistaken, timed.seconds, timed.passes, timed.memory)
    return _references[key]


def run(setup: Setup, name: str, attack: str, goal: Goal, must: str) -> Row:
    """Return a row about the robust network of the setup."""
    examples = cifar(setup, IMAGES)
    network = partial(fresh, robust(setup), examples.spec, setup.device)
    subject = Subject(setup.title, setup.robust.label, network, examples)
    return compare(setup, name, attack, goal, must, subject)


def compare(setup: Setup, name: str, attack: str, goal: Goal, must: str, subject: Subject) -> Row:
    """Time one of our attacks, the choice of a format included, and compare its broken set with the reference's."""
    examples, device = subject.examples, setup.device
    asked = cell(subject.defense, attack, examples, trained=setup.trained)
    faced = loaded(asked.defense, examples.spec, device)

    def ours() -> _Run:
        plan = once(lambda: planned(faced, examples, device), device)
        return _Run(plan, once(lambda: evaluated(asked, examples, plan.result, device), device, counter(faced.model)))

    runs = [ours()]
    # The reference is optional: without it the row reports our times alone.
    theirs = reference(subject, device) if importlib.util.find_spec("pyautoattack") else None
    if runs[0].seconds < _LONG:
        runs += [ours() for _ in range(setup.repetitions - 1)]
    last = runs[-1]
    bare = _bare(faced.model, last.plan.result, tensors(examples, device)[0], asked, last.cell)
    if theirs is None:
        return _alone(name, attack, must, subject, runs, bare)
    return _row(name, attack, goal, must, subject, theirs, runs, bare)


def _bare(network: nn.Module, plan: SearchFormats, x: Tensor, asked: Cell, run: Timed[Done]) -> float:
    """Return the seconds of these passes alone, `_AT_ONCE` images at a time, each in the format its attack may use.

    No engine that makes these passes can be faster; only fewer passes or another processor can.
    """
    search_models = SearchModels(*(converted(network, layout, x[:2]) for layout in (plan.search, plan.float32)))
    rest, total = run.passes, 0.0
    costs: dict[nn.Module, tuple[float, float]] = {}
    for ref in (*asked.attack.stages, *asked.attack.reserve):
        part = run.result.ledger.components.get(ref.label)
        if part is None:
            continue
        faced = stand_in(search_models, Stage(ref, load_attack(ref))) or network
        costs[faced] = costs.get(faced) or _costs(faced, x[:_AT_ONCE])
        total += _seconds(costs[faced], part.cost.forwards, part.cost.backwards)
        rest = replace(
            rest, forwards=rest.forwards - part.cost.forwards, backwards=rest.backwards - part.cost.backwards
        )
    # The judge and the check for masked gradients query the defense in its original format.
    return total + _seconds(_costs(network, x[:_AT_ONCE]), rest.forwards, rest.backwards)


def _seconds(costs: tuple[float, float], forwards: int, backwards: int) -> float:
    one, both = costs
    return (forwards - backwards) * one + backwards * both


def _costs(network: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return the seconds per image of a forward, and of a forward with its backward."""

    def forward() -> None:
        with torch.inference_mode():
            network(x)

    def both() -> None:
        at = x.clone().requires_grad_()
        torch.autograd.grad(network(at).logsumexp(1).sum(), at)

    turns = interleaved({"one": Variant(forward), "both": Variant(both)}, x.device.type, _TURNS, warm=True)
    # The minimum, not the median: a lower bound is asked for, and every disturbance adds time.
    one, two = (min(turns[name].seconds) / len(x) for name in ("one", "both"))
    return one, two


def _alone(name: str, attack: str, must: str, subject: Subject, runs: list[_Run], bare: float) -> Row:
    """Return a row with our times alone, for machines without the reference; it neither reaches nor misses its goal."""
    shown, seconds = runs[-1], median(run.seconds for run in runs)
    count, n = int(broken(shown.cell.result).sum()), len(subject.examples)
    return Row(
        name,
        f"{subject.title}, {n} images, {LINF}: {attack}",
        must,
        f"{seconds:.1f} s; broken {count}; its passes made bare {bare:.1f} s",
        None,
        str(shown.cell.passes),
        notes=(f"pyautoattack is not installed; search by gradient in {shown.plan.result.search}",),
        data={"ours": _told(runs), "bare": round(bare, 3)},
    )


def _row(
    name: str,
    attack: str,
    goal: Goal,
    must: str,
    subject: Subject,
    theirs: Timed[NDArray[np.bool_]],
    runs: list[_Run],
    bare: float,
) -> Row:
    # Repetitions may choose different formats and so differ in verdicts; the one furthest from the reference counts.
    shown = max(runs, key=lambda run: int((broken(run.cell.result) ^ theirs.result).sum()))
    mine, n, first = broken(shown.cell.result), len(theirs.result), int(theirs.result.sum())
    seconds = median(run.seconds for run in runs)
    ratio = theirs.median / seconds
    missed, extra = int((theirs.result & ~mine).sum()), int((mine & ~theirs.result).sum())
    same = missed + extra <= goal.differing * n and missed <= goal.missed * n
    plan, parts = shown.plan.result, shown.cell.result.ledger.components
    told, passed = f"{seconds:.1f}", str(shown.cell.passes)
    table: list[tuple[Any, ...]] = [
        ("pyautoattack standard", first, "", "", f"{theirs.median:.1f}", "1", str(theirs.passes)),
        (f"ours, {attack}", int(mine.sum()), missed, extra, told, f"{ratio:.1f}", passed),
        *(
            (f"- {label}", part.broken, "", "", "", "", f"{part.cost.forwards:,} f + {part.cost.backwards:,} b")
            for label, part in parts.items()
        ),
    ]
    choice = median(run.plan.median for run in runs)
    note = (
        f"search by gradient in {plan.search}, other in {plan.float32}; "
        f"choosing it is in our time ({choice:.1f} s), not in the counts; "
        f"median of {len(runs)}, the reference was run once; our passes made bare, {_AT_ONCE} at a time: {bare:.1f} s, "
        f"so with them {theirs.median / bare:.1f} x is the most on this processor"
    )
    return Row(
        name,
        f"{subject.title}, {n} images, {LINF}: pyautoattack standard vs {attack}",
        must,
        f"{ratio:.1f} x ({theirs.median:.0f} s / {told} s); broken {int(mine.sum())} vs {first}, "
        f"{missed} missed, {extra} extra",
        ratio >= goal.ratio and same and not (goal.no_fewer and extra < missed),
        f"{theirs.passes} vs {passed}",
        ("", "broken", "missed", "extra", "s", "x", "passes"),
        table,
        (note,),
        {**_data(theirs, runs, shown), "bare": round(bare, 3)},
    )


def _told(runs: list[_Run]) -> list[dict[str, Any]]:
    return [
        {
            "plan": {**run.plan.to_json(), **run.plan.result.to_json()},
            "cell": run.cell.to_json(),
            "broken": broken(run.cell.result).nonzero()[0].tolist(),
        }
        for run in runs
    ]


def _data(theirs: Timed[NDArray[np.bool_]], runs: list[_Run], shown: _Run) -> dict[str, Any]:
    done = shown.cell.result
    components = {
        label: {"entered": part.entered, "broken": part.broken, **vars(part.cost)}
        for label, part in done.ledger.components.items()
    }
    return {
        "reference": {**theirs.to_json(), "broken": theirs.result.nonzero()[0].tolist()},
        "ours": _told(runs),
        "ledger": {**vars(done.cost), "components": components},
    }
