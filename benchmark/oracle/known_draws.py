"""A stochastic defense with its random numbers fixed, as an attacker sees it who knows the draws of its evaluation.

Liu et al. (ICLR 2025, arXiv:2404.14309) call this attacker deterministic white-box (DW-box). A defense draws from the
global generators for a whole batch, so the numbers of an image depend on its place in the batch and on how many
images there are. Here every query holds the whole shard, the images that nobody asks about, too: so each image meets
the same numbers in every query of an attack and before the judge, whatever other images the attack has dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from bench.oracle.oracle import Oracle
from bench.oracle.randomness import seed_everything
from bench.types import Defense


class FixedDraw(nn.Module):
    """A stochastic model that begins every forward with the same seed: a deterministic one for batches of one size.

    Args:
        model: draws from the global generators of torch, numpy or Python.
        seed: names the draw; any parts, as of `seed_everything`.
    """

    def __init__(self, model: nn.Module, seed: tuple[object, ...]) -> None:
        super().__init__()
        self.model, self.seed = model, seed

    def forward(self, x: Tensor) -> Tensor:
        seed_everything(*self.seed)
        logits: Tensor = self.model(x)
        return logits


class KnownDraw(Oracle):
    """An oracle of some examples of a shard, for a defense in one draw; it answers as a deterministic defense does.

    The ledger holds what was computed, not what was asked: each query costs every example of the oracle a pass, those
    on broken ones count as wasted, and `beside` counts the passes of the other images of the shard.

    Args:
        defense: the stochastic defense.
        seed: names the draw, as of `FixedDraw`.
        shard: the images of the whole shard `[N, C, H, W]`, which fill the batch.
        places: where in the shard the examples of this oracle are, int64 `[size]`.
        on_pass: as of `Oracle`.

    Attributes:
        beside: forwards and backwards of each image of the shard that is not an example of this oracle.
    """

    def __init__(
        self,
        defense: Defense,
        seed: tuple[object, ...],
        shard: Tensor,
        places: Tensor,
        on_pass: Callable[[int], None] | None = None,
    ) -> None:
        fixed = replace(defense, model=FixedDraw(defense.model, seed).eval(), stochastic=False)
        super().__init__(fixed, len(places), on_pass=on_pass)
        self.beside = [0, 0]
        self._shard, self._places = shard, places
        self._every = torch.arange(len(places), device=places.device)

    def through(self, name: str) -> Oracle:
        """Refuse: a variant of the defense draws other numbers, which nobody knows.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"a {name} variant draws other numbers than those that are known")

    def _forward(self, x: Tensor, rows: Tensor, *, fast: bool = False) -> Tensor:
        turns = _turns(rows)
        self._book("forwards", self._every, len(turns))
        self.beside[0] += len(turns)
        answers = []
        for turn in turns:
            places = self._places[rows[turn]]
            answers.append(self._run(self._shard.index_copy(0, places, x[turn]))[places])
        # Back into the order of the question; one turn has it already.
        return answers[0] if len(turns) == 1 else torch.cat(answers)[torch.cat(turns).argsort()]

    def _backward(self, values: Tensor, x: Tensor, rows: Tensor, some: int = 1, *, keep: bool = False) -> Tensor:
        turns = len(_turns(rows))
        self.beside[1] += turns
        return super()._backward(values, x, self._every, turns, keep=keep)


def _turns(rows: Tensor) -> list[Tensor]:
    """Return the indices of a question in turns, in each of which no example occurs twice.

    An attack may ask about several points of one example at once, but a shard has one place for it.
    """
    _, example, counts = torch.unique(rows, return_inverse=True, return_counts=True)
    if not len(rows) or int(counts.max()) == 1:
        return [torch.arange(len(rows), device=rows.device)]
    order = example.argsort(stable=True)
    begins = counts.cumsum(0) - counts
    turn = torch.empty_like(rows)
    turn[order] = torch.arange(len(rows), device=rows.device) - begins[example[order]]
    return [(turn == at).nonzero().squeeze(1) for at in range(int(counts.max()))]
