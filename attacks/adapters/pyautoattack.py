"""AutoAttack as published, run by the `pyautoattack` distribution.

AutoAttack (Croce and Hein, ICML 2020, arXiv:2003.01690) is the reference for the attacks of this package.
It draws from global generators, once per batch, so its points depend on the shard. The generators are
seeded from the examples and restored afterwards.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.attacks.search import require_at_least, require_family
from bench.errors import BenchError
from bench.oracle.geometry import distance, per_row, project
from bench.oracle.module import CountedModule
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream, preserved_generators, seed_everything, seed_of
from bench.threats import ThreatModel

_FAMILIES = ("Linf", "L2")
_TARGETS = 9  # of APGD-T and FAB-T in the published standard version
_SMALLEST_L2_IMAGE = 5  # the L2 start of its Square divides by height // 5


@dataclass(frozen=True)
class AutoAttack:
    """AutoAttack in its `standard` version on deterministic defenses, and in its `rand` version on stochastic ones.

    Parts whose loss is not defined for the number of classes are left out: targeted DLR needs four
    classes, DLR three.

    Attributes:
        eot: draws per gradient in the `rand` version.
    """

    eot: int = 20

    def __post_init__(self) -> None:
        require_at_least(self, 1, "eot")

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, _FAMILIES)
        classes = _classes(oracle, x)
        if not oracle.stochastic and threat.family == "L2" and x.shape[2] < _SMALLEST_L2_IMAGE:
            raise BenchError(f"AutoAttack's L2 Square needs images at least 5 pixels high, these have {x.shape[2]}")
        targets = min(_TARGETS, classes - 1)
        with _library(stream) as (pyautoattack, seed):
            model = _Finite(CountedModule(oracle))
            attack = pyautoattack.AutoAttack(
                model,
                norm=threat.family,
                eps=float(threat.eps),
                seed=seed,
                device=x.device,
                version="rand" if oracle.stochastic else "standard",
            )
            attack.apgd.eot_iter = oracle.draws(self.eot)
            attack.apgd_targeted.n_target_classes = targets
            attack.fab = _fab(model, threat, seed, x.device, steps=100, targets=targets)
            undefined = {"apgd-dlr": 3, "apgd-t": 4}
            attack.attacks_to_run = [part for part in attack.attacks_to_run if undefined.get(part, 0) <= classes]
            x_adv, _ = attack.run_standard_evaluation(x, y, batch_size=len(x))
        return _within(x_adv, x, threat)


class _Finite(nn.Module):
    """A model whose not-a-number logits become the lowest: the library would call such a row robust."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return torch.nan_to_num(self.model(x), nan=-1e6)


def _fab(model: nn.Module, threat: ThreatModel, seed: int, device: torch.device, *, steps: int, targets: int) -> Any:  # noqa: ANN401
    """Return the library's FAB with another gradient query: its own leaves gradients on the defense's weights."""
    from pyautoattack.fab_pt import FABAttack_PT

    class FAB(FABAttack_PT):  # type: ignore[misc]  # the library is not typed
        def get_diff_logits_grads_batch_targeted(
            self, imgs: Tensor, la: Tensor, la_target: Tensor
        ) -> tuple[Tensor, Tensor]:
            """Return the logit of the target minus that of the label, `[B, 1]`, and its gradient, `[B, 1, ...]`."""
            images = imgs.detach().requires_grad_()
            with torch.enable_grad():
                logits = self.predict(images)
                gap = (logits.gather(1, la_target[:, None]) - logits.gather(1, la[:, None])).squeeze(1)
                (grad,) = torch.autograd.grad(gap.sum(), images)
            return gap.detach()[:, None], grad[:, None]

    return FAB(
        model,
        norm=threat.family,
        n_restarts=1,
        n_iter=steps,
        eps=float(threat.eps),
        seed=seed,
        targeted=True,
        device=device,
        n_target_classes=targets,
    )


@contextmanager
def _library(stream: Stream) -> Iterator[tuple[Any, int]]:
    """Import the library, silent and with a seed that depends on the examples alone; restore all global state."""
    try:
        import pyautoattack
    except ImportError as error:
        raise BenchError(f"pyautoattack does not load ({error}): pip install 'pyautoattack>=0.2,<0.3'") from error
    logger = logging.getLogger("auto-attack")
    level, tracer = logger.level, sys.gettrace()
    seed = seed_of("pyautoattack", *stream.keys.tolist()) % 2**31
    logger.setLevel(logging.CRITICAL + 1)
    with preserved_generators():
        seed_everything(seed)
        try:
            yield pyautoattack, seed
        finally:
            logger.setLevel(level)
            if sys.gettrace() is not tracer:  # its check for dynamic defenses drops the tracer
                sys.settrace(tracer)


def _classes(oracle: Oracle, x: Tensor) -> int:
    first = torch.zeros(1, dtype=torch.int64, device=x.device)
    return oracle.logits(x[:1], first).shape[1]


def _within(x_adv: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Return the library's points without rounding errors; a row outside the ball has failed and keeps its image."""
    near = distance(x_adv, x, threat.family) <= float(threat.eps) * (1 + 1e-4)
    return torch.where(per_row(near, x), project(x_adv.detach().float(), x, threat), x)
