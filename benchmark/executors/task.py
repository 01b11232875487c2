"""The unit of work: one shard of one cell, computed from plain data alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.alarm import told, with_reserve
from bench.cell import AttackRef, Cell, DefenseRef
from bench.datasets.examples import Examples
from bench.errors import BenchError, StageError, one_line
from bench.fingerprint import of_file
from bench.formats import PLAIN, Format, Plan
from bench.outcome import Done
from bench.registry import load
from bench.types import Attack, Defense, ImageSpec

if TYPE_CHECKING:
    from torch import nn

    from bench.conversion import Engine

_MOST_KEPT = 32
_MOST_NETWORKS = 8
_KEPT_BYTES = 1 << 20
_AS_GIVEN = Plan()
# On a GPU the host looks that often at what queries broke; each look makes it wait.
_QUERIES_PER_LOOK = 8
# Where the loaders of other libraries' networks are.
_BORROWED = "bench.defenses.adapters."


@dataclass(frozen=True)
class Task:
    """Shard `index` of a cell, with its images, and how its queries are run.

    Attributes:
        alarm: whether another shard has raised the alarm of the cascade that attacks them (`bench.alarm`).
    """

    cell: Cell
    index: int
    shard: Examples
    plan: Plan = _AS_GIVEN
    alarm: bool = False

    @property
    def cost(self) -> int:
        """Upper bound of its passes, a backward counted as two forwards."""
        return passes(self.cell, len(self.shard))


@dataclass(frozen=True)
class Report:
    """What became of a task: `done`, or the one-line `error` that stopped it.

    Attributes:
        x_adv: the first judged images of a cell, float32 `[k, C, H, W]`, to be kept as evidence;
            only its first shard brings them.
    """

    task: Task
    done: Done | None
    error: str = ""
    seconds: float = 0.0
    x_adv: NDArray[np.float32] | None = None


def always(_task: Task) -> bool:
    """Begin with every task."""
    return True


class Executor(Protocol):
    """Computes tasks somewhere; every executor gives the same verdicts."""

    def run(
        self,
        tasks: Sequence[Task],
        on_pass: Callable[[Task, int], None],
        begins: Callable[[Task], bool] = always,
    ) -> Iterator[Report]:
        """Yield a report per task as they end, in any order.

        Args:
            tasks: what to compute.
            on_pass: called with a task and the number of examples that passed forward since.
            begins: called before a task is computed; one that it refuses is left out.
        """
        ...


def passes(cell: Cell, n: int) -> int:
    """Upper bound of the passes of `n` examples, a backward counted as two forwards."""
    draws = cell.attack.eot if cell.defense.stochastic else 1
    return n * draws * (cell.attack.forwards + 2 * cell.attack.backwards)


def compute(task: Task, device: str, on_pass: Callable[[int], None]) -> Report:
    """Evaluate a task here and now; whatever goes wrong becomes its error."""
    from bench.evaluate import evaluate

    began = time.perf_counter()
    try:
        _require_able(task, device)
        began = time.perf_counter()  # it is no part of what the cell costs
        defense = _faced(task.cell, task.shard.spec)
        attack = load_attack(with_reserve(task.cell.attack) if task.alarm else task.cell.attack)
        engine = _engine(task, defense, device)
        result = evaluate(task.cell, defense, attack, task.shard, device=device, on_pass=on_pass, engine=engine)
    except Exception as error:  # noqa: BLE001  (a crash of anybody's code is a failed cell, never a verdict)
        return Report(task, None, one_line(error), time.perf_counter() - began)
    seconds = time.perf_counter() - began
    kept = result.x_adv[: kept_images(task.shard.spec)] if task.index == 0 else None
    done = Done(result.verdicts, result.cost, result.evidence, result.ledger)
    return Report(task, told(task.cell.attack, done) if task.alarm else done, "", seconds, kept)


def _require_able(task: Task, device: str) -> None:
    """Raise unless every attack of a task can attack, or it cannot be told (`bench.checks.ability`)."""
    from bench.checks.ability import SHARE, require_able
    from bench.checks.threat import Violation

    cell = task.cell
    allowed = math.ceil(SHARE * passes(cell, cell.slice.n))
    for ref in (*cell.attack.stages, *cell.attack.reserve) or (cell.attack,):
        try:
            require_able(ref, partial(load_attack, ref), cell.threat, task.shard.spec, allowed=allowed, device=device)
        except Violation as error:
            if not cell.attack.stages:
                raise
            raise StageError(f"{ref.label}: {one_line(error)}") from error


def _engine(task: Task, defense: Defense, device: str) -> Engine:
    """What answers the search of an attack: the defense as it is, unless the plan knows something faster."""
    from bench.conversion import Engine

    def network(layout: Format) -> nn.Module | None:
        return None if layout == PLAIN else _converted(task.cell.defense, task.shard, layout, defense, device)

    every = 1 if device == "cpu" else _QUERIES_PER_LOOK
    return Engine(network(task.plan.search), network(task.plan.float32), task.plan.rows_at_once, every)


_networks: dict[tuple[str, str, str], nn.Module] = {}


def _converted(ref: DefenseRef, shard: Examples, layout: Format, defense: Defense, device: str) -> nn.Module:
    """A defense in another format, made once per process."""
    import torch

    from bench.conversion import converted

    key = (ref.digest, str(layout), device)
    if key not in _networks:
        if len(_networks) >= _MOST_NETWORKS:
            _networks.clear()
        model = defense.model.to(device).eval()
        _networks[key] = converted(model, layout, torch.from_numpy(shard.x[:2]).to(device))
    return _networks[key]


def _faced(cell: Cell, spec: ImageSpec) -> Defense:
    """The defense of a cell, beside the one that its attack transfers from."""
    from bench.variants import beside

    defense = load_defense(cell.defense, spec)
    if cell.attack.surrogate is None:
        return defense
    return beside(defense, load_defense(cell.attack.surrogate, spec))


def kept_images(spec: ImageSpec) -> int:
    """How many adversarial images of a cell are kept: 32, or what fits into a megabyte, but 4."""
    return max(4, min(_MOST_KEPT, _KEPT_BYTES // (4 * math.prod(spec.shape))))


def load_defense(ref: DefenseRef, spec: ImageSpec) -> Defense:
    """The defense a reference names, loaded once per process; a variant shares its modules."""
    from bench.variants import variant

    whole = _load_defense(_ingredients(ref), spec)
    return variant(whole, ref.variant) if ref.variant else whole


class _Ingredients(NamedTuple):
    """What a defense is loaded from, as something that can be compared.

    The digest is among it because a path says nothing of what the file holds by now.
    """

    digest: str
    source: str
    config: tuple[tuple[str, str], ...]
    checkpoints: tuple[tuple[str, str], ...]
    weights: tuple[tuple[str, str], ...]
    behind: _Ingredients | None
    label: str
    answers: str


def _ingredients(ref: DefenseRef) -> _Ingredients:
    behind = None if ref.behind is None else _ingredients(ref.behind)
    digest = ref.digest.removesuffix(f"@{ref.variant}")  # a variant shares the modules of the whole
    config, checkpoints, weights = (tuple(sorted(each.items())) for each in (ref.config, ref.checkpoints, ref.weights))
    return _Ingredients(digest, ref.source, config, checkpoints, weights, behind, ref.label, ref.answers)


@lru_cache(maxsize=8)
def _load_defense(of: _Ingredients, spec: ImageSpec) -> Defense:
    source, config = of.source, dict(of.config)
    if source.partition(":")[0].endswith(".py"):
        from bench import behaviour, custom

        found = custom.as_defense(custom.build(source, config), source, spec)
        if of.answers:
            behaviour.require_same(of.answers, behaviour.of_defense(found, spec), of.label)
        return found
    files = {name: Path(path) for name, path in of.checkpoints}
    behind = {} if of.behind is None else {"behind": _load_defense(of.behind, spec)}
    for name, sha in of.weights:
        if of_file(files[name]) != sha:
            raise BenchError(f"{files[name]} was changed while the run was under way: run again")
    defense: Defense = load(source)(checkpoints=files, spec=spec, **config, **behind)
    if source.startswith(_BORROWED):
        _require_as_declared(defense, config, spec)
    return defense


def _require_as_declared(defense: Defense, config: Mapping[str, str], spec: ImageSpec) -> None:
    """A network of somebody else's answers as it should, and is random exactly if it was said to be.

    Raises:
        BenchError: it is not, or its answers are no logits of these classes for these images.
    """
    from bench import custom

    name = str(config.get("arch", config.get("name", "it")))
    random = custom.draws_differ(defense.model, name, spec)
    if random != defense.stochastic:
        wrong, remedy = ("differ", "add") if random else ("do not differ", "leave out")
        raise BenchError(f"S03: the answers of {name} {wrong} from seed to seed: {remedy} [stochastic=true]")


def load_attack(ref: AttackRef) -> Attack:
    """The attack a reference names."""
    if ref.stages:
        from bench.cascade import Cascade, Stage

        stages, reserve = (
            [Stage(member, load_attack(member)) for member in members] for members in (ref.stages, ref.reserve)
        )
        return Cascade(stages, reserve, ref.audited)  # type: ignore[return-value]
    attack: Any
    if ref.source.partition(":")[0].endswith(".py"):
        from bench import custom

        attack = custom.build(ref.source, ref.config)
    else:
        attack = load(ref.source)(**ref.config)
    return attack  # type: ignore[no-any-return]
