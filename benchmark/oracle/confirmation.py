"""Confirmation of a search's successes by the defense itself, after every query or, on a GPU, every few."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.oracle.answers import margin, misclassified
from bench.oracle.geometry import per_row
from bench.oracle.ledger import Known

# Below any success, which is from 0 to 1.
_NONE = -1.0


class Successes:
    """The successes of the queries to a deterministic defense.

    A host runs ahead of its GPU until it asks which answers are wrong; then it waits. So on a GPU the clearest success
    of every example is kept on the device, and the host looks at them every few queries only. Until the next look the
    search takes its own answers for true, and spends passes on examples that are broken already. At the look the
    defense itself is asked, and each success it confirms is a proof.

    Args:
        known: records the broken examples; `None` for queries that break none.
        ask: the defense itself, from images and their rows to logits, where another network answers the search.
        labels: the true labels `[size]`; required where `every` is above 1.
        every: queries between two looks; 1 looks after each.
    """

    def __init__(
        self,
        known: Known | None,
        ask: Callable[[Tensor, Tensor], Tensor] | None = None,
        labels: Tensor | None = None,
        every: int = 1,
    ) -> None:
        if every > 1 and labels is None:
            raise ValueError(f"every={every} takes labels: what was broken is asked about again later")
        self.known = known
        self._ask, self._labels, self._every = ask, labels, every
        self._queries = 0
        self._noted: tuple[Tensor, Tensor] | None = None
        self._proofs: list[tuple[Tensor, Tensor]] = []

    @property
    def caught_up(self) -> bool:
        """Return whether a look followed the last query, so that nothing is left to look at."""
        return self._queries % self._every == 0

    @torch.no_grad()
    def weigh(self, logits: Tensor, x: Tensor, y: Tensor, rows: Tensor, within: Tensor | None) -> tuple[Tensor, Tensor]:
        """Record the successes of a query, and return its logits and which of them are wrong, bool `[B]`.

        Where every query is looked at, the defense's own logits replace those of successes.

        Args:
            logits: the answers that the search got, `[B, classes]`.
            x: the images of the query, `[B, C, H, W]`.
            y: their labels `[B]`.
            rows: the indices of these examples, `[B]`.
            within: which images are inside the threat model and can break an example, bool `[B]`; `None` for all.
        """
        if self._every == 1:
            logits, wrong = self.corrected(logits, x, y, rows, within)
            self._retire(rows[_both(wrong, within)])
            return logits, wrong
        wrong = misclassified(logits, y)
        # From 0 to 1 where an answer is wrong within the threat model; one that is not finite is the clearest.
        clear = torch.where(_both(wrong, within), torch.nan_to_num(margin(logits, y).sigmoid(), nan=1.0), _NONE)
        self._note(x, rows, clear)
        self._queries += 1
        if self.caught_up:  # it is time: the look follows this query
            self.look()
        return logits, wrong

    @torch.no_grad()
    def corrected(
        self, logits: Tensor, x: Tensor, y: Tensor, rows: Tensor, within: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits and errors as `weigh` does with a look at each query, but retire nothing."""
        wrong = misclassified(logits, y)
        if self._ask is None:
            return logits, wrong
        # Only successes are asked about: a wrong "still robust" of the faster network costs steps, never a verdict.
        suspects = _both(wrong, within).nonzero().squeeze(1)
        if not len(suspects):
            return logits, wrong
        logits = logits.index_copy(0, suspects, self._ask(x[suspects], rows[suspects]).to(logits.dtype))
        return logits, misclassified(logits, y)

    @torch.no_grad()
    def look(self) -> None:
        """Retire the examples broken since the last look if the defense confirms them; the host waits for the GPU."""
        if self._noted is None:
            return
        points, clearest = self._noted
        self._noted = None
        rows = (clearest > _NONE).nonzero().squeeze(1)
        if self._ask is not None and self._labels is not None and len(rows):
            points = points[rows]
            wrong = misclassified(self._ask(points, rows), self._labels[rows])
            rows, points = rows[wrong], points[wrong]
            self._proofs.append((rows, points))
        self._retire(rows)

    def proven(self, x_adv: Tensor) -> Tensor:
        """Return the proposals `[size, C, H, W]` with every confirmed point in place of the search's own."""
        self.look()
        for rows, points in self._proofs:
            x_adv = x_adv.index_copy(0, rows, points)
        return x_adv

    def _note(self, x: Tensor, rows: Tensor, clear: Tensor) -> None:
        """Keep the clearest success of each example without making the host wait for the device."""
        if self._noted is None:
            assert self._labels is not None  # noqa: S101  (for the type checker)
            size = len(self._labels)
            self._noted = x.new_zeros(size, *x.shape[1:]), clear.new_full((size,), _NONE)
        points, clearest = self._noted
        held = clearest.index_select(0, rows)
        # torch.where over all rows instead of a mask: indexing by a mask needs its count, for which the host waits.
        points[rows] = torch.where(per_row(clear > held, x), x, points.index_select(0, rows))
        clearest[rows] = torch.maximum(clear, held)

    def _retire(self, rows: Tensor) -> None:
        if self.known is not None:
            self.known.add(rows)


def _both(wrong: Tensor, within: Tensor | None) -> Tensor:
    return wrong if within is None else wrong & within
