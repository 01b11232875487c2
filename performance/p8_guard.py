"""P8: the cheap cascades on defenses that mask their gradients, which must raise the alarm and escalate."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from clock import counter, once
from fixture import HERE, LINF, Setup, broken, cell, cifar, evaluated, loaded, planned, reference_apgd, right, tensors
from numpy.typing import NDArray
from report import Row
from torch import Tensor, nn

IMAGES = 24
MUST = "alarm raised, escalated, broken set >= that of APGD-CE with 100 steps"
DEFENSES = {"quantized": "quantized input", "saturated": "logits x 200"}
ATTACKS = ("screen", "core")


def _left(network: nn.Module, attack: Any, x: Tensor, y: Tensor) -> NDArray[np.bool_]:  # noqa: ANN401  (untyped)
    return right(network, attack.perturb(x, y), y)


def run(setup: Setup) -> Row:
    """Run both cascades on both defenses, once each; only the verdicts matter here, not the time."""
    examples = cifar(setup, IMAGES)
    x, y = tensors(examples, setup.device)
    table: list[tuple[Any, ...]] = []
    data: dict[str, Any] = {}
    verdicts, totals, alarms = [], [], 0
    for name, title in DEFENSES.items():
        source = f"{HERE / 'masked.py'}:{name}"
        defense = loaded(cell(source, ATTACKS[0], examples).defense, examples.spec, setup.device)
        network, mine = defense.model, counter(defense.model)
        clean = right(network, x, y)
        reference = reference_apgd(network, setup.device)
        theirs = once(partial(_left, network, reference, x, y), setup.device, mine)
        found = clean & ~theirs.result
        first = int(found.sum())
        table.append((title, "pyautoattack APGD-CE 100", first, "", "", f"{theirs.median:.1f}", str(theirs.passes)))
        plan = planned(defense, examples, setup.device)
        for attack in ATTACKS:
            asked = cell(source, attack, examples)
            ours = once(partial(evaluated, asked, examples, plan, setup.device), setup.device, mine)
            set_, escalated = broken(ours.result), ours.result.evidence.escalated
            # Examples beyond the reference's are welcome: a masked gradient hides them from APGD-CE.
            missed = int((found & ~set_).sum())
            verdicts.append(escalated > 0 and missed == 0)
            totals.append(f"{title}, {attack}: {int(set_.sum())} vs {first}, {missed} missed")
            alarms += escalated > 0
            table.append((title, attack, int(set_.sum()), missed, escalated, f"{ours.median:.1f}", str(ours.passes)))
            data[f"{name} {attack}"] = {
                "seconds": ours.median,
                "passes": vars(ours.passes),
                "escalated": escalated,
                "broken": set_.nonzero()[0].tolist(),
                "broken by APGD-CE": found.nonzero()[0].tolist(),
                "components": {label: part.broken for label, part in ours.result.ledger.components.items()},
            }
    return Row(
        "P8",
        f"masked gradients, {len(x)} images, {LINF}: screen and core",
        MUST,
        "; ".join(totals) + f"; alarm in {alarms} of {len(totals)}",
        all(verdicts),
        "",
        ("defense", "attack", "broken", "missed", "escalated", "s", "passes"),
        table,
        (),
        data,
    )
