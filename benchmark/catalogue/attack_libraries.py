"""Attacks of other libraries, by the library's name and theirs: `foolbox:LinfPGD`, `art:DeepFool`.

The list holds the attacks whose arguments the adapters can fill in. With the versions of 2026 it leaves out
attacks that fail on gray images (torchattacks' TIFGSM and PIFGSM) or on numpy 2 (ART's HopSkipJump and GeoDA),
and attacks that broke almost nothing on a half-space where others of their kind broke it (ART's DeepFool, Zoo,
and its AutoPGD in L1).

Some attacks raise an obscure error when there are few classes or the image has an unusual shape. Their limits
are declared here, so that such cells are skipped: the difference-of-logits ratio needs a third logit, the
targeted one a fourth, and random search would place squares longer than the shorter side, or of no pixels.

Costs are roughly what one unbroken example takes at the library's own defaults, with ten classes.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from bench.catalogue.registry import AttackEntry, Limits
from bench.errors import BenchError, unknown


@dataclass(frozen=True)
class LibraryAttack:
    """An attack of a library.

    Attributes:
        families: the threat families it can attack; the cell's threat model picks one of several.
        minimum: whether it looks for the nearest adversarial example.
        limits: the images it is defined for, as in `AttackEntry`.
        classes: the fewest classes it needs once a parameter has a certain value: `{"loss=dlr": 3}`.
    """

    families: tuple[str, ...]
    forwards: int
    backwards: int = 0
    access: str = "gradient"
    minimum: bool = False
    limits: Mapping[str, Limits] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)

    def limited(self, parameters: Mapping[str, str]) -> Mapping[str, Limits]:
        """Return the images it is defined for with these parameters."""
        given = [f"{key}={value.strip().lower()}" for key, value in parameters.items()]
        told = [self.classes[each] for each in given if each in self.classes]
        return {**self.limits, "": Limits(classes=told[0])} if told else self.limits


class AttackAdapter(Protocol):
    """The module behind a library; it holds the class that `AttackLibrary.target` names, and lists its parameters."""

    def parameters(self, name: str) -> Mapping[str, tuple[type, Any]]:
        """Return what a user may set of an attack of the library: type and default by name."""
        ...


@dataclass(frozen=True)
class AttackLibrary:
    """An attack library.

    Attributes:
        distribution: the name it is installed under.
        target: the attack, called with `name` and `parameters`; its module is the `AttackAdapter`.
        install: the command that installs it.
        version: of the adapter; it is raised when the verdicts change (`bench.catalogue.versions`).
    """

    distribution: str
    target: str
    cite: str
    install: str
    attacks: Mapping[str, LibraryAttack]
    version: int = 1


_LINF, _L2, _L1 = ("Linf",), ("L2",), ("L1",)
_BOTH, _ALL = ("Linf", "L2"), ("Linf", "L2", "L1")

# The difference-of-logits ratio (arXiv:2003.01690) divides by the gap to the third logit; the targeted one needs a
# fourth. Some attacks use it only when a parameter says so: `loss=dlr`.
_DLR = {"": Limits(classes=3)}
_TARGETED_DLR = {"": Limits(classes=4)}
_IF_DLR = {"loss=dlr": 3, "loss_function=dlr": 3, "loss_type=difference_logits_ratio": 3}
_UNLESS_DLR = {"loss_function=ce": 2}
_SQUARES = Limits(square=True, smallest=5)

# Forwards, backwards: one more forward than steps, because the adapter judges the last point.
_FOOLBOX_GRADIENT = {
    "FastGradientAttack": (2, 1),
    "BasicIterativeAttack": (11, 10),
    "AdamBasicIterativeAttack": (11, 10),
    "MomentumIterativeFastGradientMethod": (11, 10),
    "ProjectedGradientDescentAttack": (51, 50),
    "AdamProjectedGradientDescentAttack": (51, 50),
    "PGD": (51, 50),
    "AdamPGD": (51, 50),
}

_FOOLBOX = {
    **{f"{norm}{name}": LibraryAttack((norm,), *cost) for norm in _ALL for name, cost in _FOOLBOX_GRADIENT.items()},
    "LinfPGD": LibraryAttack(_LINF, 41, 40),
    "LinfProjectedGradientDescentAttack": LibraryAttack(_LINF, 41, 40),
    "PGD": LibraryAttack(_LINF, 41, 40),
    "AdamPGD": LibraryAttack(_LINF, 51, 50),
    "FGSM": LibraryAttack(_LINF, 2, 1),
    "FGM": LibraryAttack(_L2, 2, 1),
    "MIFGSM": LibraryAttack(_LINF, 11, 10),
    "SparseL1DescentAttack": LibraryAttack(_L1, 11, 10),
    "LinfDeepFoolAttack": LibraryAttack(_LINF, 552, 500, minimum=True),
    "L2DeepFoolAttack": LibraryAttack(_L2, 552, 500, minimum=True),
    "L2CarliniWagnerAttack": LibraryAttack(_L2, 90_010, 90_000, minimum=True),
    "DDNAttack": LibraryAttack(_L2, 101, 100, minimum=True),
    "NewtonFoolAttack": LibraryAttack(_L2, 101, 100, minimum=True),
    "EADAttack": LibraryAttack(_L1, 180_020, 90_000, minimum=True),
    "LInfFMNAttack": LibraryAttack(_LINF, 101, 100, minimum=True),
    "L2FMNAttack": LibraryAttack(_L2, 101, 100, minimum=True),
    "L1FMNAttack": LibraryAttack(_L1, 101, 100, minimum=True),
    "HopSkipJumpAttack": LibraryAttack(_BOTH, 40_000, access="decision", minimum=True),
    "BoundaryAttack": LibraryAttack(_L2, 30_000, access="decision", minimum=True),
}

_TORCHATTACKS = {
    "FGSM": LibraryAttack(_LINF, 1, 1),
    "FFGSM": LibraryAttack(_LINF, 1, 1),
    "RFGSM": LibraryAttack(_LINF, 10, 10),
    "BIM": LibraryAttack(_LINF, 10, 10),
    "PGD": LibraryAttack(_LINF, 10, 10),
    "PGDL2": LibraryAttack(_L2, 10, 10),
    "EOTPGD": LibraryAttack(_LINF, 20, 20),
    "UPGD": LibraryAttack(_LINF, 10, 10, classes=_IF_DLR),
    "MIFGSM": LibraryAttack(_LINF, 10, 10),
    "NIFGSM": LibraryAttack(_LINF, 10, 10),
    "SINIFGSM": LibraryAttack(_LINF, 50, 50),
    "VMIFGSM": LibraryAttack(_LINF, 60, 60),
    "VNIFGSM": LibraryAttack(_LINF, 60, 60),
    "DIFGSM": LibraryAttack(_LINF, 10, 10),
    "Jitter": LibraryAttack(_LINF, 10, 10),
    "APGD": LibraryAttack(_BOTH, 12, 11, classes=_IF_DLR),
    "APGDT": LibraryAttack(_BOTH, 110, 99, limits=_TARGETED_DLR),
    "FAB": LibraryAttack(_BOTH, 24, 100, minimum=True),
    "CW": LibraryAttack(_L2, 50, 50, minimum=True),
    "DeepFool": LibraryAttack(_L2, 50, 500, minimum=True),
    "EADL1": LibraryAttack(_L1, 1818, 900, minimum=True),
    "Square": LibraryAttack(_BOTH, 5003, access="score", limits={"L2": _SQUARES}),
    "SPSA": LibraryAttack(_LINF, 256, access="score"),
}

_ART = {
    "FastGradientMethod": LibraryAttack(_ALL, 2, 1),
    "BasicIterativeMethod": LibraryAttack(_LINF, 103, 100),
    "ProjectedGradientDescent": LibraryAttack(_ALL, 103, 100),
    "MomentumIterativeMethod": LibraryAttack(_ALL, 103, 100),
    "AutoProjectedGradientDescent": LibraryAttack(_BOTH, 1085, 500, classes=_IF_DLR),
    "AutoConjugateGradient": LibraryAttack(_BOTH, 1085, 500, classes=_IF_DLR),
    "NewtonFool": LibraryAttack(_L2, 210, 100, minimum=True),
    "CarliniL2Method": LibraryAttack(_L2, 1300, 200, minimum=True),
    "CarliniLInfMethod": LibraryAttack(_LINF, 2000, 1000, minimum=True),
    "ElasticNet": LibraryAttack(_L1, 3645, 1800, minimum=True),
    "SquareAttack": LibraryAttack(_LINF, 304, access="score", limits={"": _SQUARES}),
    "BoundaryAttack": LibraryAttack(_L2, 150_000, access="decision", minimum=True),
    "SignOPTAttack": LibraryAttack(_L2, 22_000, access="decision", minimum=True),
}

_ADVLIB = {
    "pgd_linf": LibraryAttack(_LINF, 40, 40, classes=_IF_DLR),
    "apgd": LibraryAttack(_ALL, 101, 101, limits=_DLR, classes=_UNLESS_DLR),
    "apgd_targeted": LibraryAttack(_ALL, 910, 909, limits=_TARGETED_DLR, classes=_UNLESS_DLR),
    "fmn": LibraryAttack(_ALL, 10, 10, minimum=True),
    "fab": LibraryAttack(_ALL, 201, 900, minimum=True),
    "ddn": LibraryAttack(_L2, 100, 100, minimum=True),
    "df": LibraryAttack(_BOTH, 101, 900, minimum=True),
    "sdf": LibraryAttack(_L2, 1500, 1000, minimum=True),
    "alma": LibraryAttack(("L2", "L1"), 1000, 1000, minimum=True, limits=_DLR),
    "pdgd": LibraryAttack(_L2, 500, 500, minimum=True),
    "pdpgd": LibraryAttack(_ALL, 500, 500, minimum=True),
    "tr": LibraryAttack(_BOTH, 300, 1000, minimum=True),
    "carlini_wagner_l2": LibraryAttack(_L2, 90_000, 90_000, minimum=True),
    "carlini_wagner_linf": LibraryAttack(_LINF, 21_000, 21_000, minimum=True),
}

LIBRARIES: Mapping[str, AttackLibrary] = {
    "foolbox": AttackLibrary(
        "foolbox",
        "bench.attacks.adapters.foolbox:Foolbox",
        "1707.04131",
        "pip install 'atop-bench[foolbox]'",
        _FOOLBOX,
    ),
    "torchattacks": AttackLibrary(
        "torchattacks",
        "bench.attacks.adapters.torchattacks:Torchattacks",
        "2010.01950",
        "pip install --no-deps torchattacks (with its dependencies it downgrades requests), then "
        "pip install --no-deps --force-reinstall robustbench, of which it brings an older copy",
        _TORCHATTACKS,
    ),
    "art": AttackLibrary(
        "adversarial-robustness-toolbox",
        "bench.attacks.adapters.art:ART",
        "1807.01069",
        "pip install 'atop-bench[art]'",
        _ART,
    ),
    "advlib": AttackLibrary(
        "adv-lib",
        "bench.attacks.adapters.advlib:AdvLib",
        "Rony and Ben Ayed, Zenodo 5815063",
        "pip install --no-deps adv-lib (its dependency visdom is not needed)",
        _ADVLIB,
        version=2,  # targets no more classes than there are
    ),
}

_NOT_RANDOM = "it trusts single answers, or assumes that one image has one prediction"


def peer_entry(name: str, parameters: Mapping[str, str] | None = None) -> AttackEntry:
    """Return the entry of an attack named `LIBRARY:NAME`, with parameters as they were typed.

    Raises:
        BenchError: an unknown library, or an attack of it that is not supported.
    """
    prefix, _, attack = name.partition(":")
    if prefix not in LIBRARIES:
        raise unknown("attack library", prefix, LIBRARIES)
    library = LIBRARIES[prefix]
    if attack not in library.attacks:
        raise unknown(f"{prefix} attack", attack, library.attacks)
    peer = library.attacks[attack]
    # A noisy gradient still points somewhere; one noisy label or score moves a boundary search the wrong way.
    random = peer.access == "gradient" and not peer.minimum
    return AttackEntry(
        name,
        library.target,
        library.cite,
        f"{attack} of {library.distribution} with its own defaults",
        peer.families,
        forwards=peer.forwards,
        backwards=peer.backwards,
        access=peer.access,
        config={"name": attack},
        not_for={} if random else {"stochastic": _NOT_RANDOM},
        limits=peer.limited(parameters or {}),
        requires=(library.distribution,),
        only_named=True,
        version=library.version,
    )


def parameters_of(name: str) -> Mapping[str, tuple[type, Any]]:
    """Return what a user may set of `LIBRARY:NAME`: type and default by name, as its adapter says.

    Raises:
        BenchError: the library does not import.
    """
    prefix, _, attack = name.partition(":")
    adapter = cast(AttackAdapter, importlib.import_module(LIBRARIES[prefix].target.partition(":")[0]))
    return adapter.parameters(attack)


def not_installed(distribution: str, wanted: str) -> BenchError:
    """Return the error for an attack whose library is missing, with the command that installs it."""
    installs = {library.distribution: library.install for library in LIBRARIES.values()}
    remedy = installs.get(distribution, f"pip install {distribution}")
    return BenchError(f"{wanted!r} needs {distribution}, which is not installed: {remedy}")
