"""What a search breaks: held against the defense itself, and retired at once or, on a GPU, every few queries."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.answers import margin, misclassified
from bench.geometry import per_row
from bench.record import Known

_NONE = -1.0


class Successes:
    """The successes of the queries to a deterministic defense.

    A host runs ahead of its GPU until it asks which answers are wrong; then it waits. So on a GPU the clearest success
    of every example is noted on the device, and looked at every few queries. Until then the search is believed,
    and a broken example is attacked on, which costs passes; what the defense itself confirms at the look is proof.

    Args:
        known: where broken examples are entered; `None` for queries that break none.
        ask: the defense itself, from images and their rows to logits, where another network answers the search.
        labels: the true labels `[size]`; needed where `every` is above 1.
        every: after so many queries a look is due; 1 looks at each.
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
    def due(self) -> bool:
        """Whether everything up to the last query has been looked at."""
        return self._queries % self._every == 0

    @torch.no_grad()
    def weigh(self, logits: Tensor, x: Tensor, y: Tensor, rows: Tensor, within: Tensor | None) -> tuple[Tensor, Tensor]:
        """The answers to a query, and which are wrong: those of the defense itself wherever a look is due.

        Args:
            logits: what the search was told, `[B, classes]`.
            x: the images asked about, `[B, C, H, W]`.
            y: their labels `[B]`.
            rows: which examples these are, `[B]`.
            within: which images may break something, bool `[B]`; `None` for all.
        """
        if self._every == 1:
            logits, wrong = self.corrected(logits, x, y, rows, within)
            self._retire(rows[_both(wrong, within)])
            return logits, wrong
        wrong = misclassified(logits, y)
        # From 0 to 1 where an answer is wrong within the threat model.
        clear = torch.where(_both(wrong, within), torch.nan_to_num(margin(logits, y).sigmoid(), nan=1.0), _NONE)
        self._note(x, rows, clear)
        self._queries += 1
        if self.due:
            self.look()
        return logits, wrong

    @torch.no_grad()
    def corrected(
        self, logits: Tensor, x: Tensor, y: Tensor, rows: Tensor, within: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As `weigh`, at once, and nothing is retired."""
        wrong = misclassified(logits, y)
        if self._ask is None:
            return logits, wrong
        suspects = _both(wrong, within).nonzero().squeeze(1)
        if not len(suspects):
            return logits, wrong
        logits = logits.index_copy(0, suspects, self._ask(x[suspects], rows[suspects]).to(logits.dtype))
        return logits, misclassified(logits, y)

    @torch.no_grad()
    def look(self) -> None:
        """Retire what was broken since the last look, once the defense itself says so; the host waits."""
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
        """The proposals `[size, C, H, W]`, with the proofs in place of points that the search was only believed."""
        self.look()
        for rows, points in self._proofs:
            x_adv = x_adv.index_copy(0, rows, points)
        return x_adv

    def _note(self, x: Tensor, rows: Tensor, clear: Tensor) -> None:
        """Keep the clearest success of each example; nothing here waits for the device."""
        if self._noted is None:
            assert self._labels is not None  # noqa: S101  (for the type checker)
            size = len(self._labels)
            self._noted = x.new_zeros(size, *x.shape[1:]), clear.new_full((size,), _NONE)
        points, clearest = self._noted
        held = clearest.index_select(0, rows)
        points[rows] = torch.where(per_row(clear > held, x), x, points.index_select(0, rows))
        clearest[rows] = torch.maximum(clear, held)

    def _retire(self, rows: Tensor) -> None:
        if self.known is not None:
            self.known.add(rows)


def _both(wrong: Tensor, within: Tensor | None) -> Tensor:
    return wrong if within is None else wrong & within
