"""The unit of work: one shard of one cell, computed from plain data alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Protocol

from bench.catalogue.guests import guest
from bench.catalogue.loading import load_attack, load_defense
from bench.catalogue.refs import DefenseRef
from bench.datasets.examples import Examples
from bench.errors import StageError, Terminated, one_line
from bench.harness.agenda import Agenda
from bench.harness.alarm import told, with_reserve
from bench.harness.formats import PLAIN, Format, SearchFormats
from bench.results.cell import Cell
from bench.results.outcome import Done, Kept
from bench.types import Defense, ImageSpec

if TYPE_CHECKING:
    from torch import nn

    from bench.harness.conversion import SearchModels

# The most adversarial images kept per cell, converted networks kept per process, and bytes of images per cell.
_MOST_KEPT = 32
_MOST_NETWORKS = 8
_KEPT_BYTES = 1 << 20
_AS_GIVEN = SearchFormats()
# Queries between two looks at their successes on a GPU: each look makes the host wait.
_QUERIES_PER_LOOK = 8


@dataclass(frozen=True)
class Task:
    """Shard `index` of a cell, with its images and the formats of its queries.

    Attributes:
        alarm: whether another shard has raised the alarm of the cell's cascade (`bench.harness.alarm`).
        attempt: how often it was begun before, by a process that was lost.
        halvings: how often its batch was halved because memory ran out (`bench.harness.chunks`).
    """

    cell: Cell
    index: int
    shard: Examples
    formats: SearchFormats = _AS_GIVEN
    alarm: bool = False
    attempt: int = 0
    halvings: int = 0

    @property
    def cost(self) -> int:
        """Upper bound of its passes, a backward counted as two forwards."""
        return self.cell.passes(len(self.shard))

    @property
    def guest(self) -> str:
        """Return whose code it runs beside ours (`bench.catalogue.guests`); empty where it runs ours alone."""
        return guest(self.cell.defense, self.cell.attack)


class Cause(Enum):
    """Why a task has no outcome."""

    ERROR = "error"
    MEMORY = "memory"
    LOST = "lost"
    """The process or machine that computed it is gone."""
    KILLED = "killed"
    """Its process got SIGKILL, which is how a system ends one where memory runs out."""
    HUNG = "hung"


@dataclass(frozen=True)
class Report:
    """The result of a task: `done`, or the one-line `error` that stopped it.

    Attributes:
        kept: the first judged images of a cell; only its first shard brings them.
        cause: what kind of error it is.
    """

    task: Task
    done: Done | None
    error: str = ""
    seconds: float = 0.0
    kept: Kept | None = None
    cause: Cause = Cause.ERROR


class Executor(Protocol):
    """A place that computes tasks; every executor gives the same verdicts. Nothing is started before there is work.

    It computes each task once and reports what became of it; the run decides what is tried again.

    Attributes:
        device: where each of its processes computes.
        jobs: the number of processes.
        threads: threads of each of them.
    """

    @property
    def device(self) -> str: ...
    @property
    def jobs(self) -> int: ...
    @property
    def threads(self) -> int: ...

    def describe(self) -> str:
        """Name it in a few words, such as `4 processes on cpu`."""
        ...

    def run(self, agenda: Agenda, on_pass: Callable[[Task, int], None]) -> Iterator[Report]:
        """Yield a report per task as they end, in any order; end when the agenda is empty and nothing is under way.

        Args:
            agenda: where tasks are taken from. The caller may add to it between two reports.
            on_pass: called with a task and the number of examples that passed forward since the last call.
        """
        ...


def compute(task: Task, device: str, on_pass: Callable[[int], None]) -> Report:
    """Evaluate a task in this process; any exception becomes its error."""
    # Not at the top: planning and listing must not import torch.
    from bench.harness.cascade import attack_of
    from bench.harness.chunks import in_chunks, is_out_of_memory
    from bench.harness.evaluate import evaluate

    began = time.perf_counter()
    try:
        _require_able(task, device)
        began = time.perf_counter()  # the test of ability is no part of what the cell costs
        defense = _faced(task.cell, task.shard.spec)
        attack = attack_of(with_reserve(task.cell.attack) if task.alarm else task.cell.attack)
        models = _search_models(task, defense, device)
        asked = in_chunks(defense, len(task.shard), task.halvings)
        done, judged = evaluate(
            task.cell, asked, attack, task.shard, device=device, on_pass=on_pass, search_models=models
        )
    except (Exception, SystemExit) as error:  # a crash of anybody's code is a failed cell, never a verdict
        if isinstance(error, Terminated):
            raise
        cause = Cause.MEMORY if is_out_of_memory(error) else Cause.ERROR
        return Report(task, None, one_line(error), time.perf_counter() - began, cause=cause)
    seconds = time.perf_counter() - began
    kept = judged.first(kept_images(task.shard.spec)) if task.index == 0 else None
    return Report(task, told(task.cell.attack, done) if task.alarm else done, "", seconds, kept)


def _require_able(task: Task, device: str) -> None:
    """Raise if an attack of the task is unable to attack (`bench.harness.ability`)."""
    from bench.harness.ability import SHARE, require_able
    from bench.harness.verify import Violation

    cell = task.cell
    allowed = math.ceil(SHARE * cell.passes())
    for ref in (*cell.attack.stages, *cell.attack.reserve) or (cell.attack,):
        try:
            require_able(ref, partial(load_attack, ref), cell.threat, task.shard.spec, allowed=allowed, device=device)
        except Violation as error:
            if not cell.attack.stages:
                raise
            raise StageError(f"{ref.label}: {one_line(error)}") from error


def _search_models(task: Task, defense: Defense, device: str) -> SearchModels:
    """Return the models that attacks may query instead of the defense: in the formats of the task."""
    from bench.harness.chunks import smaller
    from bench.harness.conversion import SearchModels

    def network(layout: Format) -> nn.Module | None:
        if layout == PLAIN:
            return None
        found = _converted(task.cell.defense, task.shard, layout, defense, device)
        return smaller(found, len(task.shard), task.halvings)

    formats, every = task.formats, 1 if device == "cpu" else _QUERIES_PER_LOOK
    return SearchModels(network(formats.search), network(formats.float32), formats.rows_at_once, every)


_networks: dict[tuple[str, str, str], nn.Module] = {}


def _converted(ref: DefenseRef, shard: Examples, layout: Format, defense: Defense, device: str) -> nn.Module:
    """Return a defense in another format, converted once per process."""
    import torch

    from bench.harness.conversion import converted

    key = (ref.digest, str(layout), device)
    if key not in _networks:
        if len(_networks) >= _MOST_NETWORKS:
            _networks.clear()
        model = defense.model.to(device).eval()
        _networks[key] = converted(model, layout, torch.from_numpy(shard.x[:2]).to(device))
    return _networks[key]


def _faced(cell: Cell, spec: ImageSpec) -> Defense:
    """Load the defense of a cell, and with it the one that the attack transfers from."""
    defense = load_defense(cell.defense, spec)
    if cell.attack.surrogate is None:
        return defense
    return replace(defense, transfer_source=load_defense(cell.attack.surrogate, spec))


def kept_images(spec: ImageSpec) -> int:
    """Return how many adversarial images of a cell are kept: 32, or as many as fit into a megabyte, but at least 4."""
    return max(4, min(_MOST_KEPT, _KEPT_BYTES // (4 * math.prod(spec.shape))))
