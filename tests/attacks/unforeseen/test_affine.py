"""Affine warps: exact permutations of pixels, and torch's own reading."""

import pytest
import torch
import torch.nn.functional as F

from bench.attacks.unforeseen import affine


@pytest.fixture
def x():
    return torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def change():
    """A random change of any shape."""

    def draw(*shape, size=0.2, seed=1):
        return size * (2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1)

    return draw


def test_turning_the_matrix_turns_the_image():
    """Mirror images, a half turn and, for a square image, a quarter turn are exact permutations of pixels."""
    x = torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(2))
    matrices = {
        "mirror": [[-1.0, 0, 0], [0, 1, 0]],
        "half": [[-1.0, 0, 0], [0, -1, 0]],
        "quarter": [[0.0, 1, 0], [-1, 0, 0]],
    }

    turned = {name: affine.render(x, torch.tensor(matrix)[None] - torch.eye(2, 3)) for name, matrix in matrices.items()}

    assert torch.allclose(turned["mirror"], x.flip(3), atol=1e-5)
    assert torch.allclose(turned["half"], x.flip(2, 3), atol=1e-5)
    assert torch.allclose(turned["quarter"], x.rot90(-1, (2, 3)), atol=1e-5)


def test_torch_reads_an_affine_warp_the_same_way(x, change):
    """An independent implementation: `affine_grid` and `grid_sample`."""
    entries = change(3, 2, 3)
    grid = F.affine_grid(torch.eye(2, 3) + entries, list(x.shape), align_corners=False)

    warped = affine.render(x, entries)

    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    assert torch.allclose(warped, expected, atol=1e-5)
