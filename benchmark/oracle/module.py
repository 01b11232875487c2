"""The view of an oracle that a library expecting an `nn.Module` gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from bench.oracle.oracle import Oracle


class CountedModule(nn.Module):
    """A defense as a module whose passes are charged evenly: which example a row belongs to is unknown."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        # In a list, so out of the module tree: nobody may move or retrain the defense through this view.
        self._oracle = [oracle]
        self._owed = {"forwards": 0, "backwards": 0}

    def forward(self, x: Tensor) -> Tensor:
        oracle = self._oracle[0]
        if oracle.access == "decision":
            raise PermissionError("this attack is registered as decision-based and asked for logits")
        self._charge("forwards", len(x))
        logits = oracle._run(x)  # noqa: SLF001  (one idea in two classes)
        if logits.requires_grad:
            if oracle.access != "gradient":
                # A score-based attack gets numbers, never a graph.
                return logits.detach()
            logits.register_hook(lambda grad: self._charge("backwards", len(grad)))  # type: ignore[no-untyped-call]
        return logits

    def _charge(self, kind: str, passes: int) -> None:
        ledger = self._oracle[0].passes
        each, self._owed[kind] = divmod(self._owed[kind] + passes, ledger.size)
        ledger.spread(kind, each)
