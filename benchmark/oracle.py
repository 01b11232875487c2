"""How an attack sees a defense: the only way to query it, and the ledger of every query.

The oracle keeps attacks honest (access rights, draws of a stochastic defense that are disjoint from
the ones that judge, evidence before an example is called broken) and keeps count: forwards and
backwards per example. Expectation over transformation (EOT; Athalye et al., ICML 2018,
arXiv:1802.00420) happens here, so no attack has a loop over draws of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bench.answers import Gradient, Loss, each_draw, margin, misclassified
from bench.errors import BenchError, differentiable
from bench.features import Activations, Features
from bench.record import Known, Passes
from bench.seeding import seed_everything
from bench.successes import Successes
from bench.types import Defense
from bench.variants import SAME_ANSWERS, variant

# A stochastic defense must be wrong in all of at least this many draws of one query before an example
# is even suspected to be broken.
EVIDENCE_DRAWS = 10

# Then so many fresh draws at the same point must all be wrong, too. An attack asks hundreds of times,
# and stopping at the luckiest answer flatters the defense: at a true error rate of 90 % one query of 20
# draws in eight is all wrong; with 50 more, one in 1,600 is.
CONFIRMING_DRAWS = 50
_CONFIRMING_AT_A_TIME = 10


class Oracle:
    """The defense as an attack may see it, for one batch of examples.

    Args:
        defense: what is attacked.
        size: the number of examples; `rows` below index into them.
        scope: what seeds the draws of a stochastic defense during the attack.
        access: `"gradient"`, `"score"` (logits only) or `"decision"` (labels only).
        on_pass: called with the number of examples of every forward, for progress bars.
        fast: the same network in a faster format (`bench.formats`), for queries of the search. What it
            calls a success the defense itself is asked about before it counts.
        labels: the true labels `[size]`; without them `fast` answers gradient queries alone.
        every: queries of a deterministic defense between two looks at what they broke (`bench.successes`).
        rows_at_once: draws of one query share a forward as long as it holds no more rows than this;
            only for defenses that draw their random numbers per row.

    Attributes:
        passes: forwards and backwards per example.
    """

    def __init__(
        self,
        defense: Defense,
        size: int,
        *,
        scope: tuple[object, ...] = (),
        access: str = "gradient",
        on_pass: Callable[[int], None] | None = None,
        fast: nn.Module | None = None,
        labels: Tensor | None = None,
        rows_at_once: int = 1,
        every: int = 1,
    ) -> None:
        self.stochastic = defense.stochastic
        self.access = access
        self.scope = scope
        self.passes = Passes(size)
        self._fast = fast
        self._labels = labels
        self._rows_at_once = rows_at_once
        self._defense = defense
        self._model = defense.model
        self._known = Known(size)
        every = 1 if defense.stochastic else every
        self._successes = Successes(self._known, None if fast is None else self._forward, labels, every)
        self._calls = 0
        self._on_pass = on_pass

    def draws(self, eot: int) -> int:
        """How many draws an EOT of `eot` takes: one where the defense is deterministic."""
        return eot if self.stochastic else 1

    @torch.no_grad()
    def logits(
        self, x: Tensor, rows: Tensor, *, y: Tensor | None = None, eot: int = 1, inside: Tensor | None = None
    ) -> Tensor:
        """Mean logits `[B, classes]` over the draws, without a gradient: score-based access.

        Args:
            x: images `[B, C, H, W]`.
            rows: which examples these are, `[B]`.
            y: labels `[B]`, from an attack that asks inside the threat model alone: what is broken is retired.
            eot: draws to average over where the defense is stochastic.
            inside: as for `gradient`.
        """
        if self.access == "decision":
            raise PermissionError("this attack is registered as decision-based and asked for logits")
        if self.stochastic:
            return torch.cat([self._draw(x, rows, some) for some in self._portions(eot, len(x))]).mean(0)
        if y is not None:
            return self._successes.weigh(self._forward(x, rows, fast=True), x, y, rows, inside)[0]
        if self._labels is None:
            return self._forward(x, rows)
        return self._successes.corrected(self._forward(x, rows, fast=True), x, self._labels[rows], rows, inside)[0]

    @torch.no_grad()
    def labels(self, x: Tensor, rows: Tensor) -> Tensor:
        """Predicted classes `[B]` of one draw, -1 where the answer is not finite: decision-based access."""
        logits = self._forward(x, rows)
        return torch.where(logits.isfinite().all(1), logits.argmax(1), -1)

    def gradient(
        self, x: Tensor, y: Tensor, loss: Loss, rows: Tensor, *, eot: int = 1, inside: Tensor | None = None
    ) -> Gradient:
        """The gradient of the expected loss at `x`, through the whole defense.

        Args:
            x: images `[B, C, H, W]` inside the threat model.
            y: labels `[B]`.
            loss: per-example loss to ascend.
            rows: which examples these are, `[B]`.
            eot: draws to average over where the defense is stochastic.
            inside: which images are inside the threat model, bool `[B]`, where an attack knows that some
                are not; those break nothing.
        """
        (reply,) = self.gradients(x, y, (loss,), rows, eot=eot, inside=inside)
        return reply

    def gradients(
        self, x: Tensor, y: Tensor, losses: Sequence[Loss], rows: Tensor, *, eot: int = 1, inside: Tensor | None = None
    ) -> list[Gradient]:
        """The gradients of several losses at the same images, as `gradient` gives them one by one.

        A deterministic defense is asked once, and every loss takes a backward of its own; a stochastic
        one draws anew for each loss.
        """
        if self.access != "gradient":
            raise PermissionError(f"this attack is registered as {self.access}-based and asked for a gradient")
        x = x.detach().requires_grad_()
        if not self.stochastic:
            return self._single(x, y, losses, rows, inside)
        within = torch.ones_like(rows, dtype=torch.bool) if inside is None else inside
        return [self._expected(x, y, loss, rows, eot, within) for loss in losses]

    def _single(
        self, x: Tensor, y: Tensor, losses: Sequence[Loss], rows: Tensor, within: Tensor | None
    ) -> list[Gradient]:
        """The answer of a deterministic defense."""
        with torch.enable_grad(), differentiable():
            logits = self._forward(x, rows, fast=True)
            values = [loss(logits, y) for loss in losses]
            grads = [self._backward(value, x, rows, keep=value is not values[-1]) for value in values]
        logits, wrong = self._successes.weigh(logits.detach(), x.detach(), y, rows, within)
        success, softness = wrong.float(), margin(logits, y).sigmoid()
        return [
            Gradient(value.detach(), grad, logits, success, softness) for value, grad in zip(values, grads, strict=True)
        ]

    def _expected(self, x: Tensor, y: Tensor, loss: Loss, rows: Tensor, eot: int, within: Tensor) -> Gradient:
        """The answer of a stochastic defense, its successes confirmed where there are draws enough to suspect them."""
        reply = self._averaged(x, y, loss, rows, eot)
        if eot < EVIDENCE_DRAWS:
            return reply
        reply = reply._replace(success=self._confirmed(x.detach(), y, rows, reply.success, eot, within))
        if self._successes.known is not None:
            self._known.add(rows[(reply.success == 1) & within])
        return reply

    def _averaged(self, x: Tensor, y: Tensor, loss: Loss, rows: Tensor, eot: int) -> Gradient:
        """The mean answer of a stochastic defense over `eot` draws."""
        total = torch.zeros_like(x)
        losses, answers = [], []
        for some in self._portions(eot, len(x)):
            with torch.enable_grad(), differentiable():
                logits = self._draw(x, rows, some, fast=True)
                values = each_draw(loss, logits, y)
                total += self._backward(values, x, rows, some)
            losses.append(values.detach())
            answers.append(logits.detach())
        drawn = torch.cat(answers)
        every, labels = drawn.flatten(0, 1), y.repeat(eot)
        wrong, soft = misclassified(every, labels).float(), margin(every, labels).sigmoid()
        shares = (each.view(eot, -1).mean(0) for each in (wrong, soft))
        return Gradient(torch.cat(losses).mean(0), total / eot, drawn.mean(0), *shares)

    @torch.no_grad()
    def _confirmed(self, x: Tensor, y: Tensor, rows: Tensor, success: Tensor, count: int, within: Tensor) -> Tensor:
        """The shares of wrong draws, those of 1 held against fresh draws until one of them is right."""
        wrong, drawn = success * count, torch.full_like(success, count)
        open_ = ((success == 1) & within).nonzero().squeeze(1)
        for _ in range(CONFIRMING_DRAWS // _CONFIRMING_AT_A_TIME):
            if not len(open_):
                break
            again = sum(
                torch.stack([misclassified(each, y[open_]) for each in self._draw(x[open_], rows[open_], some)]).sum(0)
                for some in self._portions(_CONFIRMING_AT_A_TIME, len(open_))
            )
            wrong[open_] += again
            drawn[open_] += _CONFIRMING_AT_A_TIME
            open_ = open_[again == _CONFIRMING_AT_A_TIME]
        return wrong / drawn

    def features(self, x: Tensor, rows: Tensor, network: Activations | None = None) -> list[Tensor]:
        """The activations at images `[B, C, H, W]`, each `[B, c, h, w]`; differentiable where `x` is.

        Every pass is booked, a backward when it happens. Nothing is judged: the images may be anywhere.

        Args:
            x: images `[B, C, H, W]`.
            rows: which examples these are, `[B]`.
            network: what to take the activations from; the defense's own (`ruler`) by default.
        """
        if self.access != "gradient":
            raise PermissionError(f"this attack is registered as {self.access}-based and asked for activations")
        if x.requires_grad:
            x = x.view_as(x)

            def book(_grad: Tensor) -> None:
                self._book("backwards", rows)

            x.register_hook(book)  # type: ignore[no-untyped-call]
        self._book("forwards", rows)
        if self._on_pass is not None:
            self._on_pass(len(x))
        return (network or self.ruler())(x)

    def ruler(self) -> Features:
        """The defense's own activations, for distances that may not change from one forward to the next.

        Behind a purifier they are those of the classifier alone, and where that is not declared and the
        defense is stochastic, those of the defense without its random transform.

        Raises:
            BenchError: the defense is stochastic and declares neither.
        """
        if self._defense.base is not None:
            return Features(variant(self._defense, "base").model)
        if not self.stochastic:
            return Features(self._model)
        if self._defense.derandomized is not None:
            return Features(variant(self._defense, "derandomized").model)
        raise BenchError(
            "this defense is stochastic, and so are distances between its activations: "
            "declare Defense.base, the classifier behind the purifier"
        )

    def through(self, name: str) -> Oracle:
        """The same examples seen through a variant of the defense (`bench.variants`), on one ledger.

        Where the variant's answers are not the defense's own (`base`, `derandomized`), no example
        ever counts as broken: whether a point transfers is for the judge to say.

        Raises:
            BenchError: the defense does not declare what the variant takes.
        """
        other = Oracle(
            variant(self._defense, name),
            self.passes.size,
            scope=(*self.scope, name),
            access=self.access,
            on_pass=self._on_pass,
        )
        other.passes = self.passes
        if name in SAME_ANSWERS:
            other._known = other._successes.known = self._known
        else:
            other._successes.known = None
        return other

    @property
    def due(self) -> bool:
        """Whether all queries have been looked at; if not, `open` makes the host wait for them."""
        return self._successes.due

    @property
    def breaks(self) -> int:
        """A number that grows whenever examples are found broken: while it stays, `open` has nothing new to say."""
        return self._known.breaks

    def open(self, rows: Tensor) -> Tensor:
        """The rows that are not broken yet on the evidence of the queries made so far."""
        self._successes.look()
        return rows[~self._known.broken.to(rows.device)[rows]]

    @property
    def broken(self) -> Tensor:
        """Which rows the queries made so far have shown to be broken, bool `[size]`, on the CPU."""
        self._successes.look()
        return self._known.broken.clone()

    def proven(self, x_adv: Tensor) -> Tensor:
        """The proposals `[size, C, H, W]`, with points that the defense itself got wrong in place of others."""
        return self._successes.proven(x_adv)

    @property
    def forwards(self) -> Tensor:
        """Per example, int64 `[size]`, on the CPU."""
        return self.passes.of("forwards")

    @property
    def backwards(self) -> Tensor:
        """Per example, int64 `[size]`, on the CPU."""
        return self.passes.of("backwards")

    @property
    def wasted(self) -> Tensor:
        """Passes, forward or backward, spent on an example already known to be broken, int64 `[size]`, on the CPU."""
        return self.passes.wasted

    def module(self) -> nn.Module:
        """The defense as a plain module, for attacks of other libraries; its passes are booked evenly over all rows."""
        from bench.counted import Counted

        return Counted(self)

    def _portions(self, count: int, size: int) -> list[int]:
        """How many of `count` draws of `size` rows go into each forward."""
        most = max(1, self._rows_at_once // max(size, 1))
        return [min(most, count - done) for done in range(0, count, most)]

    def _draw(self, x: Tensor, rows: Tensor, some: int, *, fast: bool = False) -> Tensor:
        """The logits of `some` draws in one forward, `[some, B, classes]`."""
        if some == 1:
            return self._forward(x, rows, fast=fast)[None]
        self._book("forwards", rows, some)
        logits = self._run(x.repeat(some, 1, 1, 1), fast=fast)
        return logits.view(some, len(x), logits.shape[1])

    def _forward(self, x: Tensor, rows: Tensor, *, fast: bool = False) -> Tensor:
        self._book("forwards", rows)
        return self._run(x, fast=fast)

    def _backward(self, values: Tensor, x: Tensor, rows: Tensor, some: int = 1, *, keep: bool = False) -> Tensor:
        (grad,) = torch.autograd.grad(values.sum(), x, retain_graph=keep)
        self._book("backwards", rows, some)
        # A network with channels last returns its gradient so; whatever meets it then would be slower.
        return grad.contiguous()

    def _book(self, kind: str, rows: Tensor, passes: int = 1) -> None:
        self.passes.book(kind, rows, passes, self._known)

    def _run(self, x: Tensor, *, fast: bool = False) -> Tensor:
        if self.stochastic:
            self._calls += 1
            seed_everything(*self.scope, "query", self._calls)
        if self._on_pass is not None:
            self._on_pass(len(x))
        output: Tensor = self._fast(x) if fast and self._fast is not None else self._model(x)
        return _in_float32(output)


def _in_float32(logits: Tensor) -> Tensor:
    """Logits as attacks compute with them, whatever the network does.

    Those of float64 are centred before: far from zero they would tie in float32, and an example would be let go
    as broken that the judge calls robust. No loss of ours changes by what is common to a row.
    """
    if logits.dtype == torch.float64:
        logits = logits - logits.detach().amax(1, keepdim=True)
    return logits.float() if logits.is_floating_point() else logits
