"""P5: the gradient of a stochastic purifier averaged over 20 draws, one draw after the other against ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from clock import Timed, Variant, counter, interleaved
from fixture import LINF, Setup, cifar, fresh, planned, reference_apgd, robust, tensors
from report import Row
from torch import Tensor, nn

from bench.attacks.losses import LOSSES
from bench.attacks.lp.apgd import APGD
from bench.datasets.examples import Examples
from bench.datasets.load import beyond
from bench.defenses.inference import for_inference
from bench.defenses.networks.unet import UNet
from bench.defenses.purification import Purified, repaint
from bench.defenses.transforms import random_transform
from bench.harness.conversion import converted
from bench.harness.formats import PLAIN, SearchFormats
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream, preserved_generators, seed_everything
from bench.types import Defense

EOT, STEPS = 20, 10
# Least speed-up by batch size: small batches gain most, because several draws share a forward.
GOALS = {1: 4.0, 4: 3.0, 16: 2.5, 32: 2.0}
APGD_BATCH = 16
MUST = "batch 1, 4, 16, 32: >= 4, 3, 2.5, 2 x"
# The autoencoder need not be good: after a short fit most images stay recognizable.
_WIDTH, _FIT_STEPS, _FIT_BATCH, _FIT_IMAGES = 8, 120, 32, 512
_CANDIDATES, _DRAWS = 192, 5  # images from which the largest batch is chosen, and draws to judge each


def _purifier(setup: Setup) -> nn.Module:
    """Fit a small autoencoder that repaints noisy images with missing blocks, in seconds."""
    seen = beyond("cifar10", _CANDIDATES, _FIT_IMAGES, data=setup.data)
    if seen is None:
        raise ValueError(f"the data hold no {_FIT_IMAGES} further images of CIFAR-10 to fit an autoencoder to")
    x, _ = tensors(seen, setup.device)
    with preserved_generators():
        seed_everything("purifier")
        network, transform = UNet(x.shape[1], _WIDTH).to(setup.device), random_transform("2")
        optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
        for step in range(_FIT_STEPS):
            batch = x[torch.arange(step * _FIT_BATCH, (step + 1) * _FIT_BATCH) % len(x)]
            loss = F.mse_loss(repaint(network, transform(batch)), batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network


def _pipeline(setup: Setup, examples: Examples, state: dict[str, Tensor]) -> Purified:
    """Build the pipeline: RT2 of AToP (noise, then a random mask per row), the autoencoder, the robust classifier."""
    purifier = UNet(examples.spec.shape[0], _WIDTH).to(setup.device)
    purifier.load_state_dict(state)
    classifier = fresh(robust(setup), examples.spec, setup.device)
    return Purified(random_transform("2"), purifier, classifier).eval()


@torch.no_grad()
def _mean_accuracy(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the share of right draws of each image, `[n]`."""
    with preserved_generators():
        seed_everything("draws")
        return torch.stack([(network(x).argmax(1) == y).float() for _ in range(_DRAWS)]).mean(0)


