"""P10: stochastic purifiers, by `core`, by Lee and Kim's preset (arXiv:2303.09051) and by pyautoattack's rand version.

The images that each leaves are judged in 100 draws that no attack has seen. So the difference of two accuracies has no
bias, and its standard error is that of the paired difference over the images.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from clock import once
from fixture import Setup, cell, loaded, tensors
from report import Row
from torch import Tensor

from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.harness.cascade import attack_of
from bench.harness.evaluate import evaluate, judge
from bench.oracle.randomness import preserved_generators
from bench.threats import ThreatModel

IMAGES, DRAWS = 64, 100
DEFENSES = ("atop[rt=1]", "atop[rt=2]", "ap[rt=1]")
CORE, PRESET, PEER = "core", "pgd-eot-200", "autoattack-ref"
THREAT = ThreatModel.parse("Linf:0.2")
FEWER = 10
# Standard errors above which a difference is not chance.
_CLEAR = 2.0
MUST = f"right draws above those of {PRESET} by <= {_CLEAR:.0f} standard errors, <= 1/{FEWER} of its passes"


@dataclass(frozen=True)
class Left:
    """What an attack left.

    Attributes:
        right: share of right draws of each image, float64 `[n]`.
        forwards: of the attack, all images and draws together.
        backwards: of the attack.
        seconds: the judge's time included, as it decides which images are attacked.
    """

    right: Tensor
    forwards: int
    backwards: int
    seconds: float

    @property
    def passes(self) -> int:
        return self.forwards + self.backwards

    def above(self, other: Left) -> tuple[float, float]:
        """Return by how many points more is right here than there, and the standard error of that."""
        points = 100 * (self.right - other.right)
        return float(points.mean()), float(points.std() / len(points) ** 0.5)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for the JSON file."""
        return {
            "right": [round(share, 4) for share in self.right.tolist()],
            "forwards": self.forwards,
            "backwards": self.backwards,
            "seconds": self.seconds,
        }


def _attacked(name: str, attack: str, examples: Examples, device: str) -> Left:
    asked = cell(name, attack, examples, THREAT)
    defense = loaded(asked.defense, examples.spec, device)
    timed = once(partial(evaluate, asked, defense, attack_of(asked.attack), examples, device=device), device)
    done, judged = timed.result
    _, y = tensors(examples, device)
    with torch.no_grad(), preserved_generators():
        scope = ("performance", examples.digest, "judge")
        correct = judge(defense.model, torch.from_numpy(judged.x_adv).to(device), y, DRAWS, scope).correct
    return Left(correct.cpu().double() / DRAWS, done.cost.forwards, done.cost.backwards, timed.median)


def run(setup: Setup) -> Row:
    """Attack each defense by each attack, once."""
    examples = load("digits", "test", n=setup.size(IMAGES))
    attacks = (CORE, PRESET, *([PEER] if importlib.util.find_spec("pyautoattack") else []))
    table: list[tuple[Any, ...]] = []
    data: dict[str, Any] = {}
    reached, told, passes = [], [], []
    for name in DEFENSES:
        found = {attack: _attacked(name, attack, examples, setup.device) for attack in attacks}
        core, preset = found[CORE], found[PRESET]
        for attack, left in found.items():
            each = f"{left.passes / len(examples):,.0f}"
            row = (name, attack, f"{100 * left.right.mean():.1f}", each, f"{left.seconds:.1f}")
            table.append((*row, "" if left is preset else "{:+.1f} +- {:.1f}".format(*left.above(preset))))
        points, error = core.above(preset)
        reached.append(points <= _CLEAR * error and core.passes * FEWER <= preset.passes)
        told.append(f"{name}: {points:+.1f} +- {error:.1f} points, 1/{preset.passes / core.passes:.1f}")
        passes.append(f"{preset.forwards:,} f + {preset.backwards:,} b vs {core.forwards:,} f + {core.backwards:,} b")
        data[name] = {attack: left.to_json() for attack, left in found.items()}
    return Row(
        "P10",
        f"stochastic purifiers, {len(examples)} digits, {THREAT}: {PRESET} vs {CORE}",
        MUST,
        "; ".join(told),
        all(reached),
        "; ".join(passes),
        ("", "attack", "right draws, %", "passes per image", "s", f"above {PRESET}"),
        table,
        (f"right draws: of {DRAWS} that no attack has seen; they are in no count of passes",),
        data,
    )
