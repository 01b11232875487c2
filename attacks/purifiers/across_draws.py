"""Gradient ascent that averages over the draws of a stochastic defense across its steps, not within each of them.

Expectation over transformation (EOT; Athalye et al., ICML 2018, arXiv:1802.00420) averages the gradient over 20
draws before every step. But consecutive steps are close to each other, so the momentum of single draws averages
over the last 1 / (1 - momentum) of them as well, and each step costs one draw instead of 20. It is what momentum
does in stochastic optimization, with a step size that decays so that the noise does, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.attacks.search import Unbroken, require_at_least, require_family, step_along
from bench.errors import BenchError, unknown
from bench.oracle.answers import margin
from bench.oracle.direct import on_models
from bench.oracle.geometry import per_row, project, random_in_ball
from bench.oracle.oracle import CONFIRMING_DRAWS, EVIDENCE_DRAWS, Oracle
from bench.oracle.randomness import Stream
from bench.threats import LP_FAMILIES, ThreatModel

# The step size falls geometrically from the first of these shares of eps to the second.
_FIRST, _LAST = 0.25, 0.01
# The weight of the margin beside its sigmoid: where the sigmoid is flat in float32, the loss keeps a slope.
_SLOPE = 1e-3
# An example whose gradients agree in sign with their mean in fewer entries than this share takes more draws for each.
# Pure noise gives one half.
_SETTLED = 0.51
_MOST = 16
# Steps between two looks at which examples need more draws, and which may be broken.
_LOOK = 20
# Above this share of wrong draws of late an example is asked for evidence.
_NEARLY_ALL = 0.95
# Below this error, and as near to one, another trajectory has little to win.
_SETTLED_ERROR = 0.02
# Steps along either gradient before one is chosen, and draws in which points are compared. BPDA's has to raise the
# error by so much more, where the true one raises it by next to nothing.
_TRIAL, _COMPARED = 5, 10
_CLEARLY, _NOTHING = 0.1, 0.01
# Weight of the past in the running means along a trajectory.
_FADING = 0.9


def error_rate(logits: Tensor, y: Tensor) -> Tensor:
    """Return sigmoid(margin), a smooth error: its mean over the draws is near the share of wrong ones.

    A draw counts by how near it is to the boundary. One that is wrong by far, or right by far, has no say in the
    direction of the step: cross-entropy would follow the draws that are furthest from being wrong.
    """
    value = margin(logits, y)
    return value.sigmoid() + _SLOPE * value


_LOSSES = {"error": error_rate, **LOSSES}


@dataclass(frozen=True)
class AcrossDraws:
    """PGD on single draws with momentum across them.

    1. The first trajectory begins at the image, a later one at a random point of the ball. Where the defense declares
       a BPDA variant (`bench.oracle.variants`), a few steps along either gradient are compared in the same draws.
       Where the true one gains nothing and the stand-in's does, the example goes on along the stand-in's.
    2. It ascends the loss in steps that decay geometrically. Every example has the same budget of draws. One whose
       gradients have no more in common with their mean than noise would have takes more draws per gradient and
       fewer steps.
    3. Every few steps an example that was wrong in nearly all draws of late is asked for evidence: once
       `EVIDENCE_DRAWS` draws and those that confirm them are all wrong, it is dropped.
    4. A later trajectory is for the examples that are neither broken nor right in nearly every draw. The ends are
       compared in the same draws, which the judge never sees.

    Attributes:
        budget: draws of gradients for each example and trajectory.
        draws: draws per gradient at the beginning.
        momentum: weight of the past in the mean of gradients that gives the direction.
        n_restarts: trajectories.
        loss: `"error"` (`error_rate`), or one of those of PGD. It gives the direction; what two points are compared by
            is always the error.
    """

    budget: int = 150
    draws: int = 1
    momentum: float = 0.95
    n_restarts: int = 2
    loss: str = "error"

    def __post_init__(self) -> None:
        require_at_least(self, 1, "budget", "draws", "n_restarts")
        if not 0 <= self.momentum < 1:
            raise BenchError(f"AcrossDraws: momentum={self.momentum} must be from 0 to below 1")
        if self.loss not in _LOSSES:
            raise unknown("loss", self.loss, _LOSSES)

    def cost(self) -> tuple[int, int]:
        """Return the most forwards and backwards per example; `looking` comes on top."""
        # The last query may go beyond the budget, and both gradients are tried whatever it is.
        longest = max(self.budget - 1, _TRIAL * self.draws) + max(_MOST, self.draws)
        backwards = self.n_restarts * (longest + _TRIAL * self.draws)
        # Three points are compared for each trajectory, and its end with that of those before.
        compared = _COMPARED * (3 * self.n_restarts + 2 * self.n_restarts - 1)
        return backwards + compared, backwards

    def looking(self) -> int:
        """Return the most forwards per example that look for evidence of a success, and confirm it in fresh draws."""
        looks = self.budget // (_LOOK * self.draws) + 1
        # Queries of so many draws that they are evidence themselves; most of them where draws double whenever they may.
        spent = queries = confirmed = 0
        draws = self.draws
        while spent < self.budget:
            spent += draws
            queries += 1
            confirmed += draws >= EVIDENCE_DRAWS
            if queries % _LOOK == 0:
                draws = min(2 * draws, max(_MOST, draws))
        return self.n_restarts * (looks * (EVIDENCE_DRAWS + CONFIRMING_DRAWS) + confirmed * CONFIRMING_DRAWS)

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, LP_FAMILIES)
        rows = torch.arange(len(x), device=x.device)
        held = x.clone()
        # One oracle for all steps: each new one would begin with the same draws again.
        sources = (oracle, oracle.through("bpda")) if "bpda" in oracle.variants else (oracle,)
        for restart in range(self.n_restarts):
            rows = oracle.open(rows)
            if not len(rows):
                break
            uniform = stream.at("start", restart).rows(rows).uniform(*x.shape[1:])
            elsewhere = random_in_ball(x[rows], uniform, threat)
            state = State.at(rows, x[rows], y[rows], elsewhere if restart else x[rows], elsewhere, self.draws)
            found = self._ascend(sources, state, threat)
            held[rows], error = _better(oracle, [found, held[rows]] if restart else [found], y[rows], rows)
            rows = rows[(error > _SETTLED_ERROR) & (error < 1 - _SETTLED_ERROR)]
        return held

    def _ascend(self, sources: Sequence[Oracle], state: State, threat: ThreatModel) -> Tensor:
        """Return the last point of one trajectory of each example, `[B, C, H, W]`.

        `sources` gives the true gradient, and if there are two, the stand-in's.
        """
        oracle, rows = sources[0], state.rows
        if len(sources) > 1:
            self._choose_gradient(sources, state, threat)
        reached = state.x_adv.clone()
        place = torch.empty(oracle.passes.size, dtype=torch.int64, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        queries = 0
        while len(state):
            self._step(sources, state, threat)
            reached[place[state.rows]] = state.x_adv
            queries += 1
            if queries % _LOOK == 0:
                state.ask_for_more()
                _ask_for_evidence(oracle, state)
            state.keep(state.spent < self.budget)
        return reached

    def _step(self, sources: Sequence[Oracle], state: State, threat: ThreatModel) -> None:
        """Move each example once along the mean of its gradients so far."""
        loss, done = _LOSSES[self.loss], (state.spent / max(self.budget - 1, 1)).clamp(max=1)
        grad, wrong = torch.empty_like(state.x), torch.empty_like(state.wrong)
        for draws in torch.unique(state.draws).tolist():
            for stand_in, oracle in enumerate(sources):
                some = ((state.draws == draws) & (state.stand_in == bool(stand_in))).nonzero().squeeze(1)
                if not len(some):
                    continue
                reply = oracle.gradient(state.x_adv[some], state.y[some], loss, state.rows[some], eot=draws)
                grad[some], wrong[some] = reply.grad, reply.success
        state.learn(grad, wrong, self.momentum)
        state.move(threat, _FIRST * (_LAST / _FIRST) ** done)

    def _choose_gradient(self, sources: Sequence[Oracle], state: State, threat: ThreatModel) -> None:
        """Try a few steps along either gradient; each example goes on along the better one, from where it led."""
        start, other = state.x_adv, replace(state, stand_in=torch.ones_like(state.stand_in))
        for trial in (state, other):
            for _ in range(_TRIAL):
                self._step(sources, trial, threat)
        points = [start, state.x_adv, other.x_adv]
        before, true, its = sources[0].compared(points, state.y, error_rate, state.rows, eot=_COMPARED)
        # A stand-in is often faster in the first steps of an honest gradient, and then leads less far.
        state.stand_in = (its > true + _CLEARLY) & (true < before + _NOTHING)
        for name in ("x_adv", "velocity", "agreement", "wrong"):
            own, tried = getattr(state, name), getattr(other, name)
            setattr(state, name, torch.where(per_row(state.stand_in, own), tried, own))


@dataclass
class State(Unbroken):
    """The examples of a trajectory.

    Attributes:
        elsewhere: a random point of the ball, for where the start has no gradient, `[B, C, H, W]`.
        velocity: the running mean of the gradients, `[B, C, H, W]`.
        draws: draws per gradient, int64 `[B]`.
        spent: draws so far, int64 `[B]`.
        agreement: a running mean of the share of entries whose sign the velocity foretold, `[B]`.
        wrong: a running mean of the share of wrong draws, `[B]`.
        stand_in: whether the gradient is that of the BPDA variant, bool `[B]`.
    """

    x: Tensor
    y: Tensor
    x_adv: Tensor
    elsewhere: Tensor
    velocity: Tensor
    draws: Tensor
    spent: Tensor
    agreement: Tensor
    wrong: Tensor
    stand_in: Tensor

    @classmethod
    def at(cls, rows: Tensor, x: Tensor, y: Tensor, start: Tensor, elsewhere: Tensor, draws: int) -> State:
        """Begin at `start`, along the true gradient, with `draws` draws for each."""
        nothing = x.new_zeros(len(rows))
        draws_each, none = torch.full_like(rows, draws), torch.zeros_like(rows)
        true = torch.zeros_like(rows, dtype=torch.bool)
        return cls(rows, x, y, start, elsewhere, torch.zeros_like(x), draws_each, none, nothing + 1, nothing, true)

    def learn(self, grad: Tensor, wrong: Tensor, momentum: float) -> None:
        """Take in an answer: gradients `[B, C, H, W]` and shares of wrong draws `[B]`."""
        grad = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
        same = (grad.sign() == self.velocity.sign()).flatten(1).float().mean(1)
        new = self.spent == 0
        self.agreement = torch.where(new, 1, _FADING * self.agreement + (1 - _FADING) * same)
        self.wrong = torch.where(new, wrong, _FADING * self.wrong + (1 - _FADING) * wrong)
        self.velocity = momentum * self.velocity + (1 - momentum) * grad
        self.spent = self.spent + self.draws

    def move(self, threat: ThreatModel, length: Tensor) -> None:
        """Step `length` `[B]`, in units of eps, along the velocity, and back into the ball.

        Where there was no gradient yet, go elsewhere: a purifier may be flat at clean images and nowhere else.
        """
        step = step_along(self.velocity, self.x_adv, threat, length * float(threat.eps))
        flat = per_row((self.velocity == 0).flatten(1).all(1), self.velocity)
        self.x_adv = torch.where(flat, self.elsewhere, project(self.x_adv + step, self.x, threat))

    def ask_for_more(self) -> None:
        """Double the draws per gradient where the signs of the gradients are not settled."""
        unsettled = self.agreement < _SETTLED
        self.draws = torch.where(unsettled, (2 * self.draws).clamp(max=_MOST), self.draws)
        # A fresh look at the new draws.
        self.agreement = torch.where(unsettled, 1, self.agreement)


def _ask_for_evidence(oracle: Oracle, state: State) -> None:
    """Let the oracle judge examples that were wrong in nearly all draws of late, and drop those it calls broken."""
    some = (state.wrong > _NEARLY_ALL).nonzero().squeeze(1)
    if len(some):
        oracle.wrong_draws(state.x_adv[some], state.y[some], state.rows[some], eot=EVIDENCE_DRAWS)
        state.drop_broken(oracle)


def _better(oracle: Oracle, points: Sequence[Tensor], y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each example the one of several points with the highest error in the same draws, and that error."""
    errors = oracle.compared(points, y, error_rate, rows, eot=_COMPARED)
    best = errors.argmax(0)
    chosen = torch.stack(list(points)).gather(0, best.view(1, -1, 1, 1, 1).expand(1, *points[0].shape))[0]
    return chosen, errors.amax(0)
