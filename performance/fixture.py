"""What the benchmarks are run on: images, the shipped networks, one of our cells, the reference."""

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

from bench import matrix, planner, selection
from bench.cell import Cell, DefenseRef
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.defenses import networks
from bench.executors.task import Task, compute, load_defense
from bench.formats import Plan
from bench.outcome import Done
from bench.request import Request
from bench.types import Defense, ImageSpec, ThreatModel

LINF = ThreatModel.parse("Linf:8/255")
HERE = Path(__file__).resolve().parent
# Images that the planner may time formats on, as in a run.
_PLANNED_ON = 64


@dataclass(frozen=True)
class Setup:
    """How the benchmarks are run.

    Attributes:
        data: the folder below which CIFAR-10 lies; as `bench run --data`.
        device: `cpu`, `cuda` or `cuda:0`.
        n: examples in place of those that a row is about, to try a script out.
        repetitions: of whatever can be repeated in time.
        weights: a robust wide network for P6.
        network: which robust network the rows are about: `small`, a ResNet-8, or `resnet-18`.
        trained: folder of its weights where they are not shipped; as `bench run --weights`.
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
        """The robust network."""
        return Request("at", {} if self.network == "small" else {"network": self.network})

    @property
    def title(self) -> str:
        """What it is called in a row."""
        return "the shipped robust ResNet-8" if self.network == "small" else f"a robust {self.network}"

    def size(self, usual: int) -> int:
        return usual if self.n is None else min(self.n, usual)


def cifar(setup: Setup, n: int) -> Examples:
    """The first test images of CIFAR-10."""
    return load("cifar10", "test", n=setup.size(n), data=setup.data)


def tensors(examples: Examples, device: str) -> tuple[Tensor, Tensor]:
    """Images and labels."""
    return torch.from_numpy(examples.x).to(device), torch.from_numpy(examples.y).to(device)


def robust(setup: Setup) -> DefenseRef:
    """The adversarially trained network that rows are about."""
    return selection.defense(setup.robust, "cifar10", setup.trained)


def loaded(ref: DefenseRef, spec: ImageSpec, device: str) -> Defense:
    """The defense as our cells face it."""
    defense = load_defense(ref, spec)
    defense.model.to(device).eval()
    return defense


def fresh(ref: DefenseRef, spec: ImageSpec, device: str) -> nn.Module:
    """A new copy of a network as its user would have it: as trained, in eval mode, weights with gradients."""
    ((weights, path),) = ref.checkpoints.items()
    network, _ = networks.restore(weights, {weights: Path(path)}, spec)
    return network.to(device).eval().requires_grad_(True)


def cell(
    defense: str, attack: str, examples: Examples, threat: ThreatModel = LINF, trained: Path | None = None
) -> Cell:
    """One cell over all the examples at once."""
    request = matrix.MatrixRequest(defense, attack, (threat,), batch=len(examples), weights=trained)
    (planned,) = matrix.build(request, examples)
    if planned.skip is not None or planned.parts:
        raise ValueError(f"{planned.cell.title}: {planned.skip or 'is derived from other cells'}")
    return planned.cell


def planned(defense: Defense, examples: Examples, device: str) -> Plan:
    """The format our planner chooses, in about a second."""
    return planner.plan(defense, torch.from_numpy(examples.x[:_PLANNED_ON]).to(device))


def evaluated(cell: Cell, examples: Examples, plan: Plan, device: str) -> Done:
    """The verdicts of a cell: clean images judged, attacked, proposals verified and judged again."""
    report = compute(Task(cell, 0, examples, plan), device, lambda _passed: None)
    if report.done is None:
        raise RuntimeError(f"{cell.title}: {report.error}")
    return report.done


def broken(done: Done) -> NDArray[np.bool_]:
    """Which examples only the attack has broken, `[n]`."""
    found: NDArray[np.bool_] = (done.verdicts.clean > 0) & (done.verdicts.adversarial == 0)
    return found


@torch.no_grad()
def right(network: nn.Module, x: Tensor, y: Tensor) -> NDArray[np.bool_]:
    """Which images a network gets right, `[n]`."""
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
    """Pyautoattack's standard version on one batch; returns the labels of its points, `[n]`."""
    import pyautoattack

    with _silent():
        attack = pyautoattack.AutoAttack(network, norm="Linf", eps=float(LINF.eps), seed=seed, device=x.device)
        _, found = attack.run_standard_evaluation(x, y, batch_size=len(x))
    labels: Tensor = found
    return labels


def reference_apgd(network: nn.Module, device: str, *, steps: int = 100, eot: int = 1) -> Any:  # noqa: ANN401
    """Pyautoattack's APGD on cross-entropy with one restart; its `perturb(x, y)` gives points."""
    from pyautoattack.autopgd_base import APGDAttack

    return APGDAttack(
        network, n_iter=steps, norm="Linf", n_restarts=1, eps=float(LINF.eps), seed=0, eot_iter=eot, device=device
    )
