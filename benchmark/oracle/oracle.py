"""The oracle: an attack's only way to query a defense, with a ledger of every query.

The oracle keeps attacks honest: it enforces access rights, draws a stochastic defense from other seeds
than the judge does, and calls an example broken only on evidence. It counts forwards and backwards per
example. Expectation over transformation (EOT; Athalye et al., ICML 2018, arXiv:1802.00420) happens
here, so no attack has a loop over draws of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.errors import BenchError, differentiable
from bench.oracle.activations import Activations, Features
from bench.oracle.answers import Gradient, Loss, each_draw, margin, misclassified, predicted
from bench.oracle.confirmation import Successes
from bench.oracle.ledger import Known, Passes
from bench.oracle.randomness import seed_everything
from bench.oracle.variants import SAME_ANSWERS, offered, variant
from bench.types import Defense

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
        defense: the defense under attack.
        size: the number of examples; `rows` below index into them.
        scope: seeds the draws of a stochastic defense during the attack.
        access: `"gradient"`, `"score"` (logits only) or `"decision"` (labels only).
        on_pass: called with the number of examples of every forward, for progress bars.
        fast: the same network in a faster format (`bench.harness.formats`), for queries of the search. A success
            counts only once the defense itself confirms it.
        labels: the true labels `[size]`; without them `fast` answers gradient queries alone.
        every: queries to a deterministic defense between two looks at their successes (`bench.oracle.confirmation`).
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
        # The successes of a stochastic defense are confirmed by fresh draws instead (`_confirmed`).
        every = 1 if defense.stochastic else every
        self._successes = Successes(self._known, None if fast is None else self._forward, labels, every)
        self._calls = 0
        self._on_pass = on_pass

    def draws(self, eot: int) -> int:
        """Return how many draws an EOT of `eot` takes: one where the defense is deterministic."""
        return eot if self.stochastic else 1

    @torch.no_grad()
    def logits(
        self, x: Tensor, rows: Tensor, *, y: Tensor | None = None, eot: int = 1, inside: Tensor | None = None
    ) -> Tensor:
        """Return mean logits `[B, classes]` over the draws, without a gradient: score-based access.

        Args:
            x: images `[B, C, H, W]`.
            rows: the indices of these examples, `[B]`.
            y: labels `[B]`, from an attack that queries inside the threat model only: broken examples are retired.
            eot: draws to average over where the defense is stochastic.
            inside: as for `gradient`.
        """
        if self.access == "decision":
            raise PermissionError("this attack is registered as decision-based and asked for logits")
        # A mean over draws is no evidence that a draw is wrong, so a stochastic defense retires nothing here.
        if self.stochastic:
            return torch.cat([self._draw(x, rows, some) for some in self._portions(eot, len(x))]).mean(0)
        if y is not None:
            return self._successes.weigh(self._forward(x, rows, fast=True), x, y, rows, inside)[0]
        if self._labels is None:
            return self._forward(x, rows)
        return self._successes.corrected(self._forward(x, rows, fast=True), x, self._labels[rows], rows, inside)[0]

    @torch.no_grad()
    def compared(self, points: Sequence[Tensor], y: Tensor, loss: Loss, rows: Tensor, *, eot: int) -> Tensor:
        """Return the mean loss at several points of each example in the same draws, `[points, B]`: score-based access.

        The difference of two points is then free of most of the noise of either (common random numbers), as far as
        the defense draws as many numbers whatever the image. Nothing is judged, and nothing retired.

        Args:
            points: several times images `[B, C, H, W]`.
            y: labels `[B]`.
            loss: per-example loss.
            rows: the indices of these examples, `[B]`.
            eot: draws to average over where the defense is stochastic.
        """
        if self.access == "decision":
            raise PermissionError("this attack is registered as decision-based and asked for logits")
        return torch.stack([self._mean(loss, point, y, rows, eot) for point in points])

    def _mean(self, loss: Loss, x: Tensor, y: Tensor, rows: Tensor, eot: int) -> Tensor:
        with self.rewound():
            drawn = [each_draw(loss, self._draw(x, rows, some), y) for some in self._portions(self.draws(eot), len(x))]
        return torch.cat(drawn).mean(0)

    @contextmanager
    def rewound(self) -> Iterator[None]:
        """Let the queries after this block begin with the draws of those within, if they are as many and as large."""
        calls = self._calls
        try:
            yield
        finally:
            self._calls = calls

    @torch.no_grad()
    def wrong_draws(self, x: Tensor, y: Tensor, rows: Tensor, *, eot: int) -> Tensor:
        """Return the share of wrong draws `[B]`, and retire what is wrong in all of them and in those that confirm it.

        Without a gradient, for attacks that ask for evidence now and then.
        """
        if not self.stochastic:
            logits = self.logits(x, rows, y=y)
            return misclassified(logits, y).float()
        drawn = torch.cat([self._draw(x, rows, some) for some in self._portions(eot, len(x))])
        success = torch.stack([misclassified(logits, y) for logits in drawn]).float().mean(0)
        return self._evident(success, x, y, rows, eot, torch.ones_like(rows, dtype=torch.bool))

    @torch.no_grad()
    def labels(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return predicted classes `[B]` of one draw, -1 where the answer is not finite: decision-based access."""
        return predicted(self._forward(x, rows))

    def gradient(
        self, x: Tensor, y: Tensor, loss: Loss, rows: Tensor, *, eot: int = 1, inside: Tensor | None = None
    ) -> Gradient:
        """Return the gradient of the expected loss at `x`, through the whole defense.

        Args:
            x: images `[B, C, H, W]` inside the threat model.
            y: labels `[B]`.
            loss: per-example loss to ascend.
            rows: the indices of these examples, `[B]`.
            eot: draws to average over where the defense is stochastic.
            inside: which images are inside the threat model, bool `[B]`, where an attack knows that some
                are not; the others break nothing.
        """
        (reply,) = self.gradients(x, y, (loss,), rows, eot=eot, inside=inside)
        return reply

    def gradients(
        self, x: Tensor, y: Tensor, losses: Sequence[Loss], rows: Tensor, *, eot: int = 1, inside: Tensor | None = None
    ) -> list[Gradient]:
        """Return the gradients of several losses at the same images, as `gradient` does for one.

        A deterministic defense takes one forward for all losses and a backward for each; a stochastic one
        draws anew for each loss.
        """
        if self.access != "gradient":
            raise PermissionError(f"this attack is registered as {self.access}-based and asked for a gradient")
        x = x.detach().requires_grad_()
        if not self.stochastic:
            return self._single(x, y, losses, rows, inside)
        within = torch.ones_like(rows, dtype=torch.bool) if inside is None else inside
        return [self._expected(x, y, loss, rows, eot, within) for loss in losses]

    def gradient_of_each(
        self, x: Tensor, y: Tensor, loss: Loss, rows: Tensor, *, eot: int, inside: Tensor | None = None
    ) -> tuple[Gradient, Gradient]:
        """Return the answer of each draw of one query, and what `gradient` returns: their mean, successes confirmed.

        For methods that choose among draws. Arguments and passes are those of `gradient`; memory for the
        gradients grows with `eot`. Every field of the first answer is `[draws, B, ...]`, and its `success` is 0 or 1.
        """
        if not self.stochastic:
            reply = self.gradient(x, y, loss, rows, inside=inside)
            return Gradient(*(field[None] for field in reply)), reply
        if self.access != "gradient":
            raise PermissionError(f"this attack is registered as {self.access}-based and asked for a gradient")
        parts = [self._apart(x.detach(), y, loss, rows, some) for some in self._portions(eot, len(x))]
        every = Gradient(*(torch.cat(fields) for fields in zip(*parts, strict=True)))
        within = torch.ones_like(rows, dtype=torch.bool) if inside is None else inside
        mean = Gradient(*(field.mean(0) for field in every))
        return every, self._weighed(mean, x, y, rows, eot, within)

    def _apart(self, x: Tensor, y: Tensor, loss: Loss, rows: Tensor, some: int) -> Gradient:
        """Query a stochastic defense in one forward of `some` draws; a copy of the images for each keeps them apart."""
        copies, whose, labels = x.repeat(some, 1, 1, 1).requires_grad_(), rows.repeat(some), y.repeat(some)
        with torch.enable_grad(), differentiable():
            logits = self._forward(copies, whose, fast=True)
            values = each_draw(loss, logits.view(some, len(x), logits.shape[1]), y).flatten()
            grad = self._backward(values, copies, whose)
        logits = logits.detach()
        wrong, soft = misclassified(logits, labels).float(), margin(logits, labels).sigmoid()
        answers = (values.detach(), grad, logits, wrong, soft)
        return Gradient(*(each.view(some, len(x), *each.shape[1:]) for each in answers))

    def _single(
        self, x: Tensor, y: Tensor, losses: Sequence[Loss], rows: Tensor, within: Tensor | None
    ) -> list[Gradient]:
        """Query a deterministic defense."""
        with torch.enable_grad(), differentiable():
            logits = self._forward(x, rows, fast=True)
            values = [loss(logits, y) for loss in losses]
            # The last backward frees the graph.
            grads = [self._backward(value, x, rows, keep=value is not values[-1]) for value in values]
        logits, wrong = self._successes.weigh(logits.detach(), x.detach(), y, rows, within)
        success, softness = wrong.float(), margin(logits, y).sigmoid()
        return [
            Gradient(value.detach(), grad, logits, success, softness) for value, grad in zip(values, grads, strict=True)
        ]

    def _expected(self, x: Tensor, y: Tensor, loss: Loss, rows: Tensor, eot: int, within: Tensor) -> Gradient:
        """Query a stochastic defense, and confirm its successes where there are enough draws to suspect any."""
        return self._weighed(self._averaged(x, y, loss, rows, eot), x, y, rows, eot, within)

    def _weighed(self, reply: Gradient, x: Tensor, y: Tensor, rows: Tensor, eot: int, within: Tensor) -> Gradient:
        """Return an answer of `eot` draws, its successes confirmed."""
        return reply._replace(success=self._evident(reply.success, x.detach(), y, rows, eot, within))

    def _evident(self, success: Tensor, x: Tensor, y: Tensor, rows: Tensor, eot: int, within: Tensor) -> Tensor:
        """Return the shares of wrong draws, confirmed and retired where there are enough draws to suspect any."""
        if eot < EVIDENCE_DRAWS:
            return success
        success = self._confirmed(x, y, rows, success, eot, within)
        if self._successes.known is not None:
            self._known.add(rows[(success == 1) & within])
        return success

    def _averaged(self, x: Tensor, y: Tensor, loss: Loss, rows: Tensor, eot: int) -> Gradient:
        """Query a stochastic defense `eot` times and average the answers."""
        total = torch.zeros_like(x)
        losses, answers = [], []
        for some in self._portions(eot, len(x)):
            with torch.enable_grad(), differentiable():
                logits = self._draw(x, rows, some, fast=True)
                values = each_draw(loss, logits, y)
                # One portion's graph at a time: memory does not grow with `eot`.
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
        """Return the shares of wrong draws; where all were wrong, draw afresh until one is right."""
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
            # A few at a time, because one right draw settles it and most suspects fall early.
            open_ = open_[again == _CONFIRMING_AT_A_TIME]
        return wrong / drawn

    def features(self, x: Tensor, rows: Tensor, network: Activations | None = None) -> list[Tensor]:
        """Return the activations at images `[B, C, H, W]`, each `[B, c, h, w]`; differentiable where `x` is.

        Every pass is booked, a backward when it happens. Nothing is judged: the images may be anywhere.

        Args:
            x: images `[B, C, H, W]`.
            rows: the indices of these examples, `[B]`.
            network: the source of the activations; by default the defense itself (`ruler`).
        """
        if self.access != "gradient":
            raise PermissionError(f"this attack is registered as {self.access}-based and asked for activations")
        if x.requires_grad:
            # A tensor of its own, so that the hook counts the backwards of this call and not of others at `x`.
            x = x.view_as(x)

            def book(_grad: Tensor) -> None:
                self._book("backwards", rows)

            x.register_hook(book)  # type: ignore[no-untyped-call]
        self._book("forwards", rows)
        if self._on_pass is not None:
            self._on_pass(len(x))
        return (network or self.ruler())(x)

    def ruler(self) -> Features:
        """Return the defense's own activations, for distances that do not change from one forward to the next.

        For a purifier these are the activations of the classifier behind it. A stochastic defense that declares
        no such classifier gives the activations of the defense without its random transform.

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

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that `through` offers, in the order of `bench.oracle.variants.VARIANTS`."""
        return offered(self._defense)

    def through(self, name: str) -> Oracle:
        """Return an oracle of a variant of the defense (`bench.oracle.variants`) with the same examples and ledger.

        Where the variant's answers are not the defense's own (`base`, `derandomized`), no example
        ever counts as broken: the judge decides whether a point transfers.

        Raises:
            BenchError: the defense does not declare what the variant needs.
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
    def caught_up(self) -> bool:
        """Return whether a look followed the last query; if not, `open` makes the host wait for the GPU."""
        return self._successes.caught_up

    @property
    def breaks(self) -> int:
        """Return a number that grows whenever examples break: until it grows, `open` returns the same rows."""
        return self._known.breaks

    def open(self, rows: Tensor) -> Tensor:
        """Return those of `rows` that the queries made so far have not broken."""
        self._successes.look()
        return rows[~self._known.broken.to(rows.device)[rows]]

    @property
    def broken(self) -> Tensor:
        """Return which examples the queries made so far have broken, bool `[size]`, on the CPU."""
        self._successes.look()
        return self._known.broken.clone()

    def proven(self, x_adv: Tensor) -> Tensor:
        """Return the proposals `[size, C, H, W]`, replaced by points that the defense itself got wrong where known."""
        return self._successes.proven(x_adv)

    @property
    def forwards(self) -> Tensor:
        """Return the forwards per example, int64 `[size]`, on the CPU."""
        return self.passes.of("forwards")

    @property
    def backwards(self) -> Tensor:
        """Return the backwards per example, int64 `[size]`, on the CPU."""
        return self.passes.of("backwards")

    @property
    def wasted(self) -> Tensor:
        """Return the passes spent on examples already known to be broken, int64 `[size]`, on the CPU."""
        return self.passes.wasted

    def _portions(self, count: int, size: int) -> list[int]:
        """Return how many of `count` draws of `size` rows go into each forward."""
        most = max(1, self._rows_at_once // max(size, 1))
        return [min(most, count - done) for done in range(0, count, most)]

    def _draw(self, x: Tensor, rows: Tensor, some: int, *, fast: bool = False) -> Tensor:
        """Return the logits of `some` draws in one forward, `[some, B, classes]`."""
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
        # A channels_last network returns a channels_last gradient; adding it to contiguous images would be slow.
        return grad.contiguous()

    def _book(self, kind: str, rows: Tensor, passes: int = 1) -> None:
        self.passes.book(kind, rows, passes, self._known)

    def _run(self, x: Tensor, *, fast: bool = False) -> Tensor:
        if self.stochastic:
            # A seed per query: repeatable, and no two queries of an attack share their draws.
            self._calls += 1
            seed_everything(*self.scope, "query", self._calls)
        if self._on_pass is not None:
            self._on_pass(len(x))
        output: Tensor = self._fast(x) if fast and self._fast is not None else self._model(x)
        return _in_float32(output)


def _in_float32(logits: Tensor) -> Tensor:
    """Convert logits to float32, in which attacks compute.

    float64 logits are centred first: far from zero they would tie in float32, and an attack would give up as broken an
    example that the judge calls robust. None of our losses changes when a constant is added to a row.
    """
    if logits.dtype == torch.float64:
        logits = logits - logits.detach().amax(1, keepdim=True)
    return logits.float() if logits.is_floating_point() else logits
