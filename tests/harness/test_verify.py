"""Twelve ways to leave a threat model, ten times each: every one is the attack's failure, never a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench.attacks.unforeseen.rendered import Proof
from bench.attacks.unforeseen.stadv import StAdv, render
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.examples import Examples
from bench.harness.evaluate import evaluate
from bench.harness.verify import Violation
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel
from bench.types import Defense, ImageSpec

SHAPE = (3, 8, 8)


def beyond(family, excess=1e-4):
    """A point just outside the ball, still inside the box."""

    def attack(x, eps, generator):
        delta = torch.randn(x.shape, generator=generator)
        size = {
            "Linf": delta.abs().amax,
            "L2": lambda d: delta.square().sum(d).sqrt(),
            "L1": lambda d: delta.abs().sum(d),
        }
        return x + delta / size[family]((1, 2, 3))[:, None, None, None] * eps * (1 + excess)

    return attack


def one_pixel_more(x, eps, generator):
    """Of one image a pixel more than allowed, by the least that float32 knows, in one channel."""
    x_adv = x.clone()
    pixels = torch.randperm(x[0, 0].numel(), generator=generator)[: int(eps) + 1]
    held = x_adv.view(*x.shape[:2], -1)[0, 0]
    held[pixels] = torch.where(
        held[pixels] > 0, torch.nextafter(held[pixels], torch.zeros(())), torch.nextafter(held[pixels], torch.ones(()))
    )
    return x_adv


def outside(value):
    def attack(x, eps, generator):
        x_adv = x.clone()
        pixel = torch.randint(x[0].numel(), (1,), generator=generator)
        x_adv.view(len(x), -1)[0, pixel] = value
        return x_adv

    return attack


def low_precision(x, eps, generator):
    """The bound is kept in bfloat16, and broken in float32."""
    sign = torch.randn(x.shape, generator=generator).sign()
    return (x.bfloat16() + (sign * eps).bfloat16()).clamp(0, 1).float()


def truncated(x, eps, generator):
    """Saved as bytes by cutting off instead of rounding."""
    sign = torch.randn(x.shape, generator=generator).sign()
    return ((x + sign * eps).clamp(0, 1) * 255).byte().float() / 255


KINDS = {
    "Linf distance": ("Linf:8/255", beyond("Linf")),
    "L2 distance": ("L2:0.5", beyond("L2")),
    "L1 distance": ("L1:5", beyond("L1")),
    "L0 distance": ("L0:4", one_pixel_more),
    "below black": ("Linf:8/255", outside(-1e-7)),
    "above white": ("Linf:8/255", outside(1 + 2e-7)),
    "not a number": ("Linf:8/255", outside(torch.nan)),
    "infinite": ("Linf:8/255", outside(torch.inf)),
    "float64": ("Linf:8/255", lambda x, eps, generator: x.double()),
    "kept in bfloat16": ("Linf:8/255", low_precision),
    "another shape": ("Linf:8/255", lambda x, eps, generator: x[:, :1]),
    "another order": (
        "Linf:8/255",
        lambda x, eps, generator: x[torch.randperm(len(x), generator=generator).roll(1)].flip(0),
    ),
    "cut to bytes": ("Linf:8/255", truncated),
}


def examples(seed):
    generator = torch.Generator().manual_seed(seed)
    x = 0.2 + 0.6 * torch.rand(6, *SHAPE, generator=generator)
    ids = [f"{seed}-{index}" for index in range(6)]
    return Examples("noise", "test", ids, x.numpy(), np.zeros(6, dtype=np.int64), ImageSpec(SHAPE, 2))


class Right(nn.Module):
    """Right about everything, so that every example is attacked."""

    def forward(self, x):
        return torch.stack([torch.ones(len(x)), torch.zeros(len(x))], 1) + 0 * x.flatten(1).sum(1, keepdim=True)


def judged(attack, threat, shard):
    part = Slice("noise", "test", len(shard), shard.digest)
    cell = Cell(DefenseRef("right", "right", "r"), AttackRef("odd", "odd", "o"), threat, part, 0, 1, 64)
    return evaluate(cell, Defense(Right()), attack, shard)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", KINDS)
def test_a_violation_is_caught(kind, seed, tally):
    """And named by a rule of the verifier."""
    text, make = KINDS[kind]
    threat = ThreatModel.parse(text)
    generator = torch.Generator().manual_seed(100 + seed)
    caught = 0

    def attack(oracle, x, y, threat, *, stream):
        return make(x, float(threat.eps), generator)

    try:
        judged(attack, threat, examples(seed))
    except Violation as error:
        caught = str(error)[:3] in ("V01", "V02", "V03", "V04")

    tally("violations", int(caught), 1, "caught")
    assert caught


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["flow too long", "another image", "no proof"])
def test_a_flow_that_proves_nothing_is_caught(kind, seed):
    """StAdv shows the flow its image was rendered from, and both are held against the bound (V07)."""
    threat = ThreatModel.parse("stadv:0.4")
    generator = torch.Generator().manual_seed(seed)

    class Odd(StAdv):
        def propose(self, oracle, x, y, threat, *, stream):
            flow = 0.4 * (2 * torch.rand(len(x), *SHAPE[1:], 2, generator=generator) - 1)
            if kind == "flow too long":
                flow[0, 0, 0, 0] = 0.4001
            x_adv = render(x, flow)
            return (x_adv + 1e-5 * (x_adv < 0.9)) if kind == "another image" else x_adv, Proof(flow, ())

    attack = (lambda oracle, x, y, threat, *, stream: x) if kind == "no proof" else Odd()

    with pytest.raises(Violation, match="V07"):
        judged(attack, threat, examples(seed))


@pytest.mark.parametrize("text", ["Linf:8/255", "L2:0.5", "L1:5"])
def test_what_keeps_to_the_bounds_passes(text):
    """The largest step allowed is no false alarm."""
    threat = ThreatModel.parse(text)
    inside = beyond(threat.family, excess=-1e-6)

    def attack(oracle, x, y, threat, *, stream):
        return inside(x, float(threat.eps), torch.Generator().manual_seed(0))

    found, _ = judged(attack, threat, examples(0))

    assert found.verdicts.adversarial.tolist() == [1] * 6


def test_all_the_pixels_that_l0_allows_pass_at_any_color():
    def attack(oracle, x, y, threat, *, stream):
        x_adv = x.clone()
        x_adv.flatten(2)[:, :, :4] = (x_adv.flatten(2)[:, :, :4] < 0.5).float()
        return x_adv

    found, _ = judged(attack, ThreatModel.parse("L0:4"), examples(0))

    assert found.verdicts.adversarial.tolist() == [1] * 6
