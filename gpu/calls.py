"""The calls that train and attack, as data: images, trainings with their shares of the time, and the matrix.

Adding a call is one entry here and one name in the Makefile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.datasets.load import name_in_paths
from bench.defenses.training.recipe import FineTuningRecipe, read_recipe
from bench.types import ImageSpec

MATRIX = "matrix"
SIZED = "[network=resnet-18]"
ALL = ",".join(f"{name}{SIZED}" for name in ("standard", "at", "ap", "atop"))
STOCHASTIC = f"atop{SIZED}"
DIFFUSION = f"diffpure{SIZED}"


@dataclass(frozen=True)
class Line:
    """One `bench run` of a matrix.

    Attributes:
        defenses, attacks, threats: as its options take them.
        n: test images.
    """

    defenses: str
    attacks: str
    threats: str
    n: int


@dataclass(frozen=True)
class Size:
    """The size of a call: full, or so small that a CPU rehearses it in a minute.

    Attributes:
        matrix: the most important line first, because a call ends when its time is up. There are few lines, because a
            fresh process judges the verdicts of each again.
        batch: images of a shard.
        every: updates between two notes of a training.
        overrides: recipe values, for the recipes that have the parameter.
        judged: test images behind the standard accuracy in a card; `None` for all.
    """

    matrix: tuple[Line, ...]
    batch: int
    every: int = 500
    overrides: Mapping[str, str] | None = None
    judged: int | None = None


@dataclass(frozen=True)
class Call:
    """One study on a borrowed GPU.

    Attributes:
        name: as it is typed, and that of its parcel and log.
        dataset: as `--dataset` takes it.
        spec: shape and classes of its images.
        images: training images without the validation split.
        shares: shares of the time of a whole call: trainings get the time after which more brings little, the matrix
            gets the rest.
        results: the folder of the verdicts, below `results/`.
        full: the call itself.
        tiny: its rehearsal.
        requires: packages that the borrowed machine may lack.
        small: the dataset of the rehearsal, where the images of the call itself would keep a CPU busy for too long.
    """

    name: str
    dataset: str
    spec: ImageSpec
    images: int
    shares: Mapping[str, float]
    results: str
    full: Size
    tiny: Size
    requires: tuple[str, ...] = ()
    small: str = ""

    def rehearsed(self) -> Call:
        """Return the call as it is rehearsed."""
        return replace(self, dataset=self.small or self.dataset, full=self.tiny)

    @property
    def trainings(self) -> tuple[str, ...]:
        """Return the trainings in their order: each starts from the weights of earlier ones."""
        return tuple(name for name in self.shares if name != MATRIX)

    @property
    def folder(self) -> str:
        """Return the name of the dataset in a path: that of its weights and of its recipes."""
        return name_in_paths(self.dataset)


def checkpoint(training: str) -> str:
    """Return the name of the weights that a training writes: `atop-resnet-18-rt1`."""
    recipe = read_recipe(training, "default", {})
    return f"{training}-rt{recipe.rt}" if isinstance(recipe, FineTuningRecipe) else training


# The headline first. `audit` is `core` with FAB-T and Square on a tenth of the survivors, or on all of them after an
# alarm; it is for deterministic defenses, and stochastic ones get AutoAttack's rand version. `blind` is for defenses
# with a purifier. Then the families that no training has seen. A perceptual distance (LPIPS) is one between activations
# of the attacked classifier itself, so it needs no other weights.
_CIFAR = (
    Line(ALL, "audit,pgd-20,apgd-ce,pgd-eot-20,blind", "Linf:8/255", 1000),
    Line(ALL, "stadv,recolor", "stadv:0.8,recolor:0.06", 1000),
    Line(ALL, "audit,pgd-eot-20", "L2:0.5", 1000),
    Line(STOCHASTIC, "autoattack", "Linf:8/255", 1000),
    Line(
        ALL,
        "pgd-eot-20,jpeg-linf,fog,snow,elastic",
        "L1:12,jpeg-linf:0.125,fog:0.3,snow:0.03,elastic:0.25",
        250,
    ),
    Line(ALL, "ppgd,lpa", "lpips:0.5", 250),
)
# Images of 16 times as many pixels, so fewer of them. Who was trained at 8/255 has seen 4/255, too.
_IMAGENETTE = (
    Line(ALL, "audit,pgd-eot-20,blind", "Linf:4/255,Linf:8/255", 250),
    Line(ALL, "stadv,recolor", "stadv:3.2,recolor:0.06", 250),
    Line(ALL, "audit,pgd-eot-20", "L2:2", 250),
    Line(STOCHASTIC, "autoattack", "Linf:4/255,Linf:8/255", 250),
    Line(
        ALL,
        "pgd-eot-20,jpeg-linf,fog,snow,elastic",
        "L1:255,jpeg-linf:0.125,fog:0.5,snow:0.0625,elastic:2",
        100,
    ),
    Line(ALL, "ppgd,lpa", "lpips:0.5", 100),
)
# One gradient of this defense takes 30 passes of its network, and an attack averages 20 of them in each step.
_DIFFUSION = (
    Line(DIFFUSION, "blind,pgd-eot-20", "Linf:8/255", 64),
    Line(DIFFUSION, "stadv", "stadv:0.8", 64),
    Line(DIFFUSION, "autoattack", "Linf:8/255", 64),
)

_SHORT = {"width": "8", "batch_size": "16", "epochs": "9", "steps": "2", "shift": "0"}
_TINY_CIFAR = Size(
    (
        Line(ALL, "screen,pgd-20[steps=2],pgd-eot-20[steps=2]", "Linf:8/255,L2:4", 8),
        Line(
            ALL,
            "stadv[steps=2],recolor[steps=2],fog[steps=2],snow[steps=2],elastic[steps=2],jpeg-linf[steps=2]",
            "stadv:0.8,recolor:0.06,fog:0.3,snow:0.03,elastic:0.25,jpeg-linf:0.125",
            4,
        ),
    ),
    4,
    2,
    _SHORT,
)
_TINY_IMAGENETTE = Size(
    (
        Line(ALL, "pgd-20[steps=2],pgd-eot-20[steps=2,eot=2]", "Linf:4/255,Linf:8/255", 4),
        Line(ALL, "ppgd[steps=2,eot=2]", "lpips:0.5", 2),
    ),
    2,
    2,
    _SHORT | {"batch_size": "8", "epochs": "2", "steps": "1"},
)
_TINY_DIFFUSION = Size(
    (
        Line(
            "diffpure[network=resnet-18,steps=1]",
            "blind[steps=2],pgd-eot-20[steps=2,eot=2],stadv[steps=2,eot=2]",
            "Linf:8/255,stadv:0.8",
            4,
        ),
    ),
    2,
    2,
    _SHORT | {"epochs": "3"},
    10,
)

CALLS: Mapping[str, Call] = {
    call.name: call
    for call in (
        *(
            Call(
                dataset,
                dataset,
                ImageSpec((3, 32, 32), classes),
                48_000,
                {
                    "standard-resnet-18": 0.09,
                    "at-resnet-18": 0.46,
                    "ap-resnet-18": 0.07,
                    "atop-resnet-18": 0.16,
                    MATRIX: 0.22,
                },
                f"{dataset}-resnet-18",
                Size(_CIFAR, 250),
                # The same lines as on CIFAR-10: one of them is enough to see that its hundred classes are.
                _TINY_CIFAR if dataset == "cifar10" else replace(_TINY_CIFAR, matrix=_TINY_CIFAR.matrix[1:]),
            )
            for dataset, classes in (("cifar10", 10), ("cifar100", 100))
        ),
        Call(
            "imagenette",
            "imagenette-160[resize=128]",
            ImageSpec((3, 128, 128), 10),
            8_523,
            {
                "standard-resnet-18": 0.11,
                "at-resnet-18": 0.42,
                "ap-resnet-18": 0.06,
                "atop-resnet-18": 0.21,
                MATRIX: 0.20,
            },
            "imagenette-128-resnet-18",
            Size(_IMAGENETTE, 50),
            _TINY_IMAGENETTE,
            small="imagenette-160[resize=32]",
        ),
        Call(
            "diffusion",
            "cifar10",
            ImageSpec((3, 32, 32), 10),
            48_000,
            {"standard-resnet-18": 0.09, "diffpure-resnet-18": 0.45, MATRIX: 0.46},
            "cifar10-diffusion-resnet-18",
            # A card with the accuracy on all test images would take as long as ten epochs.
            Size(_DIFFUSION, 16, judged=1000),
            _TINY_DIFFUSION,
            ("diffusers",),
        ),
    )
}
