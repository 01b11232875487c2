"""The only place where verdicts are made.

An attack proposes; `evaluate` checks the proposal against the threat model, and the defense itself
judges it again, in eval mode, on draws the attack has never seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.datasets.examples import Examples
from bench.errors import NoGradient, StageError, one_line
from bench.harness import foretold
from bench.harness.cascade import Cascade, Stage
from bench.harness.certain import certain
from bench.harness.conversion import SearchModels
from bench.harness.verify import Violation, verify
from bench.oracle.answers import check_logits, margin, misclassified, predicted, require_eval_mode
from bench.oracle.attack import Attack, proves, traits_of
from bench.oracle.float32 import exact_float32
from bench.oracle.geometry import distance, per_row, project
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream, preserved_generators, seed_everything
from bench.oracle.variants import placed
from bench.results.cell import Cell
from bench.results.outcome import Component, Cost, Done, Evidence, Kept, Ledger, Verdicts
from bench.threats import ThreatModel
from bench.types import Defense

# Below this margin rounding may decide; 100 times what float32 networks were seen to differ by.
BORDERLINE = 1e-4
_AS_GIVEN = SearchModels()


@dataclass(frozen=True)
class Judgement:
    """The result of N evaluation draws on some images; every field is `[B]`.

    Attributes:
        correct: the number of draws with the true label, int64; an answer that is not finite is wrong.
        nonfinite: whether any answer was not finite.
        borderline: whether the margin of any draw was below `BORDERLINE` in absolute value.
        answered: the class that the first draw answered, int64; -1 where it was not finite.
    """

    correct: Tensor
    nonfinite: Tensor
    borderline: Tensor
    answered: Tensor


def evaluate(
    cell: Cell,
    defense: Defense,
    attack: Attack | Cascade,
    shard: Examples,
    *,
    device: torch.device | str = "cpu",
    on_pass: Callable[[int], None] | None = None,
    search_models: SearchModels = _AS_GIVEN,
) -> tuple[Done, Kept]:
    """Attack one shard of a cell and count, per example, the draws in which the defense was right.

    Every example is judged without attack first; one that no draw gets right counts as broken and
    is not attacked (rule V12). The randomness of attack and defense depends on the cell and the shard
    alone, and the caller's random generators are restored.

    Args:
        cell: the question to answer.
        defense: the defense of the cell, built.
        attack: its attack, built; a `Cascade` where the cell has stages.
        shard: the examples.
        device: where to compute.
        on_pass: as in `bench.oracle.oracle.Oracle`.
        search_models: the model that attacks may query instead of the defense.

    Returns:
        The verdicts with their cost and evidence, and the images that were judged: `x_adv`, or the clean image where
        an example was wrong without attack.

    Raises:
        Violation: the attack left its threat model.
        FaultyDefense: the defense gave no logits of the right shape, or is in train mode.
    """
    model = placed(defense, device)
    require_eval_mode(model)
    x = torch.from_numpy(shard.x).to(device)
    y = torch.from_numpy(shard.y).to(device)
    cascade = attack if isinstance(attack, Cascade) else Cascade([Stage(cell.attack, attack)])
    with preserved_generators(), exact_float32():
        if cell.threat.is_shift:
            return _shifted(cell, model, attack, shard, x, y)
        if cell.attack.known_draws:
            # Not at the top: it is built on this module.
            from bench.harness.known_draws import evaluate_known_draws

            return evaluate_known_draws(cell, defense, cascade, shard, x, y, on_pass)
        run = _Shard(cell, defense, shard, x, y, on_pass, search_models)
        sampled, escalated = cascade.run(run)
        run.settle()
        evidence = run.evidence(sampled, escalated)
        if traits_of(attack).measures:
            evidence = replace(evidence, distances=_distances(x, run.x_adv, run.clean, run.adversarial, cell.threat))
    verdicts = Verdicts(cell.draws, _as_counts(run.clean), _as_counts(run.adversarial))
    return Done(verdicts, run.cost, evidence, run.ledger), _kept(run.x_adv, run.answered[0], run.answered[1])


class _Shard:
    """Some examples of a cell under attack, one attack after the other.

    Attributes:
        clean: correct draws without attack, `[B]`.
        adversarial: the fewest correct draws under any attack so far, `[B]`.
        x_adv: the images that had so few, `[B, C, H, W]`.
    """

    def __init__(
        self,
        cell: Cell,
        defense: Defense,
        shard: Examples,
        x: Tensor,
        y: Tensor,
        on_pass: Callable[[int], None] | None,
        search_models: SearchModels,
    ) -> None:
        self._cell, self._defense, self._shard, self._on_pass = cell, defense, shard, on_pass
        self._search_models = search_models
        self._x, self._y = x, y
        self._scope = (cell.seed, shard.digest)
        judged = judge(defense.model, x, y, cell.draws, (*self._scope, "clean"))
        self.clean = judged.correct
        self.adversarial, self.x_adv = self.clean.clone(), x.clone()
        self.answered = torch.stack([judged.answered, judged.answered])
        self._judged = torch.zeros_like(y, dtype=torch.bool)
        self._attacked_by: set[str] = set()
        self._looks = 0
        self._silent = 0
        self._nonfinite = torch.zeros_like(y, dtype=torch.bool)
        self._borderline = torch.zeros_like(y, dtype=torch.bool)
        self._passes = torch.zeros(3, len(y), dtype=torch.int64)
        self._components: dict[str, Component] = {}
        self._unable: dict[str, NoGradient] = {}

    def standing(self) -> Tensor:
        return self.adversarial.nonzero().squeeze(1)

    def attack(self, stage: Stage, rows: Tensor) -> None:
        """Run an attack on the examples `rows`; each keeps the proposal that leaves it fewer correct draws."""
        if not len(rows):
            return
        cell, x, y = self._cell, self._x[rows], self._y[rows]
        ids = [self._shard.ids[row] for row in rows.tolist()]
        place = (stage.ref.label, str(cell.threat))
        stream = Stream.of(ids, cell.seed, self._shard.dataset, *place, device=x.device)
        oracle = Oracle(
            self._defense,
            len(rows),
            scope=(*self._scope, *place),
            access=stage.ref.access,
            on_pass=self._on_pass,
            fast=stand_in(self._search_models, stage),
            labels=y,
            rows_at_once=self._search_models.rows_at_once,
            every=_patience(self._search_models, stage, cell.threat),
        )
        try:
            proposed = propose(stage.attack, oracle, x, y, cell.threat, stream)
        except NoGradient as error:
            if stage.ref.label == cell.attack.label:
                raise
            self._unable[stage.ref.label] = error
            return
        except Exception as error:
            if stage.ref.label == cell.attack.label:
                raise
            raise StageError(f"{stage.ref.label}: {one_line(error)}") from error
        judged = judge(self._defense.model, proposed, y, cell.draws, (*self._scope, "judge"))
        self._attacked_by.add(stage.ref.label)
        self._book(stage.ref.label, oracle, rows, int((judged.correct == 0).sum()))
        held = torch.where(self._judged[rows], self.adversarial[rows], cell.draws)
        self._judged[rows] = True
        better = judged.correct <= held
        self.x_adv[rows] = torch.where(per_row(better, proposed), proposed, self.x_adv[rows])
        self.answered[1, rows] = torch.where(better, judged.answered, self.answered[1, rows])
        self.adversarial[rows] = torch.minimum(judged.correct, held)
        self._nonfinite[rows] |= judged.nonfinite
        self._borderline[rows] |= judged.borderline
        # A silent success (A05): the attack broke the example on its way, and returned an image that does not.
        silent = (2 * judged.correct > cell.draws) & oracle.broken.to(rows.device) & ~judged.borderline
        self._silent += int(silent.sum())

    def require_attacked(self) -> None:
        if self._unable and not self._components:
            raise next(iter(self._unable.values()))

    def gaps(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self._unable:
            none = torch.zeros(len(rows), device=rows.device)
            return none, none, none.bool()
        x, y = self._x[rows], self._y[rows]
        oracle = Oracle(self._defense, len(rows), scope=(*self._scope, "guard"), on_pass=self._on_pass)
        every = torch.arange(len(rows), device=rows.device)
        answers = [oracle.gradient(at, y, margin, every) for at in (x, self.x_adv[rows])]
        points = (x, self.x_adv[rows])
        sure = [self._certain(oracle, rows, at, answer.grad) for at, answer in zip(points, answers, strict=True)]
        self._book("guard", oracle, rows, 0)
        gap = torch.stack([_lead(answer.logits, y) for answer in answers]).amin(0)
        slopes = [answer.grad.flatten(1).abs().amax(1) for answer in answers]
        flat = torch.stack([slope == 0 for slope in slopes])
        # An example is certain if its gradient is zero somewhere, and honestly so wherever it is zero.
        return gap, torch.stack(slopes).amin(0), flat.any(0) & (~flat | torch.stack(sure)).all(0)

    def misled(self, rows: Tensor) -> bool:
        if not self._defense.stochastic or self._unable:
            return False
        oracle = Oracle(self._defense, len(rows), scope=(*self._scope, "foretold"), on_pass=self._on_pass)
        ids = [self._shard.ids[row] for row in rows.tolist()]
        stream = Stream.of(ids, self._cell.seed, self._shard.dataset, "foretold", device=rows.device)
        channels, *size = self._x.shape[1:]
        noise = 2 * stream.uniform(foretold.DIRECTIONS * channels, *size) - 1
        every = torch.arange(len(rows), device=rows.device)
        # At the images themselves: where an attack has been, it went by the gradient that is in question.
        agreed = foretold.agreement(oracle, self._x[rows], self._y[rows], every, noise)
        self._book("guard", oracle, rows, 0)
        return foretold.misled(agreed)

    def held(self, rows: Tensor) -> Tensor:
        if not self._defense.stochastic:
            return (self.adversarial[rows] > 0).float()
        self._looks += 1
        scope = (*self._scope, "held", self._looks)
        judged = judge(self._defense.model, self.x_adv[rows], self._y[rows], self._cell.draws, scope)
        return judged.correct / self._cell.draws

    def settle(self) -> None:
        """Judge afresh what several attacks of a stochastic defense left: those draws had a say in which was chosen."""
        if not self._defense.stochastic or len(self._attacked_by) < 2:
            return
        rows = self._judged.nonzero().squeeze(1)
        judged = judge(
            self._defense.model, self.x_adv[rows], self._y[rows], self._cell.draws, (*self._scope, "settled")
        )
        self.adversarial[rows] = judged.correct
        self.answered[1, rows] = judged.answered

    def _certain(self, oracle: Oracle, rows: Tensor, at: Tensor, grad: Tensor) -> Tensor:
        """Return which examples have a zero gradient at `at` because nothing within the threat changes the answer."""
        x, threat = self._x[rows], self._cell.threat

        def reach(images: Tensor, direction: Tensor) -> Tensor:
            return project(images + float(threat.eps) * direction, images, threat)

        ids = [self._shard.ids[row] for row in rows.tolist()]
        stream = Stream.of(ids, self._cell.seed, self._shard.dataset, "guard", device=rows.device)
        noise = 2 * stream.uniform(*x.shape[1:]) - 1
        return certain(oracle.logits, reach, x, at, self._y[rows], grad, noise)

    def draw(self, rows: Tensor) -> Tensor:
        ids = [self._shard.ids[row] for row in rows.tolist()]
        return Stream.of(ids, self._cell.seed, self._shard.dataset, "audit", device=rows.device).uniform(1)[:, 0]

    def evidence(self, sampled: int, escalated: int) -> Evidence:
        borderline = () if self._cell.defense.stochastic else tuple(self._borderline.nonzero().flatten().tolist())
        return Evidence(
            self._silent,
            int(self._nonfinite.sum()),
            borderline,
            sampled=sampled,
            escalated=escalated,
            unable=tuple(self._unable),
        )

    @property
    def ledger(self) -> Ledger:
        forwards, backwards, _ = self._passes.tolist()
        return Ledger(self._components, tuple(forwards), tuple(backwards))

    @property
    def cost(self) -> Cost:
        return sum((part.cost for part in self._components.values()), Cost())

    def _book(self, label: str, oracle: Oracle, rows: Tensor, broken: int) -> None:
        passes = torch.stack([oracle.forwards, oracle.backwards, oracle.wasted])
        self._passes[:, rows.cpu()] += passes
        part = Component(Cost(*passes.sum(1).tolist()), len(rows), broken)
        self._components[label] = self._components.get(label, Component()) + part


def stand_in(search_models: SearchModels, stage: Stage) -> nn.Module | None:
    """Return the network in a format that an attack may search in; `None` for the defense as given.

    Random search depends on gains that bfloat16 rounds away; an attack that follows a gradient does not.
    """
    if stage.ref.access == "decision":
        return None
    bears = traits_of(stage.attack).bears(stage.ref.access)
    return {"any": search_models.search, "float32": search_models.float32, "as given": None}[bears]


def _patience(search_models: SearchModels, stage: Stage, threat: ThreatModel) -> int:
    """Return the queries between two looks at an attack's successes.

    It is 1 for an attack that walks along the boundary and needs to know on which side it is, and for a
    non-Lp attack, whose proof must belong to the point it returns.
    """
    return search_models.every if traits_of(stage.attack).follows and threat.is_lp else 1


def _lead(logits: Tensor, y: Tensor) -> Tensor:
    """Return the logit of the true class minus the log-sum-exp of the others, `[B]`."""
    true = logits.gather(1, y[:, None]).squeeze(1)
    return true - logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)


def _shifted(cell: Cell, model: nn.Module, shift: Any, shard: Examples, x: Tensor, y: Tensor) -> tuple[Done, Kept]:  # noqa: ANN401  (it has `images`)
    """Judge the same examples after a shift of the data, without an attack; those wrong before are judged, too."""
    moved = torch.from_numpy(shift.images(shard, int(cell.threat.eps))).to(x.device)
    verify(x, moved, cell.threat)
    scope = (cell.seed, shard.digest)
    clean = judge(model, x, y, cell.draws, (*scope, "clean"))
    judged = judge(model, moved, y, cell.draws, (*scope, "judge"))
    borderline = () if cell.defense.stochastic else tuple(judged.borderline.nonzero().flatten().tolist())
    evidence = Evidence(0, int(judged.nonfinite.sum()), borderline)
    verdicts = Verdicts(cell.draws, _as_counts(clean.correct), _as_counts(judged.correct))
    return Done(verdicts, Cost(), evidence), _kept(moved, clean.answered, judged.answered)


def _kept(x_adv: Tensor, clean: Tensor, adversarial: Tensor) -> Kept:
    return Kept(x_adv.cpu().numpy(), clean.cpu().numpy(), adversarial.cpu().numpy())


def propose(attack: Attack, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, stream: Stream) -> Tensor:
    """Run the attack and check its proposal against the threat model."""
    # Copies, because an attack that changes its input in place would move the reference of the check.
    given, labels = x.clone(), y.clone()
    if threat.is_lp:
        x_adv = oracle.proven(attack(oracle, given, labels, threat, stream=stream).detach())
    else:
        x_adv = _with_proof(attack, oracle, given, labels, threat, stream).detach()
    verify(x, x_adv, threat)
    return x_adv


def _with_proof(attack: Attack, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, stream: Stream) -> Tensor:
    """Run a non-Lp attack and check its proof: the parameters its examples were rendered from (rule V07)."""
    if not proves(attack):
        raise Violation(f"V07: the attack brings no proof that its examples are within {threat}")
    x_adv, proof = attack.propose(oracle, x.clone(), y, threat, stream=stream)
    faults = attack.violations(x, x_adv, proof, threat)
    if faults:
        raise Violation(f"V07: {'; '.join(faults)}")
    return x_adv


@torch.no_grad()
def judge(model: nn.Module, x: Tensor, y: Tensor, draws: int, scope: tuple[object, ...]) -> Judgement:
    """Query the model `draws` times about each image, seeded by `scope` and the number of the draw."""
    correct = torch.zeros_like(y)
    nonfinite = torch.zeros_like(y, dtype=torch.bool)
    borderline = torch.zeros_like(nonfinite)
    answered = torch.full_like(y, -1)
    for draw in range(draws):
        seed_everything(*scope, draw)
        logits = model(x.clone())
        check_logits(logits, len(x))
        if draw == 0:
            answered = predicted(logits)
        correct += ~misclassified(logits, y)
        nonfinite |= ~logits.isfinite().all(1)
        borderline |= margin(logits, y).abs() < BORDERLINE
    return Judgement(correct, nonfinite, borderline, answered)


def _distances(
    x: Tensor, x_adv: Tensor, clean: Tensor, adversarial: Tensor, threat: ThreatModel
) -> tuple[float | None, ...]:
    """Return the distance at which each example broke, to 7 digits: accuracy at any smaller eps follows from it."""
    far = distance(x_adv, x, threat.family)
    found = torch.where(clean == 0, 0.0, torch.where(adversarial == 0, far, torch.inf))
    return tuple(None if value == float("inf") else float(f"{value:.7g}") for value in found.tolist())


def _as_counts(correct: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return correct.cpu().numpy().astype(np.uint8)
