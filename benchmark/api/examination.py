"""Examination of a defense or a published claim, before any attack."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from bench.api.arguments import checked
from bench.api.asked import workers
from bench.catalogue.brought import as_defense
from bench.catalogue.loading import load_defense
from bench.catalogue.options import RunOptions, default_of
from bench.catalogue.request import parse_one
from bench.catalogue.selection import NO_ATTACKS, Selection, defenses
from bench.checks.examination import HELD_OUT, ExaminedImages, examine, noise_of
from bench.datasets.examples import Examples
from bench.datasets.load import beyond, load, order_of_classes
from bench.datasets.threats import HEADLINE, threat
from bench.errors import BenchError, one_line
from bench.harness.executors import pick_device
from bench.machine.isolation import Elsewhere, apart, isolated
from bench.results.advice import explained
from bench.results.finding import Finding
from bench.types import Defense

if TYPE_CHECKING:
    from bench.checks.published.report import Audit


@dataclass(frozen=True)
class Examined:
    """The findings of the checks before any attack (S01-S17) on a defense.

    Attributes:
        findings: a row per check, passed ones included.
        stochastic: whether the defense is stochastic.
        note: a remark on the dataset, or `None`.
    """

    findings: tuple[Finding, ...]
    stochastic: bool
    note: str | None = None

    @property
    def alarming(self) -> list[Finding]:
        """Return the findings that flag or block the defense."""
        return [finding for finding in self.findings if finding.alarming]

    def explained(self, finding: Finding, run: str) -> list[str]:
        """Return what a finding means, and which command settles it; `run` is the command that runs the defense."""
        return list(explained(finding, run, stochastic=self.stochastic))


@checked
def check(
    defense: str | nn.Module | Defense,
    *,
    dataset: str = "digits",
    data: Path | None = None,
    n: int = 128,
    device: str = "auto",
    weights: Path | None = None,
) -> Examined:
    """Check, in seconds, whether a defense can be measured at all.

    Args:
        defense: a name, `./file.py:function`, an `nn.Module` or a `Defense`.
        dataset: whose images it classifies.
        data: folder the datasets lie in.
        n: how many test images stand for the benchmark.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        weights: folder of your own weights.

    Raises:
        BenchError: no such defense, or it cannot be loaded.
    """
    if not isinstance(defense, str):
        return _checked(defense, dataset, data, n, device, weights)
    Selection.of(defense, NO_ATTACKS, ())  # a wrong name is said before images are read
    with isolated(workers(RunOptions(executor=default_of("executor"), jobs=1))):
        try:
            examined: Examined = apart(_checked, defense, dataset, data, n, device, weights)
        except Elsewhere as error:
            raise BenchError(f"{defense!r} cannot be examined: {error}") from error
    return examined


def _checked(
    defense: str | nn.Module | Defense, dataset: str, data: Path | None, n: int, device: str, weights: Path | None
) -> Examined:
    examples = load(dataset, "test", n=n, data=data)
    loaded = _loaded(defense, examples, weights)
    images = ExaminedImages(examples, beyond(dataset, n, HELD_OUT, data=data))
    eps = noise_of([threat(family, dataset) for family in HEADLINE])
    findings = examine(loaded, images, eps, pick_device(device))
    return Examined(findings, loaded.stochastic, order_of_classes(dataset))


def _loaded(defense: str | nn.Module | Defense, examples: Examples, weights: Path | None) -> Defense:
    if not isinstance(defense, str):
        return as_defense(defense, "the defense", examples.spec)
    request = parse_one(defense, "defense")
    if request.is_file:
        from bench.catalogue import user_file

        # Even if it is faulty: a finding explains more than an error.
        return user_file.to_be_examined(request, examples.spec)
    ref, *others = defenses(defense, examples, weights)
    if others:
        raise BenchError(f"bench check examines one defense, {defense!r} names {1 + len(others)}: name one of them")
    try:
        return load_defense(ref, examples.spec)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"defense {defense!r} does not load: {one_line(error)}; see bench doctor") from error


@checked
def audit(claim: str | os.PathLike[str]) -> Audit:
    """Examine a published robustness claim: is k/n possible, what is resolved, which faults apply.

    Args:
        claim: a TOML file of the number and its protocol, as docs/claims.md says.
    """
    from bench.checks.published.reading import read_claim
    from bench.checks.published.report import audit_claim

    return audit_claim(read_claim(Path(claim)))
