"""An attack under test: how it is built, what it is tried on, and how it is run as a cell would run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.catalogue.refs import SOURCE, AttackRef
from bench.catalogue.registry import AttackEntry, load
from bench.checks.contracts.contract import Broken
from bench.checks.contracts.models import BehindPurifier, Classified, Halfspace, robust_digits, tinted_digits
from bench.oracle.attack import Attack, Traits, proves, traits_of
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import FAMILIES, SPARSE, ThreatModel
from bench.types import Defense

# Each family at a size that breaks some of the examples of `robust_digits`, and leaves some.
MIXED = {
    **{name: f"{name}:{family.eps[0]}" for name, family in FAMILIES.items()},
    "Linf": "Linf:0.12",
    "L2": "L2:0.6",
    "L1": "L1:3",
}
# At a size that breaks nearly every example of an untrained network.
LARGE = {
    **{name: f"{name}:{5 * float(family.eps[0]):g}" for name, family in FAMILIES.items()},
    "Linf": "Linf:0.4",
    "L2": "L2:12",
    "L1": "L1:40",
    "stadv": "stadv:3",
}
# What they lay over an image is there whatever eps is; eps bounds how it may be bent.
OVERLAID = ("wood", "kaleidoscope")
# Few of whatever a search is long by: enough to see how it goes.
_FEW = {"steps": 5, "queries": 40, "targets": 2, "eot": 2, "n_draws": 40}
# One batch seeds the library's global generators, so its points depend on the shard by design.
_LIBRARIES = "bench.attacks.adapters."


@dataclass(frozen=True)
class Candidate:
    """An attack under test.

    Attributes:
        entry: what it says of itself, or the catalogue of it.
        ref: as it stands in a cell.
        make: builds it, at its full length.
        least: the share of the passes it declares that it must take: what says a hundred and takes ten is no bound.
    """

    entry: AttackEntry
    ref: AttackRef
    make: Callable[[], Attack]
    least: float = 0.1

    @property
    def of_library(self) -> bool:
        """Whether another library's own loop draws once per batch."""
        return self.entry.target.startswith(_LIBRARIES)

    @cached_property
    def settings(self) -> frozenset[str]:
        """What can be set of it."""
        attack: Any = self.make()
        return frozenset(each.name for each in fields(attack) if each.init) if is_dataclass(attack) else frozenset()

    def build(self, **fewer: int) -> Attack:
        """It, with few steps where it has a parameter for them; as it is where it refuses so few."""
        attack: Any = self.make()
        chosen = {name: value for name, value in {**_FEW, **fewer}.items() if name in self.settings}
        if not chosen:
            return attack  # type: ignore[no-any-return]
        try:
            return replace(attack, **chosen)  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001  (anybody's own rules of what goes together)
            return attack  # type: ignore[no-any-return]

    @cached_property
    def traits(self) -> Traits:
        return traits_of(self.make())

    @property
    def has_no_aim(self) -> bool:
        return bool(self.traits.exempt or self.entry.powerless)

    @property
    def slow_adapter(self) -> bool:
        """A library's attack without a parameter that shortens it is run where it finishes soon."""
        return self.of_library and "steps" not in self.settings


def registered(entry: AttackEntry, least: float = 0.1) -> Candidate:
    """What the catalogue, a plug-in's entry point or a supported library calls an attack, as it is by default."""
    ref = AttackRef(
        entry.name,
        entry.target,
        "",
        entry.access,
        entry.config,
        entry.forwards,
        entry.backwards,
        entry.eot,
        entry.needs,
    )

    def make() -> Attack:
        attack: Attack = load(entry.target)(**entry.config)
        return attack

    return Candidate(entry, ref, make, least)


@dataclass(frozen=True)
class Trial:
    """A candidate under one of its threat families.

    Attributes:
        asked: the threat model that somebody wants to run it under, beside the sizes it is tried at in any case.
        first: whether the family is the first of several.
    """

    candidate: Candidate
    family: str
    asked: ThreatModel | None = None
    first: bool = True

    @property
    def mixed(self) -> ThreatModel:
        return ThreatModel.parse(MIXED[self.family])

    @property
    def large(self) -> ThreatModel:
        return ThreatModel.parse(LARGE[self.family])

    @property
    def tiny(self) -> ThreatModel:
        return ThreatModel.parse(f"{self.family}:{1 if self.family == SPARSE else 1e-6}")

    @property
    def small_shape(self) -> tuple[int, int, int]:
        """The smallest images the family is defined for, of the sizes tested."""
        return (1, 8, 8) if FAMILIES[self.family].refuses((1, 8, 8)) is None else (3, 8, 8)

    @property
    def thin_shape(self) -> tuple[int, int, int]:
        """Images with as few pixels as the family allows, so that thousands of queries are quick."""
        return (1, 5, 5) if FAMILIES[self.family].refuses((1, 5, 5)) is None else self.small_shape

    def defended(self, model: nn.Module) -> nn.Module:
        """The model as the attack meets it: behind a purifier if it attacks through a variant of the defense."""
        return BehindPurifier(model).eval() if self.candidate.entry.needs else model

    def trained(self, n: int) -> Classified:
        """A trained network and `n` of its examples that the family is defined for."""
        model, x, y = tinted_digits() if FAMILIES[self.family].colors else robust_digits()
        return Classified(self.defended(model), x[:n], y[:n])


@dataclass(frozen=True)
class Proposal:
    """What an attack handed in, and the oracle with its ledger.

    Attributes:
        faults: holds its proof against the threat model, where there is one; that may ask the network, too.
    """

    x_adv: Tensor
    oracle: Oracle
    faults: Callable[[], Sequence[str]] = tuple


def propose(
    trial: Trial,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    stochastic: bool = False,
    rows: Sequence[int] | None = None,
    attack: Attack | None = None,
    watch: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> Proposal:
    """Run an attack as `bench.harness.evaluate` does, with its access rights; with its proof where it needs one.

    Args:
        trial: the attack, built with few steps unless `attack` is given.
        model: what it attacks.
        x: images `[B, C, H, W]`.
        y: their labels.
        threat: the ball to stay in.
        stochastic: whether the model is declared so.
        rows: which examples these are, for their random numbers; the first ones by default.
        attack: in place of the candidate's own.
        watch: put around the model, where somebody else counts along.
    """
    attack = attack or trial.candidate.build()
    entry = trial.candidate.entry
    defense = _declared(entry, model, stochastic)
    defense = replace(defense, model=watch(defense.model))
    oracle = Oracle(defense, len(x), scope=("test", entry.name), access=entry.access)
    order = list(range(len(x))) if rows is None else list(rows)
    ids = [f"example-{row}" for row in order]
    stream = Stream.of(ids, "test", entry.name)
    if threat.is_lp:
        return Proposal(attack(oracle, x, y, threat, stream=stream), oracle)
    if not proves(attack):
        raise Broken(f"it has no `propose` and `violations`, so nothing shows that its examples are within {threat}")
    x_adv, proof = attack.propose(oracle, x, y, threat, stream=stream)
    return Proposal(x_adv, oracle, partial(attack.violations, x, x_adv, proof, threat))


def _eye(entry: AttackEntry, model: nn.Module) -> nn.Module | None:
    """What a distance between activations is measured by, for a model that shows none."""
    if "lpips" not in entry.families or isinstance(model, nn.Sequential):
        return None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.LazyConv2d(4, 3, padding=1), nn.Flatten()).eval()


def _declared(entry: AttackEntry, model: nn.Module, stochastic: bool) -> Defense:
    """A defense that offers what the entry needs; what holds no randomness may be declared random."""
    if not entry.needs:
        return Defense(model, stochastic=stochastic, base=_eye(entry, model))
    inner = model.base if isinstance(model, BehindPurifier) else getattr(model, "halfspace", model)
    assert isinstance(inner, nn.Module)  # noqa: S101  (the models of this room)
    if entry.needs == SOURCE:
        return Defense(model, stochastic=stochastic, transfer_source=Defense(inner))
    stochastic = stochastic or entry.needs == "derandomized"
    if isinstance(model, BehindPurifier):
        return Defense(
            model, stochastic=stochastic, base=inner, purifier=model.purifier, derandomized=BehindPurifier(inner)
        )
    return Defense(model, stochastic=stochastic, base=inner, surrogate=inner, derandomized=inner)


def images(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Images around gray, far from the edges of the box."""
    return 0.4 + 0.2 * torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def touching(n: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Images of noise, some of whose pixels touch the edges of the box."""
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))
    return x.mul(1.4).sub(0.2).clamp(0, 1)


def noise(n: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Images of noise."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def halfspace(shape: tuple[int, ...]) -> Halfspace:
    """A linear classifier of ten classes."""
    return Halfspace(shape, classes=10)


@torch.no_grad()
def predicted(model: nn.Module, x: Tensor) -> Tensor:
    """The class of each image, `[B]`."""
    logits: Tensor = model(x)
    return logits.argmax(1)


def trials(candidate: Candidate, threats: Mapping[str, ThreatModel | None]) -> list[Trial]:
    """A candidate under each of some families, the first of them marked."""
    return [Trial(candidate, family, asked, first=index == 0) for index, (family, asked) in enumerate(threats.items())]
