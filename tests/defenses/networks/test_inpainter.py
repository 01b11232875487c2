"""The gated inpainter: two stages, the second of which repairs."""

from __future__ import annotations

import pytest
import torch

from bench.defenses.networks.by_name import PURIFIERS, build
from bench.defenses.transforms import RandomTransform
from bench.types import ImageSpec

DIGITS = ImageSpec((1, 8, 8), 10)
CIFAR = ImageSpec((3, 32, 32), 10)


@pytest.fixture(params=sorted(PURIFIERS))
def name(request):
    return request.param


def purifier_of(name, spec, width=8):
    torch.manual_seed(0)
    return build({"name": name, "width": width}, spec).eval()


def batch(spec, size=3):
    """Images under masks of their own, of which the first covers nothing and the last everything."""
    torch.manual_seed(1)
    x = torch.rand(size, *spec.shape)
    masks = RandomTransform(masks=1)(x).masks[0]
    masks[0], masks[-1] = 0, 1
    return x, masks


def test_the_last_stage_of_the_inpainter_is_what_it_returns():
    """Both stages paint whole images in the box, and they differ."""
    inpainter = purifier_of("gated-inpainter", CIFAR)
    x, mask = batch(CIFAR)

    coarse, fine = inpainter.stages(x, mask)

    assert torch.equal(fine, inpainter(x, mask))
    assert coarse.shape == fine.shape == x.shape
    assert not torch.equal(coarse, fine)
    assert 0 <= coarse.min() <= coarse.max() <= 1


def test_the_fine_stage_of_the_inpainter_sees_the_coarse_one_only_where_something_is_missing():
    """Without a mask the coarse stage decides nothing."""
    inpainter = purifier_of("gated-inpainter", DIGITS)
    x, _ = batch(DIGITS)

    def painted(mask):
        first = inpainter(x, mask)
        with torch.no_grad():
            inpainter.coarse.head.bias.add_(1)
        return first, inpainter(x, mask)

    whole, still_whole = painted(torch.zeros_like(x))
    half, other_half = painted(torch.cat([torch.ones(3, 1, 4, 8), torch.zeros(3, 1, 4, 8)], dim=2))

    assert torch.equal(whole, still_whole)
    assert not torch.equal(half, other_half)
