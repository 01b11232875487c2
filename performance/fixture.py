"""The fixtures of the benchmarks: images, the shipped networks, one of our cells, the reference."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.catalogue import resolve
from bench.catalogue.loading import load_defense
from bench.catalogue.refs import DefenseRef
from bench.catalogue.request import Request
from bench.catalogue.selection import Selection
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.defenses.networks import by_name
from bench.harness import format_choice, matrix
from bench.harness.formats import SearchFormats
from bench.harness.task import Task, compute
from bench.results.cell import Cell
from bench.results.outcome import Done
from bench.threats import ThreatModel
from bench.types import Defense, ImageSpec

LINF = ThreatModel.parse("Linf:8/255")
HERE = Path(__file__).resolve().parent
# Images on which the planner may time formats, as many as in a run.
_PLANNED_ON = 64


@dataclass(frozen=True)
class Setup:
    """The settings of a run of the benchmarks.

    Attributes:
        data: the folder that contains CIFAR-10, as for `bench run --data`.
        device: `cpu`, `cuda` or `cuda:0`.
        n: a smaller number of examples than a row has, to try a script out.
        repetitions: of measurements that are short enough to be repeated.
        weights: a robust wide network for P6.
        network: the robust network of the rows: `small`, a ResNet-8, or `resnet-18`.
        trained: folder of its weights if they are not shipped, as for `bench run --weights`.
    """

    data: Path | None = None
    device: str = "cpu"
    n: int | None = None
    repetitions: int = 3
    weights: Path | None = None
    network: str = "small"
    trained: Path | None = None

    @property
    def robust(self) -> Request:
        """Return the request for the robust network."""
        return Request("at", {} if self.network == "small" else {"network": self.network})

    @property
    def title(self) -> str:
        """Return the name of the robust network in a row."""
        return "the shipped robust ResNet-8" if self.network == "small" else f"a robust {self.network}"

    def size(self, usual: int) -> int:
        return usual if self.n is None else min(self.n, usual)


def cifar(setup: Setup, n: int) -> Examples:
    """Load the first test images of CIFAR-10."""
    return load("cifar10", "test", n=setup.size(n), data=setup.data)


def tensors(examples: Examples, device: str) -> tuple[Tensor, Tensor]:
    """Return images and labels on a device."""
    return torch.from_numpy(examples.x).to(device), torch.from_numpy(examples.y).to(device)


def robust(setup: Setup) -> DefenseRef:
    """Return the reference to the adversarially trained network of the rows."""
    return resolve.defense(setup.robust, "cifar10", setup.trained)


def loaded(ref: DefenseRef, spec: ImageSpec, device: str) -> Defense:
    """Load a defense in the form in which our cells attack it."""
    defense = load_defense(ref, spec)
    defense.model.to(device).eval()
    return defense


def fresh(ref: DefenseRef, spec: ImageSpec, device: str) -> nn.Module:
    """Load a new copy of a network as its user would: unconverted, in eval mode, weights with gradients.

    Other libraries receive this copy; freezing the weights for them would hide what their backwards cost.
    """
    ((weights, path),) = ref.checkpoints.items()
    network, _ = by_name.restore(weights, {weights: Path(path)}, spec)
    return network.to(device).eval().requires_grad_(True)


def cell(
    defense: str, attack: str, examples: Examples, threat: ThreatModel = LINF, trained: Path | None = None
) -> Cell:
    """Return one cell over all the examples in a single shard."""
    request = Selection.of(defense, attack, (threat,))
    (planned,) = matrix.build(request, examples, batch=len(examples), weights=trained)
    if planned.skip is not None or planned.parts:
        raise ValueError(f"{planned.cell.title}: {planned.skip or 'is derived from other cells'}")
    return planned.cell


def planned(defense: Defense, examples: Examples, device: str) -> SearchFormats:
    """Return the format that our planner chooses, in about a second."""
    return format_choice.choose_formats(defense, torch.from_numpy(examples.x[:_PLANNED_ON]).to(device))


def evaluated(cell: Cell, examples: Examples, plan: SearchFormats, device: str) -> Done:
    """Compute a cell: judge clean images, attack, verify the proposals and judge them."""
    report = compute(Task(cell, 0, examples, plan), device, lambda _passed: None)
    if report.done is None:
        raise RuntimeError(f"{cell.title}: {report.error}")
    return report.done


def broken(done: Done) -> NDArray[np.bool_]:
    """Return whether each example is right without attack and broken by it, `[n]`."""
    found: NDArray[np.bool_] = (done.verdicts.clean > 0) & (done.verdicts.adversarial == 0)
    return found


@torch.no_grad()
def right(network: nn.Module, x: Tensor, y: Tensor) -> NDArray[np.bool_]:
    """Return whether a network gets each image right, `[n]`."""
    answer: NDArray[np.bool_] = (network(x).argmax(1) == y).cpu().numpy()
    return answer


@contextmanager
def _silent() -> Iterator[None]:
    logger = logging.getLogger("auto-attack")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def standard(network: nn.Module, x: Tensor, y: Tensor, seed: int = 0) -> Tensor:
    """Run pyautoattack's standard version on one batch; return the predicted labels of its points, `[n]`."""
    import pyautoattack

    with _silent():
        attack = pyautoattack.AutoAttack(network, norm="Linf", eps=float(LINF.eps), seed=seed, device=x.device)
        _, found = attack.run_standard_evaluation(x, y, batch_size=len(x))
    labels: Tensor = found
    return labels


def reference_apgd(network: nn.Module, device: str, *, steps: int = 100, eot: int = 1) -> Any:  # noqa: ANN401
    """Return pyautoattack's APGD on cross-entropy with one restart; its `perturb(x, y)` returns points."""
    from pyautoattack.autopgd_base import APGDAttack

    return APGDAttack(
        network, n_iter=steps, norm="Linf", n_restarts=1, eps=float(LINF.eps), seed=0, eot_iter=eot, device=device
    )
