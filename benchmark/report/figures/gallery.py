"""Images of a cell side by side: clean, adversarial, and what lies between them, magnified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.report.figures.style import INK, SIZE, SMALL, Width, finished, inches, new_figure, styled, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In inches: an image with the gap beside it, the names of the rows, the head, the text under an image, the margin.
_SIDE, _GAP, _NAMES, _HEAD, _UNDER, _MARGIN = 0.68, 0.05, 0.8, 0.5, 0.2, 0.05
_FACTORS = (1000, 500, 200, 100, 50, 20, 10, 5, 2, 1)


def magnification(clean: NDArray[np.float32], adversarial: NDArray[np.float32]) -> int:
    """Return how many times a difference can be enlarged and still be drawn around mid-gray, nothing cut off."""
    largest = float(np.abs(adversarial - clean).max()) if clean.size else 0.0
    return next((factor for factor in _FACTORS if factor * largest <= 0.5 + 1e-6), 1) if largest else 1


def gallery(
    clean: NDArray[np.float32],
    adversarial: NDArray[np.float32],
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    *,
    title: str = "",
    width: Width = "page",
) -> Figure:
    """Draw images in columns: clean, adversarial and their difference, with label and predictions beneath.

    Args:
        clean: `[k, C, H, W]` in [0, 1], one channel or three.
        adversarial: likewise.
        labels: `[k]`.
        predictions: `[2, k]`, for clean and adversarial images; -1 is unknown.
        title: of the cell.
        width: `column`, `page`, points as text, or inches.

    Raises:
        BenchError: no images, or neither gray nor color ones.
    """
    if not len(clean) or clean.shape[1] not in (1, 3):
        raise BenchError(f"images of shape {list(clean.shape)} cannot be drawn: there must be some, of 1 or 3 channels")
    wide = inches(width)
    factor = magnification(clean, adversarial)
    # Mid-gray is no change; a change beyond white or black (at factor 1 alone) is cut off.
    change = np.clip(0.5 + factor * (adversarial - clean), 0, 1)
    rows = {"clean": clean, "adversarial": adversarial, f"difference ×{factor}": change}
    across = max(1, int((wide - _NAMES - 2 * _MARGIN + _GAP) / (_SIDE + _GAP)))
    blocks = -(-len(clean) // across)
    tall = len(rows) * (_SIDE + _GAP) + _UNDER
    with styled():
        about = "Under each column: label: prediction without attack → under attack; ? is unknown."
        figure = new_figure(wide, _HEAD + blocks * tall + _MARGIN, constrained=False)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        head = wrapped(title, wide - 2 * _MARGIN, SIZE, lines=1) if title else ""
        axes.text(_MARGIN, 0.15, head, fontsize=SIZE, va="center")
        axes.text(_MARGIN, 0.32, wrapped(about, wide - 2 * _MARGIN, SMALL, lines=1), fontsize=SMALL, va="center")
        for index in range(len(clean)):
            left = _MARGIN + _NAMES + (index % across) * (_SIDE + _GAP)
            top = _HEAD + (index // across) * tall
            _column(axes, [images[index] for images in rows.values()], left, top)
            said = " → ".join("?" if each < 0 else str(each) for each in predictions[:, index])
            middle = left + _SIDE / 2
            axes.text(middle, top + tall - _UNDER, f"{labels[index]}: {said}", fontsize=SMALL, ha="center", va="top")
        for block in range(blocks):
            for at, name in enumerate(rows):
                y = _HEAD + block * tall + at * (_SIDE + _GAP) + _SIDE / 2
                axes.text(_MARGIN, y, name, fontsize=SMALL, va="center")
        # Images set limits and aspect of their own.
        axes.set_xlim(0, wide)
        axes.set_ylim(figure.get_figheight(), 0)
        axes.set_aspect("auto")
        return finished(figure)


def _column(axes: Axes, images: list[NDArray[np.float32]], left: float, top: float) -> None:
    from matplotlib.patches import Rectangle

    for at, image in enumerate(images):
        y = top + at * (_SIDE + _GAP)
        pixels = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
        # Pixels stay pixels: what the defense saw, without anything interpolated.
        extent = (left, left + _SIDE, y + _SIDE, y)
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest", aspect="auto")
        axes.add_patch(Rectangle((left, y), _SIDE, _SIDE, facecolor="none", edgecolor=INK, linewidth=0.3))
