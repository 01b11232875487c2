"""Learned filters against a loop over pixels, and what they must leave alone."""

import math

import pytest
import torch

from bench.attacks.perceptual.filters import filtered, quarter, start


def slowly(x, weights, size, guide, spread):
    """One filter by its definition: a weighted mean over mirrored neighbours; `weights` `[rows, columns, H, W]`."""
    rows, columns = size
    channels, height, width = x.shape
    out = torch.zeros_like(x)

    def mirrored(place, side):
        place = abs(place)
        return place if place < side else 2 * (side - 1) - place

    for i in range(height):
        for j in range(width):
            total = 0.0
            for a in range(rows):
                for b in range(columns):
                    p, q = mirrored(i + a - rows // 2, height), mirrored(j + b - columns // 2, width)
                    apart = sum(abs(float(guide[c, p, q] - guide[c, i, j])) for c in range(channels))
                    # The free weights are the upper left quarter; the others mirror it.
                    u, v = min(a, rows - 1 - a), min(b, columns - 1 - b)
                    weight = float(weights[u, v, i, j]) * math.exp(-((apart / spread) ** 2) / 2)
                    total += weight
                    out[:, i, j] += weight * x[:, p, q]
            out[:, i, j] /= total
    return out


@pytest.mark.parametrize("size", [(3, 3), (5, 3), (1, 5)])
def test_a_filter_is_a_weighted_mean_of_its_neighbours(size):
    generator = torch.Generator().manual_seed(0)
    x, guide = (torch.rand(1, 2, 6, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    logs = torch.randn(1, math.prod(quarter(size)), 30, generator=generator, dtype=torch.float64)

    found = filtered(x, [logs], [size], guide, 0.4)

    weights = logs.exp().view(*quarter(size), 6, 5)
    assert torch.allclose(found[0], slowly(x[0], weights, size, guide[0], 0.4))


def test_a_sequence_applies_one_filter_after_the_other():
    x = torch.rand(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    logs = [torch.randn_like(start(x, size)) for size in ((5, 5), (3, 3))]

    together = filtered(x, logs, [(5, 5), (3, 3)], x, 0.1)

    first = filtered(x, logs[:1], [(5, 5)], x, 0.1)
    assert torch.equal(together, filtered(first, logs[1:], [(3, 3)], x, 0.1))


def test_at_the_start_they_hardly_change_an_image():
    x = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))

    found = filtered(x, [start(x, (5, 5)), start(x, (3, 3))], [(5, 5), (3, 3)], x, 10.0)

    assert 0 < float((found - x).abs().max()) < 1e-3


def test_an_edge_in_the_guide_stays_where_it_is():
    """Equal weights everywhere: noise on either side of the edge is smoothed, and none of it crosses."""
    guide = torch.zeros(1, 1, 8, 8)
    guide[..., 4:] = 1
    x = guide.clone()
    x[..., 4:] -= 0.3 * torch.rand(8, 4, generator=torch.Generator().manual_seed(0))

    found = filtered(x, [torch.zeros_like(start(x, (5, 5)))], [(5, 5)], guide, 0.05)

    assert torch.equal(found[..., :4], x[..., :4])
    assert float(found[..., 4:].std()) < 0.5 * float(x[..., 4:].std())


def test_a_weight_of_nothing_gives_no_nan():
    """The pixel's own weight vanishes, and every neighbour differs in color."""
    x = (torch.arange(36).view(1, 1, 6, 6) % 7 / 7).contiguous()
    logs = start(x, (3, 3)).clone()
    logs[:, -1] = -1e4

    assert filtered(x, [logs], [(3, 3)], x, 1e-3).isfinite().all()
