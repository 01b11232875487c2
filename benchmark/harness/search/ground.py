"""Validation images under attack: the cells of a search, computed and judged as those of any run.

They are stored beside the table, so a search that was stopped goes on: what it computed is there, and was paid for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.catalogue.attack_file import in_turn
from bench.catalogue.guests import guest
from bench.catalogue.identity import of_text
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.request import Request
from bench.catalogue.search_space import configurations
from bench.datasets.examples import Examples
from bench.errors import BenchError
from bench.harness.matrix import planned_cell
from bench.harness.pace import Pace
from bench.harness.reservations import Unreserved
from bench.harness.run import lacking
from bench.harness.search.halving import DEAREST, Candidate
from bench.harness.task import Executor
from bench.harness.underway import Underway
from bench.harness.watcher import Silent, Watcher
from bench.machine.isolation import apart
from bench.results.cell import Cell, Slice
from bench.results.outcome import Done, Failed, Kept
from bench.results.store import Store

# So many drawn in a row that are known, too expensive or meaningless: the space has little more to offer.
_IN_VAIN = 300


@dataclass(frozen=True)
class Validation:
    """The ground of a search (`bench.harness.search.halving.Ground`).

    Attributes:
        base: a cell of the defense, with any attack.
        examples: the validation images.
        store: where the verdicts of the search are kept, apart from those of any table.
        executor: where shards are computed.
        watcher: is told of each rung.
        pace: how long tasks take.
    """

    base: Cell
    examples: Examples
    store: Store
    executor: Executor
    watcher: Watcher
    pace: Pace

    def candidates(self, seed: int, budget: int) -> Iterator[Candidate]:
        """Yield attacks, each once, while there are more that take little enough of the budget of an image."""
        known: set[str] = set()
        fits: dict[str, bool] = {}
        in_vain = 0
        for request in configurations(seed, stochastic=self.base.defense.stochastic):
            # What this defense declares nothing for is meaningless whatever its parameters, and named once.
            if request.name not in fits:
                usual = self.joined([Request(request.name, {})])
                fits[request.name] = not usual.meaningless
                if usual.meaningless:
                    yield usual
            in_vain += 1
            if in_vain > _IN_VAIN:
                return
            if not fits[request.name] or request.label in known:
                continue
            known.add(request.label)
            candidate = self.joined([request])
            if candidate.meaningless or candidate.usual <= DEAREST * budget:
                in_vain = 0
                yield candidate

    def joined(self, attacks: Sequence[Request]) -> Candidate:
        names = [request.label for request in attacks]
        # All of the names would be too long for a file.
        short = f"{'+'.join(request.name for request in attacks)}.{of_text(*names)[:12]}"
        entry = in_turn(short, attacks)
        cell = replace(self.base, attack=AttackRef(entry.name, "", ""))
        stochastic, family = cell.defense.stochastic, cell.threat.family
        if family not in entry.families:
            return Candidate(tuple(attacks), cell.attack, stochastic, f"it is not defined for {family}")
        try:
            planned = planned_cell(cell, entry, self.examples.spec)
        except BenchError as error:  # a package of it is missing, or it refuses its parameters together
            return Candidate(tuple(attacks), cell.attack, stochastic, str(error))
        return Candidate(tuple(attacks), planned.cell.attack, stochastic, planned.skip or "")

    def attack(self, candidates: Sequence[Candidate], start: int, stop: int) -> list[Done | str]:
        part = self.examples.part(start, stop)
        cells = [self._cell(each, part) for each in candidates]
        missing = lacking(cells, self.store)
        shelves = {cell.key: self.store for cell in missing}
        self.watcher.step(f"trying {len(cells)} attacks on validation images {start} to {stop}")
        self.store.remember(part)
        Underway(missing, part, shelves, Unreserved(shelves), Silent(), self.pace).compute(self.executor)
        return [self._outcome(cell) for cell in cells]

    def depth(self, candidate: Candidate, start: int, stop: int) -> float:
        part = self.examples.part(start, stop)
        kept = self.store.images(self._cell(candidate, part))
        if kept is None:
            return 0.0
        defense, draws = self.base.defense, self.base.draws
        few = part.first(len(kept.x_adv))
        where = "bench.harness.search.ground:mean_margin"
        found: float = apart(
            where, defense, few, kept, draws, self.base.seed, self.executor.device, guest=guest(defense)
        )
        return found

    def tell(self, text: str) -> None:
        self.watcher.say(text)

    def _cell(self, candidate: Candidate, part: Examples) -> Cell:
        return replace(
            self.base,
            attack=candidate.ref,
            slice=Slice(part.dataset, part.split, len(part), part.digest),
        )

    def _outcome(self, cell: Cell) -> Done | str:
        outcome = self.store.find(cell)
        return (
            outcome if isinstance(outcome, Done) else outcome.error if isinstance(outcome, Failed) else "it is missing"
        )


def mean_margin(defense: DefenseRef, part: Examples, kept: Kept, draws: int, seed: int, device: str) -> float:
    """Return the best wrong logit minus the true one at adversarial images, the mean over them and over draws.

    Args:
        defense: that was attacked.
        part: the clean images, for their labels.
        kept: the adversarial ones.
        draws: how many.
        seed: of the run; the draws are neither those of an attack nor those that judge.
        device: where to compute.
    """
    import torch

    from bench.catalogue.loading import load_defense
    from bench.oracle.answers import margin
    from bench.oracle.float32 import exact_float32
    from bench.oracle.randomness import preserved_generators, seed_everything
    from bench.oracle.variants import placed

    model = placed(load_defense(defense, part.spec), device)
    x, y = (torch.from_numpy(each).to(device) for each in (kept.x_adv, part.y))
    total = 0.0
    with preserved_generators(), exact_float32(), torch.no_grad():
        for draw in range(draws):
            seed_everything(seed, part.digest, "search", draw)
            total += float(margin(model(x.clone()).double(), y).mean())
    return total / draws
