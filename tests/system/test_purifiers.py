"""What every purifier that repaints must keep to, whatever it is made of."""

from __future__ import annotations

import pytest
import torch

from bench.defenses.networks.autoencoder import MaskedAutoencoder
from bench.defenses.networks.by_name import PURIFIERS, build
from bench.defenses.networks.discriminator import PatchDiscriminator
from bench.defenses.networks.inpainter import GatedInpainter
from bench.defenses.purification import Purified
from bench.defenses.transforms import TRANSFORMS, RandomTransform
from bench.types import ImageSpec

DIGITS = ImageSpec((1, 8, 8), 10)
CIFAR = ImageSpec((3, 32, 32), 10)
ODD = ImageSpec((3, 33, 35), 10)
SPECS = [pytest.param(spec, id=name) for name, spec in (("digits", DIGITS), ("cifar", CIFAR), ("odd", ODD))]


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


@pytest.mark.parametrize("spec", SPECS)
def test_any_image_is_painted_in_its_shape_and_in_the_box(name, spec):
    """Weights five times as large as usual drive the output to the ends of [0, 1] and not beyond."""
    purifier = purifier_of(name, spec)
    with torch.no_grad():
        for parameter in purifier.parameters():
            parameter.mul_(5)
    x, mask = batch(spec)

    painted = purifier(x, mask).detach()

    assert painted.shape == x.shape
    assert painted.dtype == x.dtype
    assert 0 <= painted.min() < 0.2
    assert 0.8 < painted.max() <= 1


@pytest.mark.parametrize("spec", SPECS)
def test_an_image_alone_is_painted_as_it_is_in_company(name, spec):
    """Company of other masks included: what one image shows must not decide for another.

    In float64, where rounding, which does depend on the batch, cannot hide or feign an influence.
    """
    purifier = purifier_of(name, spec).train().double()
    x, mask = (each.double() for each in batch(spec))

    together = purifier(x, mask)
    alone = torch.cat([purifier(x[i : i + 1], mask[i : i + 1]) for i in range(len(x))])

    assert torch.allclose(together, alone, rtol=0, atol=1e-10)
    assert torch.allclose(purifier.float()(x.float(), mask.float()).double(), alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_covered_has_no_influence(name, spec):
    """Whatever is under the mask, the painting is the same to the bit; what is not covered tells."""
    purifier = purifier_of(name, spec)
    x, mask = batch(spec)

    painted = purifier(x, mask)
    elsewhere = purifier(torch.where(mask == 1, 1 - x, x), mask)
    inverted = purifier(torch.where(mask == 1, x, 1 - x), mask)

    assert torch.equal(painted, elsewhere)
    assert not torch.equal(painted[1], inverted[1])


@pytest.mark.parametrize("spec", SPECS)
def test_a_gradient_flows_from_what_is_painted_to_what_is_seen_and_to_every_weight(name, spec):
    """An attack needs the former, fine-tuning the latter; covered pixels have a gradient of zero."""
    purifier = purifier_of(name, spec)
    x, mask = batch(spec)
    x.requires_grad_()

    (purifier(x, mask) * torch.rand_like(x)).sum().backward()

    seen = (x.grad * (1 - mask)).flatten(1).abs().amax(1)
    assert (seen[:-1] > 0).all()
    assert not (x.grad * mask).any()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in purifier.parameters())


def test_two_forwards_give_the_same_bits(name):
    """A purifier draws nothing: the randomness of a defense is in its transform."""
    purifier = purifier_of(name, CIFAR)
    x, mask = batch(CIFAR)

    assert torch.equal(purifier(x, mask), purifier(x, mask))


@pytest.mark.parametrize("rt", sorted(TRANSFORMS))
def test_a_purifier_works_behind_every_transform(name, rt):
    """The pipeline repaints and classifies under RT1 to RT3 and without a transform."""
    purifier = purifier_of(name, DIGITS)
    x = torch.rand(4, 1, 8, 8)
    pipeline = Purified(TRANSFORMS[rt], purifier, torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)))

    purified = pipeline.purify(x)

    assert purified.shape == x.shape
    assert 0 <= purified.min() <= purified.max() <= 1
    assert pipeline(x).shape == (4, 10)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (lambda: MaskedAutoencoder(DIGITS.shape), 51_844),
        (lambda: MaskedAutoencoder(CIFAR.shape), 55_088),
        (lambda: GatedInpainter(DIGITS.shape), 60_626),
        (lambda: GatedInpainter(CIFAR.shape), 293_686),
        (lambda: PatchDiscriminator(DIGITS.shape), 211_393),
        (lambda: PatchDiscriminator(CIFAR.shape), 2_675_905),
    ],
    ids=["autoencoder-digits", "autoencoder-cifar", "inpainter-digits", "inpainter-cifar", "sn-digits", "sn-cifar"],
)
def test_networks_are_as_large_as_their_docstrings_say(network, parameters):
    """Rounded to thousands there."""
    built = network()

    assert sum(parameter.numel() for parameter in built.parameters()) == parameters
    assert f"{round(parameters, -3):,}" in type(built).__doc__
