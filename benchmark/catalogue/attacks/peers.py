"""Attacks of other libraries, by the library's name and theirs: `foolbox:LinfPGD`, `art:DeepFool`.

Named are attacks whose arguments the adapters know how to fill in. Left out are, with the versions of
2026: attacks that fail on gray images (torchattacks' TIFGSM and PIFGSM) or on numpy 2 (ART's
HopSkipJump and GeoDA), and those that left nearly everything unbroken on a half-space where others of
their kind broke it (ART's DeepFool, Zoo, and its AutoPGD in L1).

Few classes or a shape that a library fails on, with an error from deep within, are declared here and skipped:
the difference-of-logits ratio needs a third logit, the targeted one a fourth, and random search lays out
squares that are longer than the shorter side of an image, or of no pixels.

Costs are about what an example that does not break takes at the library's own defaults, of ten classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.errors import BenchError, unknown
from bench.registry import AttackEntry, Limits


@dataclass(frozen=True)
class Peer:
    """An attack of a library.

    Attributes:
        families: what it attacks; where there are several, it is told by the threat model.
        minimum: whether it looks for the nearest adversarial example.
        limits: the images it is defined for, as in `AttackEntry`.
        classes: the fewest classes where a parameter has a value, if other than usual: `{"loss=dlr": 3}`.
    """

    families: tuple[str, ...]
    forwards: int
    backwards: int = 0
    access: str = "gradient"
    minimum: bool = False
    limits: Mapping[str, Limits] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)

    def limited(self, parameters: Mapping[str, str]) -> Mapping[str, Limits]:
        """The images it is defined for with these parameters."""
        given = [f"{key}={value.strip().lower()}" for key, value in parameters.items()]
        told = [self.classes[each] for each in given if each in self.classes]
        return {**self.limits, "": Limits(classes=told[0])} if told else self.limits


@dataclass(frozen=True)
class Library:
    """An attack library.

    Attributes:
        distribution: its name where packages are installed from.
        target: the adapter.
        install: the command that installs it.
        version: of the adapter, raised where verdicts become others (`bench.versions`).
    """

    distribution: str
    target: str
    cite: str
    install: str
    attacks: Mapping[str, Peer]
    version: int = 1


_LINF, _L2, _L1 = ("Linf",), ("L2",), ("L1",)
_BOTH, _ALL = ("Linf", "L2"), ("Linf", "L2", "L1")

# The difference-of-logits ratio (arXiv:2003.01690), and where it is a parameter: `loss=dlr`.
_DLR = {"": Limits(classes=3)}
_TARGETED_DLR = {"": Limits(classes=4)}
_IF_DLR = {"loss=dlr": 3, "loss_function=dlr": 3, "loss_type=difference_logits_ratio": 3}
_UNLESS_DLR = {"loss_function=ce": 2}
_SQUARES = Limits(square=True, smallest=5)

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
    **{f"{norm}{name}": Peer((norm,), *cost) for norm in _ALL for name, cost in _FOOLBOX_GRADIENT.items()},
    "LinfPGD": Peer(_LINF, 41, 40),
    "LinfProjectedGradientDescentAttack": Peer(_LINF, 41, 40),
    "PGD": Peer(_LINF, 41, 40),
    "AdamPGD": Peer(_LINF, 51, 50),
    "FGSM": Peer(_LINF, 2, 1),
    "FGM": Peer(_L2, 2, 1),
    "MIFGSM": Peer(_LINF, 11, 10),
    "SparseL1DescentAttack": Peer(_L1, 11, 10),
    "LinfDeepFoolAttack": Peer(_LINF, 552, 500, minimum=True),
    "L2DeepFoolAttack": Peer(_L2, 552, 500, minimum=True),
    "L2CarliniWagnerAttack": Peer(_L2, 90_010, 90_000, minimum=True),
    "DDNAttack": Peer(_L2, 101, 100, minimum=True),
    "NewtonFoolAttack": Peer(_L2, 101, 100, minimum=True),
    "EADAttack": Peer(_L1, 180_020, 90_000, minimum=True),
    "LInfFMNAttack": Peer(_LINF, 101, 100, minimum=True),
    "L2FMNAttack": Peer(_L2, 101, 100, minimum=True),
    "L1FMNAttack": Peer(_L1, 101, 100, minimum=True),
    "HopSkipJumpAttack": Peer(_BOTH, 40_000, access="decision", minimum=True),
    "BoundaryAttack": Peer(_L2, 30_000, access="decision", minimum=True),
}

_TORCHATTACKS = {
    "FGSM": Peer(_LINF, 1, 1),
    "FFGSM": Peer(_LINF, 1, 1),
    "RFGSM": Peer(_LINF, 10, 10),
    "BIM": Peer(_LINF, 10, 10),
    "PGD": Peer(_LINF, 10, 10),
    "PGDL2": Peer(_L2, 10, 10),
    "EOTPGD": Peer(_LINF, 20, 20),
    "UPGD": Peer(_LINF, 10, 10, classes=_IF_DLR),
    "MIFGSM": Peer(_LINF, 10, 10),
    "NIFGSM": Peer(_LINF, 10, 10),
    "SINIFGSM": Peer(_LINF, 50, 50),
    "VMIFGSM": Peer(_LINF, 60, 60),
    "VNIFGSM": Peer(_LINF, 60, 60),
    "DIFGSM": Peer(_LINF, 10, 10),
    "Jitter": Peer(_LINF, 10, 10),
    "APGD": Peer(_BOTH, 12, 11, classes=_IF_DLR),
    "APGDT": Peer(_BOTH, 110, 99, limits=_TARGETED_DLR),
    "FAB": Peer(_BOTH, 24, 100, minimum=True),
    "CW": Peer(_L2, 50, 50, minimum=True),
    "DeepFool": Peer(_L2, 50, 500, minimum=True),
    "EADL1": Peer(_L1, 1818, 900, minimum=True),
    "Square": Peer(_BOTH, 5003, access="score", limits={"L2": _SQUARES}),
    "SPSA": Peer(_LINF, 256, access="score"),
}

_ART = {
    "FastGradientMethod": Peer(_ALL, 2, 1),
    "BasicIterativeMethod": Peer(_LINF, 103, 100),
    "ProjectedGradientDescent": Peer(_ALL, 103, 100),
    "MomentumIterativeMethod": Peer(_ALL, 103, 100),
    "AutoProjectedGradientDescent": Peer(_BOTH, 1085, 500, classes=_IF_DLR),
    "AutoConjugateGradient": Peer(_BOTH, 1085, 500, classes=_IF_DLR),
    "NewtonFool": Peer(_L2, 210, 100, minimum=True),
    "CarliniL2Method": Peer(_L2, 1300, 200, minimum=True),
    "CarliniLInfMethod": Peer(_LINF, 2000, 1000, minimum=True),
    "ElasticNet": Peer(_L1, 3645, 1800, minimum=True),
    "SquareAttack": Peer(_LINF, 304, access="score", limits={"": _SQUARES}),
    "BoundaryAttack": Peer(_L2, 150_000, access="decision", minimum=True),
    "SignOPTAttack": Peer(_L2, 22_000, access="decision", minimum=True),
}

_ADVLIB = {
    "pgd_linf": Peer(_LINF, 40, 40, classes=_IF_DLR),
    "apgd": Peer(_ALL, 101, 101, limits=_DLR, classes=_UNLESS_DLR),
    "apgd_targeted": Peer(_ALL, 910, 909, limits=_TARGETED_DLR, classes=_UNLESS_DLR),
    "fmn": Peer(_ALL, 10, 10, minimum=True),
    "fab": Peer(_ALL, 201, 900, minimum=True),
    "ddn": Peer(_L2, 100, 100, minimum=True),
    "df": Peer(_BOTH, 101, 900, minimum=True),
    "sdf": Peer(_L2, 1500, 1000, minimum=True),
    "alma": Peer(("L2", "L1"), 1000, 1000, minimum=True, limits=_DLR),
    "pdgd": Peer(_L2, 500, 500, minimum=True),
    "pdpgd": Peer(_ALL, 500, 500, minimum=True),
    "tr": Peer(_BOTH, 300, 1000, minimum=True),
    "carlini_wagner_l2": Peer(_L2, 90_000, 90_000, minimum=True),
    "carlini_wagner_linf": Peer(_LINF, 21_000, 21_000, minimum=True),
}

LIBRARIES: Mapping[str, Library] = {
    "foolbox": Library(
        "foolbox",
        "bench.attacks.adapters.foolbox:Foolbox",
        "1707.04131",
        "pip install 'atop-bench[foolbox]'",
        _FOOLBOX,
    ),
    "torchattacks": Library(
        "torchattacks",
        "bench.attacks.adapters.torchattacks:Torchattacks",
        "2010.01950",
        "pip install --no-deps torchattacks (with its dependencies it downgrades requests), then "
        "pip install --no-deps --force-reinstall robustbench, of which it brings an older copy",
        _TORCHATTACKS,
    ),
    "art": Library(
        "adversarial-robustness-toolbox",
        "bench.attacks.adapters.art:ART",
        "1807.01069",
        "pip install 'atop-bench[art]'",
        _ART,
    ),
    "advlib": Library(
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
    """The entry of an attack named `LIBRARY:NAME`, with parameters as they were typed.

    Raises:
        BenchError: an unknown library, or an attack that is not among those of it that are supported.
    """
    prefix, _, attack = name.partition(":")
    if prefix not in LIBRARIES:
        raise unknown("attack library", prefix, LIBRARIES)
    library = LIBRARIES[prefix]
    if attack not in library.attacks:
        raise unknown(f"{prefix} attack", attack, library.attacks)
    peer = library.attacks[attack]
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


def not_installed(distribution: str, wanted: str) -> BenchError:
    """The error for an attack whose library is missing, with the command that installs it."""
    installs = {library.distribution: library.install for library in LIBRARIES.values()}
    remedy = installs.get(distribution, f"pip install {distribution}")
    return BenchError(f"{wanted!r} needs {distribution}, which is not installed: {remedy}")
