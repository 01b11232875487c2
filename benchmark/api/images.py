"""The stored adversarial images of a cell, with the clean images they were made from."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.datasets.names import OWN
from bench.errors import BenchError
from bench.machine.system import write_whole
from bench.results.cell import Cell, Result
from bench.results.outcome import Done, Skipped
from bench.results.store import Store


class Images(NamedTuple):
    """The stored images of one cell, the first of its slice.

    Attributes:
        clean: float32 `[k, C, H, W]` in [0, 1].
        adversarial: likewise, the images that the defense was judged on.
        labels: int64 `[k]`.
        predictions: the classes that the defense answered for `clean` and `adversarial` in the first evaluation draw,
            int64 `[2, k]`; -1 if an answer was not finite or was not kept.
    """

    clean: NDArray[np.float32]
    adversarial: NDArray[np.float32]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]


def images_of(results: Sequence[Result], store: Store, data: Examples | None) -> tuple[Cell, Images]:
    """Return the one finished cell among some results whose images are stored, and these.

    Args:
        results: of which one has images.
        store: where they lie.
        data: the clean images, if they are in memory.

    Raises:
        BenchError: several cells have images, or none, or the clean images cannot be found.
    """
    done = [result.cell for result in results if isinstance(result.outcome, Done)]
    found = [(cell, kept) for cell in done if (kept := store.images(cell)) is not None]
    skipped = [each.cell.title for each in results if isinstance(each.outcome, Skipped)]
    if not found and len(skipped) == len(results) > 0:
        raise BenchError(f"{skipped[0]} was skipped: nobody attacked, there are no images")
    if not found and results and not done:
        missing = next((each.cell.title for each in results if each.outcome is None), results[0].cell.title)
        raise BenchError(f"{missing} has no verdicts: finish it with 'bench run', then there are images")
    if not found:
        raise BenchError("no images are kept of these cells: results that are published leave them out; run them here")
    if len(found) > 1:
        parts = {(cell.slice, cell.seed) for cell, _ in found}
        names = "; ".join(f"{cell.title}{_part(cell) if len(parts) > 1 else ''}" for cell, _ in found[:4])
        how = "; of different n or seeds, each needs a folder of its own" if len(parts) > 1 else ""
        raise BenchError(f"these are {len(found)} cells ({names}): name defense, attack and threat of one{how}")
    cell, kept = found[0]
    part = _clean(cell, data).part(0, len(kept.x_adv))
    return cell, Images(part.x, kept.x_adv, part.y, np.stack([kept.clean, kept.adversarial]))


def _part(cell: Cell) -> str:
    return f" n={cell.slice.n} seed {cell.seed}"


def exactly(results: Sequence[Result], defense: str, attack: str) -> Sequence[Result]:
    """Return the results with these very labels where there are any: `atop` beside `atop[rt=2]` is the first alone."""
    for label, name in ((defense, "defense"), (attack, "attack")):
        results = [each for each in results if getattr(each.cell, name).label == label] or results
    return results


def save_images(cell: Cell, images: Images, ids: Sequence[str], folder: Path) -> tuple[Path, Path]:
    """Write the images of a cell as a picture to look at, PNG, and as arrays, NPZ; return both paths.

    The arrays are `clean`, `adversarial`, `labels` and `predictions` as in `Images`, and `ids` as text: numpy reads
    them without pickle.

    Raises:
        BenchError: matplotlib is not installed, or the folder cannot be written.
    """
    from bench.report.figures.files import save
    from bench.report.figures.gallery import gallery

    words = (cell.defense.label, cell.attack.label, cell.threat.slug, cell.key[:8])
    # Only what every file system takes; the key keeps labels apart that differ in other characters.
    name = "-".join(re.sub(r"[^A-Za-z0-9._=-]+", "+", word) for word in words)
    figure = gallery(images.clean, images.adversarial, images.labels, images.predictions, title=cell.title)
    held = io.BytesIO()
    np.savez_compressed(held, **images._asdict(), ids=np.array(ids[: len(images.labels)], dtype=np.str_))
    drawn, arrays = save(figure, folder / f"{name}.png"), folder / f"{name}.npz"
    write_whole(arrays, held.getvalue())
    return drawn, arrays


def _clean(cell: Cell, data: Examples | None) -> Examples:
    """Return the clean images of a cell: those in memory, or those of its dataset, if they are the same."""
    if data is not None and data.digest == cell.slice.digest:
        return data
    if cell.slice.dataset == OWN:
        raise BenchError("images of your own are not stored: take images() of what evaluate() has returned")
    found = load(cell.slice.dataset, cell.slice.split, n=cell.slice.n)
    # Another version of the dataset: clean and adversarial images would not belong together.
    if found.digest != cell.slice.digest:
        raise BenchError(f"the images of {cell.slice.dataset!r} here are not those of {cell.title}")
    return found
