"""P4: PGD-20 at batch 128 against every library that has it, and against its passes alone."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from clock import Timed, Variant, counter, interleaved, once, synchronizations
from fixture import LINF, Setup, cell, cifar, evaluated, fresh, loaded, planned, right, robust, tensors
from report import Row
from torch import Tensor, nn

from bench import _compat
from bench.attacks.lp.pgd import PGD
from bench.harness.conversion import converted
from bench.oracle.answers import Gradient, Loss
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.types import Defense

IMAGES, STEPS = 128, 20
# 2 / 255, as in most papers; every library gets the same step, start and number of steps.
EPS, STEP = float(LINF.eps), float(LINF.eps) / 4
MUST = ">= 6 x the fastest peer at the same robust accuracy +- 1; fixed budget <= 1.25 x the bare passes, best format"
Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _torchattacks(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    attack = importlib.import_module("torchattacks").PGD(network, eps=EPS, alpha=STEP, steps=STEPS, random_start=True)
    found: Tensor = attack(x, y)
    return found


def _foolbox(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    foolbox: Any = importlib.import_module("foolbox")
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device=x.device)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=True)
    _, clipped, _ = attack(model, x, y, epsilons=EPS)
    found: Tensor = clipped
    return found


def _art(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    kind: Any = importlib.import_module("art.estimators.classification").PyTorchClassifier
    classifier = kind(
        network,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="gpu" if x.is_cuda else "cpu",
    )
    attack = importlib.import_module("art.attacks.evasion").ProjectedGradientDescent(
        classifier,
        norm=math.inf,
        eps=EPS,
        eps_step=STEP,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=len(x),
        verbose=False,
    )
    return torch.from_numpy(attack.generate(x.cpu().numpy(), y=y.cpu().numpy())).to(x.device)


def _advlib(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    attack: Any = importlib.import_module("adv_lib.attacks").pgd_linf
    found: Tensor = attack(network, x, y, EPS, steps=STEPS, absolute_step_size=STEP)
    return found


PEERS: dict[str, tuple[str, Attack]] = {
    "torchattacks": ("torchattacks", _torchattacks),
    "foolbox": ("foolbox", _foolbox),
    "ART": ("art.attacks.evasion", _art),
    "adv-lib": ("adv_lib.attacks", _advlib),
}


def installed() -> tuple[dict[str, Attack], list[str]]:
    """Return the peers that load here, and the reasons why the others do not."""
    _compat.torchvision()
    if importlib.util.find_spec("visdom") is None:  # adv-lib imports this plotting server, which no attack needs
        stand_in: Any = ModuleType("visdom")
        stand_in.Visdom = object
        sys.modules.setdefault("visdom", stand_in)
    found, missing = {}, []
    for name, (module, attack) in PEERS.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            missing.append(f"{name} is not installed ({error})")
        else:
            found[name] = attack
    return found, missing


class _Unforgetting(Oracle):
    """An oracle that never lets an attack stop early, and confirms one success of an image, as in a real run.

    Peers make all 20 steps for every example; with it ours do, too, and the times per step compare.
    """

    def open(self, rows: Tensor) -> Tensor:
        return rows

    def gradient(
        self, x: Tensor, y: Tensor, loss: Loss, rows: Tensor, *, eot: int = 1, inside: Tensor | None = None
    ) -> Gradient:
        return super().gradient(x, y, loss, rows, eot=eot, inside=self._unknown(rows, inside))

    def logits(
        self, x: Tensor, rows: Tensor, *, y: Tensor | None = None, eot: int = 1, inside: Tensor | None = None
    ) -> Tensor:
        return super().logits(x, rows, y=y, eot=eot, inside=self._unknown(rows, inside))

    def _unknown(self, rows: Tensor, inside: Tensor | None) -> Tensor:
        unknown = ~self.broken.to(rows.device)[rows]
        return unknown if inside is None else inside & unknown


def _bare(network: nn.Module, x: Tensor, y: Tensor) -> None:
    for _ in range(STEPS):
        at = x.clone().requires_grad_()
        torch.autograd.grad(F.cross_entropy(network(at), y, reduction="sum"), at)


def run(setup: Setup) -> Row:
    """Time the peers, our variants and the passes alone, in turns."""
    device, examples, ref = setup.device, cifar(setup, IMAGES), robust(setup)
    x, y = tensors(examples, device)
    asked = cell(setup.robust.label, "pgd-20", examples, trained=setup.trained)
    defense = loaded(ref, examples.spec, device)
    mine = counter(defense.model)  # before any copy is made, so that it counts the copies, too
    choice = once(lambda: planned(defense, examples, device), device)
    plan = choice.result
    best = converted(defense.model, plan.search, x[:2])
    plain, judge = (fresh(ref, examples.spec, device) for _ in range(2))
    plain.requires_grad_(False)
    stream = Stream.of(examples.ids, "performance", device=device)

    def fixed(faced: Defense, fast: nn.Module | None) -> Callable[[], Tensor]:
        def work() -> Tensor:
            oracle = _Unforgetting(faced, len(x), fast=fast, labels=y)
            return PGD(steps=STEPS)(oracle, x, y, LINF, stream=stream)

        return work

    peers, notes = installed()
    variants: dict[str, Variant[Any]] = {}
    for name, attack in peers.items():
        network = fresh(ref, examples.spec, device)
        variants[name] = Variant(lambda attack=attack, net=network: attack(net, x, y), counter(network))  # type: ignore[misc]
    variants["ours"] = Variant(lambda: evaluated(asked, examples, plan, device), mine)
    variants["ours, no early stop"] = Variant(fixed(defense, best if best is not defense.model else None), mine)
    variants["ours, no early stop, no second opinion"] = Variant(fixed(Defense(best), None), mine)
    variants["bare passes, best format"] = Variant(lambda: _bare(best, x, y), mine)
    variants["bare passes, as trained"] = Variant(lambda: _bare(plain, x, y), counter(plain))
    timed = interleaved(variants, device, max(setup.repetitions, 3), warm=True)
    for name, each in timed.items():
        # One network judges the points of all libraries, in float32 and outside of the time.
        if isinstance(each.result, Tensor):
            each.result = int(right(judge, each.result.to(x), y).sum())
        elif name == "ours":
            each.result = int((each.result.verdicts.adversarial > 0).sum())
    if device != "cpu":
        count = synchronizations(lambda: evaluated(asked, examples, plan, device))
        notes.append(f"{count / STEPS:.1f} synchronizations per step")
    subject = "" if setup.network == "small" else f"{setup.title}: "
    return _row(subject, len(x), timed, list(peers), choice.median, str(plan.search), notes)


def _row(
    subject: str,
    n: int,
    timed: dict[str, Timed[Any]],
    peers: list[str],
    choice: float,
    layout: str,
    notes: list[str],
) -> Row:
    ours, bare = timed["ours"], timed["bare passes, best format"]
    share = timed["ours, no early stop"].median / bare.median
    alone = timed["ours, no early stop, no second opinion"].median / bare.median
    fastest = min(peers, key=lambda name: timed[name].median, default="")
    table = [
        (
            name,
            "" if each.result is None else f"{each.result} of {n}",
            f"{each.median:.3f}",
            f"{each.median / ours.median:.1f}",
            f"{each.median / bare.median:.2f}",
            str(each.passes),
        )
        for name, each in timed.items()
    ]
    data = {name: {**each.to_json(), "robust": each.result} for name, each in timed.items()}
    notes.append(
        f"search in {layout}; choosing it took {choice:.2f} s, once per network and machine, and is not in our time "
        "here; our time holds the verdicts (clean images judged, points verified and judged), the peers' the attack"
    )
    must, headers = MUST, ("", "robust", "s", "x ours", "x bare", "passes")
    workload = f"{subject}PGD-{STEPS}, {LINF}, step 2/255, batch {n}"
    data["choice of a format"] = {"seconds": choice, "format": layout}
    if not fastest:
        return Row("P4", workload, must, "no peer installed", None, "", headers, table, notes, data)
    ratio, apart = timed[fastest].median / ours.median, ours.result - timed[fastest].result
    return Row(
        "P4",
        workload,
        must,
        f"{ratio:.1f} x {fastest} (robust {ours.result} vs {timed[fastest].result}); fixed budget {share:.2f} x bare, "
        f"{alone:.2f} x without second opinions",
        ratio >= 6 and abs(apart) <= 1 and share <= 1.25,
        f"{timed[fastest].passes} vs {ours.passes}",
        headers,
        table,
        notes,
        data,
    )
