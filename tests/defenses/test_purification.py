"""A classifier behind a purifier: what is repainted under several masks."""

from __future__ import annotations

import torch

from bench.defenses.purification import repaint
from bench.defenses.transforms import TRANSFORMS


def test_rt3_combines_the_repainted_part_of_each_mask():
    """A pixel of the result was painted under the mask that covered it, not under another one."""

    def tell_mask(image, mask):
        # Paints each missing pixel with the share of covered pixels in its own upper half.
        return mask[:, :, :4].mean((1, 2, 3), keepdim=True).expand_as(image)

    covered = TRANSFORMS["3"](torch.rand(8, 1, 8, 8))

    combined = repaint(tell_mask, covered)

    for painted, mask in zip([tell_mask(covered.image, mask) for mask in covered.masks], covered.masks, strict=True):
        assert torch.equal(combined[mask.bool()], painted[mask.bool()])