def _sequential(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Average the gradient over draws in the loop of AutoAttack's `rand` version."""
    at = x.clone().requires_grad_()
    grad = torch.zeros_like(x)
    for _ in range(EOT):
        loss = F.cross_entropy(network(at), y, reduction="none").sum()
        grad += torch.autograd.grad(loss, [at])[0].detach()
    return grad / EOT


def run(setup: Setup) -> Row:
    """Time gradients at four batch sizes, then one whole attack."""
    device, examples = setup.device, cifar(setup, _CANDIDATES)
    state = _purifier(setup).state_dict()
    theirs, judge = (_pipeline(setup, examples, state) for _ in range(2))
    defense = Defense(for_inference(_pipeline(setup, examples, state)), stochastic=True)
    mine = counter(defense.model)
    plan = planned(defense, examples, device)
    x, y = tensors(examples, device)
    fast = None if plan.search == PLAIN else converted(defense.model, plan.search, x[:2])
    # Images that most draws get right come first: confirming a success is no part of a gradient's time.
    order = _mean_accuracy(judge, x, y).argsort(descending=True, stable=True)
    x, y = x[order], y[order]

    def oracle(size: int) -> Oracle:
        return Oracle(defense, size, scope=("performance",), fast=fast, rows_at_once=plan.rows_at_once)

    def ours(size: int) -> Callable[[], Tensor]:
        rows = torch.arange(size, device=device)
        return lambda: oracle(size).gradient(x[:size], y[:size], LOSSES["ce"], rows, eot=EOT).grad

    found: dict[int, dict[str, Timed[Any]]] = {}
    for size in (setup.size(size) for size in GOALS):
        variants = {
            "one by one": Variant(lambda size=size: _sequential(theirs, x[:size], y[:size]), counter(theirs)),  # type: ignore[misc]
            "ours": Variant(ours(size), mine),
        }
        found[size] = interleaved(variants, device, max(setup.repetitions, 3), warm=True)
    size = setup.size(APGD_BATCH)
    stream = Stream(torch.arange(size, device=device))
    attacks = {
        "ours": Variant(
            lambda: APGD(loss="ce", steps=STEPS, eot=EOT)(oracle(size), x[:size], y[:size], LINF, stream=stream), mine
        ),
    }
    if importlib.util.find_spec("pyautoattack"):
        apgd = reference_apgd(theirs, device, steps=STEPS, eot=EOT)
        attacks["one by one"] = Variant(lambda: apgd.perturb(x[:size], y[:size]), counter(theirs))
    attacked = interleaved(attacks, device, 1)
    left = {name: float(_mean_accuracy(judge, each.result, y[:size]).mean()) for name, each in attacked.items()}
    return _row(setup, found, attacked, left, plan)


def _row(
    setup: Setup,
    found: dict[int, dict[str, Timed[Any]]],
    attacked: dict[str, Timed[Any]],
    left: dict[str, float],
    plan: SearchFormats,
) -> Row:
    ratios = {size: pair["one by one"].median / pair["ours"].median for size, pair in found.items()}
    whole = f"{attacked['one by one'].median / attacked['ours'].median:.1f} x" if "one by one" in attacked else "alone"
    cosines = {
        size: float(torch.cosine_similarity(*(each.result.flatten(1) for each in pair.values())).mean())
        for size, pair in found.items()
    }
    table: list[tuple[Any, ...]] = [
        (f"gradient, batch {size}", name, f"{each.median:.4f}", "", str(each.passes))
        for size, pair in found.items()
        for name, each in pair.items()
    ]
    table += [
        (f"APGD-CE {STEPS}", name, f"{each.median:.3f}", f"{left[name]:.3f}", str(each.passes))
        for name, each in attacked.items()
    ]
    size = max(found)
    agreement = ", ".join(f"{value:.2f}" for value in cosines.values())
    return Row(
        "P5",
        f"RT2 + autoencoder + {setup.title}, EOT {EOT}: pyautoattack's rand loop vs ours",
        MUST,
        ", ".join(f"{ratio:.1f}" for ratio in ratios.values()) + f" x; APGD-CE {STEPS} {whole}",
        all(ratio >= goal for ratio, goal in zip(ratios.values(), GOALS.values(), strict=False)),
        f"{found[size]['one by one'].passes} vs {found[size]['ours'].passes} (batch {size})",
        ("", "", "s", "mean accuracy after", "passes"),
        table,
        (
            f"search in {plan.search}, {plan.rows_at_once} rows at once; the autoencoder is fitted for {_FIT_STEPS} "
            f"steps by this script; cosine of the two gradients {agreement}",
        ),
        {
            "gradients": {
                str(size): {name: each.to_json() for name, each in pair.items()} for size, pair in found.items()
            },
            "ratios": {str(size): round(ratio, 3) for size, ratio in ratios.items()},
            "cosines": {str(size): round(value, 4) for size, value in cosines.items()},
            "apgd": {name: {**each.to_json(), "mean accuracy": left[name]} for name, each in attacked.items()},
            "plan": plan.to_json(),
        },
    )
