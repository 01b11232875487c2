"""Which image each adversarial example of an archive belongs to, and whether it may: nothing stored before that.

Pairs are said by ids or indices, by the clean images beside the examples, or else by order. Nothing of that is
believed: an example must lie within the threat model of its own image, by the rules that a run applies to every attack
(`bench.harness.verify`), labels must be the dataset's, and most examples must be nearer to their own image than to any
other. An archive that fails is refused whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.datasets.examples import Examples
from bench.datasets.foreign import Foreign
from bench.datasets.imported import digest_of
from bench.errors import BenchError
from bench.harness.nearness import candidates, nearer_elsewhere
from bench.threats import MEASURED, ThreatModel
from bench.types import ImageSpec

# Clean images of an archive are those of the dataset up to rounding, far below one step of 255.
_SAME = 1e-5
# Bytes stand for 256 steps.
_STEPS = 255
# Examples looked at to say why an archive does not fit.
_SAMPLE = 64


@dataclass(frozen=True, eq=False)
class Paired:
    """Verified adversarial examples, each with the image of a run that it belongs to.

    Attributes:
        label: of the attack that hands them in: `import:NAME`.
        rows: which images of the run, int64 `[k]`, ascending.
        x_adv: float32 `[k, C, H, W]` in [0, 1], within the threat model.
        fingerprints: of these images.
        held: how many examples the archive holds.
        how: how they were paired, and what was done to them, for people to read.
    """

    label: str
    rows: NDArray[np.int64]
    x_adv: NDArray[np.float32]
    fingerprints: tuple[str, ...]
    held: int
    how: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return digest_of(self.x_adv, self.fingerprints)


def require_provable(threat: ThreatModel) -> None:
    """Raise a BenchError for a threat model whose bound cannot be read off the images."""
    if not threat.is_lp:
        raise BenchError(
            f"V07: an archive brings no proof that its examples are within {threat}: give one of "
            f"{', '.join(MEASURED)}, whose distances can be measured"
        )


def paired(
    found: Foreign, label: str, examples: Examples, order: Sequence[str], threat: ThreatModel, file: Path
) -> Paired:
    """Pair the examples of an archive with the images of a run, and verify all of those.

    Args:
        found: the archive as it was read.
        label: of the attack.
        examples: the images of the run.
        order: the ids of the whole split in the dataset's own order.
        threat: the threat model that the archive was made under.
        file: its name, for errors.

    Raises:
        BenchError: it does not fit the images, or an example is outside the threat model; the message begins with the
            rule that a run would name, where there is one.
    """
    require_provable(threat)
    where = f"archive {str(file)!r}"
    x_adv, notes = _images(found.x_adv, examples.spec, where)
    _valid(x_adv, where)
    _counts(found, len(x_adv), len(order), where)
    ways = list(_ways(found, examples, order, where))
    fits = [(_faults(x_adv, found.labels, at, examples, threat), -int((at >= 0).sum())) for _, at in ways]
    how, at = ways[min(range(len(ways)), key=lambda index: fits[index])]
    covered = np.flatnonzero(at >= 0)
    if not len(covered):
        raise BenchError(
            f"{where} covers none of the first {len(examples)} images of {examples.dataset} {examples.split} "
            f"({how}): raise --n, at most {len(order)}"
        )
    covered = covered[np.argsort(at[covered], kind="stable")]
    rows, proposals = at[covered], x_adv[covered]
    _labels(found.labels, covered, rows, examples, where)
    odd = _within(proposals, rows, examples, threat, where)
    if odd:
        notes.append(f"{odd} of {len(rows)} examples are nearer to another image than to their own")
    fingerprints = tuple(examples.fingerprints[row] for row in rows.tolist())
    return Paired(label, rows, proposals, fingerprints, len(x_adv), (how, *notes))


def _images(raw: NDArray[np.generic], spec: ImageSpec, where: str) -> tuple[NDArray[np.float32], list[str]]:
    """Return images as float32 `[k, C, H, W]`: bytes are scaled, and channels that come last are moved."""
    notes = []
    channels, height, width = spec.shape
    if raw.shape[1:] == (height, width, channels) and raw.shape[1:] != spec.shape:
        raw = np.moveaxis(raw, 3, 1)
        notes.append("its channels came last and were moved")
    if raw.ndim != 4 or raw.shape[1:] != spec.shape or not len(raw):
        raise BenchError(f"V02: {where} has shape {raw.shape}: give [n, {channels}, {height}, {width}]")
    if raw.dtype == np.uint8:
        # As datasets are read, so that an unchanged pixel stays the same float32.
        x = raw.astype(np.float32)
        x /= np.float32(_STEPS)
        return np.ascontiguousarray(x), [*notes, "its bytes were divided by 255"]
    if raw.dtype.kind != "f":
        raise BenchError(f"V01: {where} holds {raw.dtype}: give floats in [0, 1], or bytes (uint8) of 0 to 255")
    return np.ascontiguousarray(raw, dtype=np.float32), notes


def _valid(x_adv: NDArray[np.float32], where: str) -> None:
    """Raise a BenchError unless all examples are images (V02, V03), those outside the run, too."""
    import torch

    from bench.harness.verify import Violation, verify

    images = torch.from_numpy(x_adv)
    try:
        # Against themselves: whether they are near their own images is asked once these are known.
        verify(images, images, ThreatModel.parse("Linf:1"))
    except Violation as error:
        scaled = (
            "; divide by 255, or save bytes (uint8)"
            if 2 < np.max(x_adv, initial=0, where=np.isfinite(x_adv)) <= _STEPS
            else ""
        )
        raise BenchError(f"{error}: {where} is refused, nothing was stored{scaled}") from None


def _counts(found: Foreign, k: int, most: int, where: str) -> None:
    beside = {"clean images": found.clean, "labels": found.labels, "indices": found.indices, "ids": found.ids}
    for name, held in beside.items():
        if held is not None and len(held) != k:
            raise BenchError(f"{where} holds {k} adversarial images and {len(held)} {name}: give one for each")
    if k > most:
        raise BenchError(f"{where} holds {k} images, the test set {most}: it was made from other images")


def _ways(found: Foreign, examples: Examples, order: Sequence[str], where: str) -> list[tuple[str, NDArray[np.int64]]]:
    """Return how the examples may be paired: the words for it, and for each the row of its image, -1 if outside."""
    row_of = {name: row for row, name in enumerate(examples.ids)}
    k = len(found.x_adv)
    if found.ids is not None or found.indices is not None:
        ids = found.ids if found.ids is not None else _ids_at(found.indices, order, where)
        known = set(order)
        strange = next((name for name in ids if name not in known), None)
        if strange is not None:
            raise BenchError(
                f"{where}: {strange[:60]!r} is no image of {examples.dataset} {examples.split}: mend its ids"
            )
        if len(set(ids)) != len(ids):
            raise BenchError(f"{where} names an image twice: give one example for each")
        at = np.array([row_of.get(name, -1) for name in ids], dtype=np.int64)
        if found.clean is not None:
            _agree(found.clean, at, examples, where)
        return [("paired by ids" if found.ids is not None else "paired by indices", at)]
    if found.clean is not None:
        return [("paired by its clean images", _by_images(found.clean, examples, where))]
    published = np.array([row_of.get(name, -1) for name in order[:k]], dtype=np.int64)
    ours = np.where(np.arange(k) < len(examples), np.arange(k), -1)
    return [("paired by the order of the dataset", published), ("paired by the order of this benchmark", ours)]


def _ids_at(indices: NDArray[np.generic] | None, order: Sequence[str], where: str) -> tuple[str, ...]:
    assert indices is not None  # noqa: S101  (the caller has looked)
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= len(order):
        raise BenchError(f"{where}: its indices must be whole numbers from 0 to {len(order) - 1}, one per image")
    return tuple(order[index] for index in indices.tolist())


def _agree(clean: NDArray[np.generic], at: NDArray[np.int64], examples: Examples, where: str) -> None:
    """Raise a BenchError if the clean images of an archive are not those that its ids name."""
    x, _ = _images(clean, examples.spec, f"{where} (its clean images)")
    inside = at >= 0
    far = np.abs(x[inside] - examples.x[at[inside]]).reshape(int(inside.sum()), -1)
    wrong = int((~(far <= _SAME)).any(axis=1).sum())
    if wrong:
        raise BenchError(
            f"{where}: {wrong} of {len(far)} clean images are not those that its ids or indices name: it is in another "
            "order, or made from other images"
        )


def _by_images(clean: NDArray[np.generic], examples: Examples, where: str) -> NDArray[np.int64]:
    """Return the row of the same image for each clean image of an archive; -1 where the run has none."""
    import torch

    x, _ = _images(clean, examples.spec, f"{where} (its clean images)")
    images, ours = torch.from_numpy(x), torch.from_numpy(examples.x)
    at = np.full(len(x), -1, dtype=np.int64)
    taken: set[int] = set()
    for index, near in candidates(images, ours, torch.full((len(x),), _SAME * images[0].numel() ** 0.5)):
        rows = near.nonzero().flatten()
        same = rows[(ours[rows] - images[index]).abs().flatten(1).amax(1) <= _SAME].tolist()
        free = [row for row in same if row not in taken]
        if same and not free:
            # To keep one of two examples could keep the one that breaks nothing.
            raise BenchError(
                f"{where} has several examples for {examples.ids[same[0]]}: give one example for each image, such as "
                "one file per restart"
            )
        # An image that a dataset holds twice is paired once with each.
        if free:
            at[index] = free[0]
            taken.add(free[0])
    return at


def _faults(
    x_adv: NDArray[np.float32],
    labels: NDArray[np.generic] | None,
    at: NDArray[np.int64],
    examples: Examples,
    threat: ThreatModel,
) -> float:
    """Return the share of examples that cannot belong to the images they would be paired with; 1 without any."""
    import torch

    from bench.oracle.geometry import distance

    inside = np.flatnonzero(at >= 0)
    if not len(inside):
        return 1.0
    far = distance(torch.from_numpy(x_adv[inside]), torch.from_numpy(examples.x[at[inside]]), threat.family)
    wrong = (far > float(threat.eps) * (1 + 1e-5) + 1e-6).numpy()
    if labels is not None and labels.shape == (len(x_adv),):
        wrong = wrong | (labels[inside] != examples.y[at[inside]])
    return float(wrong.mean())


def _labels(
    labels: NDArray[np.generic] | None,
    covered: NDArray[np.int64],
    rows: NDArray[np.int64],
    examples: Examples,
    where: str,
) -> None:
    if labels is None:
        return
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise BenchError(f"{where}: its labels must be whole numbers, one per image, not {labels.dtype}")
    wrong = np.flatnonzero(labels[covered] != examples.y[rows])
    if len(wrong):
        first = wrong[0]
        raise BenchError(
            f"{where}: {len(wrong)} of {len(rows)} labels are not the dataset's (the first: "
            f"{examples.ids[rows[first]]} is {examples.y[rows[first]]}, not {labels[covered[first]]}): it is in "
            "another order, or made from other images"
        )


def _within(
    x_adv: NDArray[np.float32], rows: NDArray[np.int64], examples: Examples, threat: ThreatModel, where: str
) -> int:
    """Verify the examples against their images; return how many are nearer to another image, if those are few.

    Raises:
        BenchError: one is outside the threat model, or most are nearer to other images than to their own.
    """
    import torch

    from bench.harness.verify import Violation, verify
    from bench.oracle.geometry import distance

    proposals, images = torch.from_numpy(x_adv), torch.from_numpy(examples.x)
    own = distance(proposals, images[torch.from_numpy(rows)], threat.family).double()
    try:
        verify(images[torch.from_numpy(rows)], proposals, threat)
    except Violation as error:
        far = own.argsort(descending=True)[:_SAMPLE]
        far = far[own[far] > float(threat.eps)]
        odd = nearer_elsewhere(proposals[far], own[far], images, threat.family)
        hint = (
            f"; {odd} of {len(far)} looked at are nearer to another image: it is in another order, add ids or indices"
            if 2 * odd > len(far)
            else ""
        )
        raise BenchError(f"{error}: {where} is refused, nothing was stored{hint}") from None
    odd = nearer_elsewhere(proposals, own, images, threat.family)
    if 2 * odd > len(rows):
        raise BenchError(
            f"{where}: {odd} of {len(rows)} examples are nearer to another image than to their own: it is in another "
            "order, add ids or indices"
        )
    return odd
