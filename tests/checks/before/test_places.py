"""Where the gradient is examined, and the parts that an image is divided into."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.checks.before.places import divisions, places
from bench.checks.before.pristine import Pristine
from bench.checks.before.subject import Subject
from bench.datasets.examples import Examples
from bench.types import Defense, ImageSpec


class Lead(nn.Module):
    """Two classes; `function(x)` is the lead of the second one."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        lead = self.function(x)
        return torch.stack([torch.zeros_like(lead), lead], 1)


@pytest.fixture
def gray(images):
    return images(32)


@pytest.fixture
def subject_of(gray):
    """Put a function on the bench of the preflight."""

    def build(function, x=gray, eps=8 / 255):
        y = torch.zeros(len(x), dtype=torch.int64)
        ids = [f"image-{index}" for index in range(len(x))]
        examples = Examples("known", "test", ids, x.numpy(), y.numpy(), ImageSpec(tuple(x.shape[1:]), 2))
        model = Lead(function)
        return Subject(Defense(model), examples, eps, Pristine(model, "cpu"))

    return build


@pytest.mark.parametrize(("channels", "kinds"), [(1, 3), (3, 4)])
def test_every_pixel_is_in_one_part_of_each_kind(channels, kinds, subject_of, images):
    x = (5 * images(32, (channels, 9, 7)) - 2).clamp(0, 1)  # with black pixels and white ones
    place = places(subject_of(lambda x: x.flatten(1).sum(1), x))[0]

    found = divisions(place)

    assert len(found) == kinds
    for parts in found.values():
        assert torch.equal(sum(part.mask.int() for part in parts), torch.ones_like(place.x, dtype=torch.int32))
