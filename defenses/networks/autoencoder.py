"""A masked autoencoder (He et al., CVPR 2022, arXiv:2111.06377), small enough for a CPU.

It trains on noisy images, like all purifiers here, and so resembles the denoising masked autoencoder of
Wu et al. (ICLR 2023, arXiv:2210.06983).

As in the source the encoder sees only visible patches, and the decoder paints the whole image from the
encoder's output and from mask tokens. There are two differences. The covered share varies between images
and may be zero, so covered patches stay in the sequence; attention hides them from the visible ones, which
gives the same output as removing them. And the patches are those of the 8x8 grid on which
`bench.defenses.transforms` draws its masks, while the source takes 14x14. On images smaller than 16x16 a
patch is four blocks: a partly covered patch is visible, its covered pixels are not, and a plane of the
input marks them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.defenses.transforms import RandomTransform

GRID = RandomTransform().grid  # patches per side: one for each block that a mask can cover
SMALLEST = 2  # pixels per side of a patch: one pixel carries little, and costs as much as a large patch
HEADS = 4  # of attention
LONGEST_WAVE = 10_000.0  # base of the position encoding (Vaswani et al., arXiv:1706.03762)


class MaskedAutoencoder(nn.Module):
    """A transformer of four encoder and two decoder blocks on an 8x8 grid of patches.

    With a width of 32 it has about 52,000 parameters for 8x8 gray images, where a patch is 2x2 pixels, and
    about 55,000 for 32x32 color images, where it is 4x4. Normalization is by layer (arXiv:1607.06450):
    no example depends on its batch. Images of another size make more or fewer patches of the same size.

    Args:
        shape: `(C, H, W)` of the images.
        width: the embedding dimension.
        encoder: blocks of the encoder.
        decoder: blocks of the decoder, which is as wide.
    """

    positions: Tensor

    def __init__(self, shape: tuple[int, int, int], width: int = 32, encoder: int = 4, decoder: int = 2) -> None:
        super().__init__()
        channels, height, columns = shape
        self.patch = (max(SMALLEST, math.ceil(height / GRID)), max(SMALLEST, math.ceil(columns / GRID)))
        self.channels, self.width = channels, width
        pixels = self.patch[0] * self.patch[1]
        # The mask is an input, too: if a side is no multiple of the grid, the blocks have different
        # sizes, and a patch can be partly covered.
        self.embed = nn.Linear((channels + 1) * pixels, width)
        self.encoder = nn.ModuleList(_Block(width) for _ in range(encoder))
        self.norm = nn.LayerNorm(width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        self.decoder = nn.ModuleList(_Block(width) for _ in range(decoder))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels * pixels))
        self.grid = (math.ceil(height / self.patch[0]), math.ceil(columns / self.patch[1]))
        self.register_buffer("positions", waves(*self.grid, width), persistent=False)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Repaint images.

        Args:
            image: `[B, C, H, W]` in [0, 1].
            mask: `[B, 1, H, W]`, 1 at missing pixels.

        Returns:
            The repainted images, `[B, C, H, W]` in [0, 1].
        """
        height, columns = image.shape[-2:]
        margin = (0, -columns % self.patch[1], 0, -height % self.patch[0])
        # Pixels beyond the edge count as covered.
        beyond = F.pad(mask, margin, value=1.0)
        grid = (beyond.shape[2] // self.patch[0], beyond.shape[3] // self.patch[1])
        places = self.positions if grid == self.grid else waves(*grid, self.width).to(self.positions)
        patches = self._cut(torch.cat([F.pad(image * (1 - mask), margin), beyond], dim=1), grid)
        visible = self._cut(beyond, grid).amin(2) < 1  # [B, patches]
        tokens = self.embed(patches) + places
        allowed = _sight(visible)
        for block in self.encoder:
            tokens = block(tokens, allowed)
        tokens = torch.where(visible[..., None], self.norm(tokens), self.mask_token) + places
        for block in self.decoder:
            tokens = block(tokens, None)
        return torch.sigmoid(self._join(self.head(tokens), grid)[..., :height, :columns])

    def _cut(self, planes: Tensor, grid: tuple[int, int]) -> Tensor:
        """Cut planes `[B, K, H, W]` into patches `[B, patches, K * pixels]`, row by row."""
        batch, count = planes.shape[:2]
        blocks = planes.reshape(batch, count, grid[0], self.patch[0], grid[1], self.patch[1])
        return blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def _join(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Join patches `[B, patches, C * pixels]` to images `[B, C, H, W]`, the inverse of `_cut`."""
        blocks = patches.reshape(len(patches), *grid, self.channels, *self.patch)
        return blocks.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


class _Block(nn.Module):
    """Attention and a perceptron, each after a normalization and with a shortcut (ViT, arXiv:2010.11929)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = math.gcd(HEADS, width)  # fewer if the width is no multiple
        self.norm1 = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, allowed: Tensor | None) -> Tensor:
        """Return new tokens `[B, N, width]`; row i attends to column j where `allowed` `[B, 1, N, N]` is true."""
        batch, count, width = tokens.shape
        split = self.queries_keys_values(self.norm1(tokens)).view(batch, count, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=allowed)
        tokens = tokens + self.join(found.transpose(1, 2).flatten(2))
        result: Tensor = tokens + self.perceptron(self.norm2(tokens))
        return result


def _sight(visible: Tensor) -> Tensor:
    """Return the attention mask, `[B, 1, N, N]`: every patch attends to visible ones, a covered one also to itself.

    The output of a covered patch is discarded; but attention to nothing would be NaN.
    """
    itself = torch.eye(visible.shape[1], dtype=torch.bool, device=visible.device)
    return (visible[:, None, :] | itself)[:, None]


def waves(rows: int, columns: int, width: int) -> Tensor:
    """Return sines and cosines of the row and the column of each patch, `[rows * columns, width]`."""
    quarter = math.ceil(width / 4)
    rates = LONGEST_WAVE ** (-torch.arange(quarter) / quarter)
    down = torch.arange(rows)[:, None, None] * rates
    right = torch.arange(columns)[None, :, None] * rates
    parts = [part.expand(rows, columns, quarter) for part in (down.sin(), down.cos(), right.sin(), right.cos())]
    return torch.cat(parts, dim=2).flatten(0, 1)[:, :width]
