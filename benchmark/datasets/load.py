"""Datasets by name: where they lie, and how a split of them is read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path

from bench.datasets import imagenette
from bench.datasets.cifar import CIFARS, listing
from bench.datasets.examples import Examples
from bench.datasets.folder import first_size, out_of_number, scan, subfolders
from bench.datasets.framing import PLAIN, Framing
from bench.datasets.framing import split as split_name
from bench.datasets.imagenette import IMAGENETTES
from bench.datasets.listing import Listing, Rows, hashed, held_out
from bench.datasets.names import FOLDER_PREFIX, known
from bench.errors import BenchError, unknown

SPLITS = ("train", "validation", "test")


_DIGITS = re.compile("[0-9]+")
# As paths and stored results call them: `imagenette-160-resize64`.
_IN_A_PATH = re.compile(
    f"(?P<name>{'|'.join(IMAGENETTES)})(?P<resize>-resize[0-9]{{1,9}})?(?P<crop>-crop[0-9]{{1,9}})?"
)
# The first that exists is the test set: ImageNet publishes its test images as `val/`.
_TEST_FOLDERS = ("test", "val", "validation")
_VALIDATION_FOLDERS = ("validation", "val")


def load(name: str, split: str, *, n: int | None = None, data: Path | None = None) -> Examples:
    """Load the first `n` examples of a split, or all of them.

    The order is that of `spread` over ids that are the same on every machine, so 128 examples are
    the beginning of any 512 and each class has its share. Only these examples are decoded.

    Args:
        name: one of `known()`, with `[resize=...,crop=...]` where its images come in several sizes.
        split: `train`, `validation` or `test`.
        n: the number of examples, at least 1.
        data: the folder below which CIFAR and Imagenette lie; by default that of `data_folder`.

    Raises:
        BenchError: an unknown name or split, missing or damaged images, `n` out of range.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if _named(name)[0] == "digits":
        from bench.datasets.digits import digits

        examples = digits(split)
        return examples if n is None else examples.first(n)
    found, rows, dataset = _listed(name, split, data)
    return found.read(rows, n, dataset=dataset, split=split)


def published_order(name: str, split: str, *, data: Path | None = None) -> list[str]:
    """Return the ids of a split in the order in which the dataset itself holds its images; nothing is decoded.

    For CIFAR in its published archive this is the order of torchvision, and so that of RobustBench; for image folders
    it is the alphabetical order of classes and files.
    """
    if _named(name)[0] == "digits":
        from bench.datasets.digits import digits

        return sorted(digits(split).ids)  # their ids are numbered as scikit-learn holds them
    found, rows, _ = _listed(name, split, data)
    return [found.ids[row] for row in sorted(rows.tolist())]


def _listed(name: str, split: str, data: Path | None) -> tuple[Listing, Rows, str]:
    """Return the images of a dataset that is read from disk, the rows of a split, and its name in a path."""
    base, framing = _named(name)
    if base in CIFARS:
        return *listing(CIFARS[base], split, data_folder(data)), base
    if base in IMAGENETTES:
        return *imagenette.listing(IMAGENETTES[base], split, data_folder(data), framing), name_in_paths(name)
    folder = _image_folder(base)
    found, rows = _split_of(folder, split, framing)
    if not len(rows):
        raise BenchError(f"{folder} has no image in its {split} split: add images, or give it a {split}/ folder")
    return found, rows, name_in_paths(name)


def beyond(name: str, n: int, count: int, *, data: Path | None = None) -> Examples | None:
    """Load `count` images of a dataset that are not among the first `n` of its test split.

    They come from a split that a look-up table of test images cannot hold: the validation split, else the
    training split; else from the rest of the test split. `None` where there are none.
    """
    for split in ("validation", "train"):
        with contextlib.suppress(BenchError):
            return load(name, split, n=count, data=data)
    with contextlib.suppress(BenchError):
        return load(name, "test", n=n + count, data=data).part(n, n + count)
    return None


def order_of_classes(name: str) -> str | None:
    """Warn of the labels of an image folder whose classes are numbered `1`, `2`, ..., `10`.

    `None` for every other dataset, and where the names sort alike as text and as numbers.
    """
    base, _ = _named(name)
    if not base.startswith(FOLDER_PREFIX):
        return None
    folder = _image_folder(base)
    names = [path.name for path in subfolders(_parts(folder)[0])]
    pair = out_of_number(names)
    if pair is None:
        return None
    first, second = pair
    width = max(len(digits) for name in names for digits in _DIGITS.findall(name))
    padded = _DIGITS.sub(lambda match: match[0].zfill(width), second)
    return (
        f"labels of {folder} follow the names of its class folders as text, {first!r} before {second!r}: for the order "
        f"of their numbers, fill these up with zeros, {padded!r} in place of {second!r}"
    )


def data_folder(data: Path | None = None) -> Path:
    """Return the folder of the datasets: `data`, else `$BENCH_DATA`, else `atop-bench` in the user's cache."""
    return data_folders(data)[0][1]


def data_folders(data: Path | None = None) -> list[tuple[str, Path]]:
    """List every folder that is set, with the place where it was set; the first one counts."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    places = [("--data", data), ("$BENCH_DATA", os.environ.get("BENCH_DATA")), ("cache", Path(cache, "atop-bench"))]
    return [(origin, Path(path).expanduser()) for origin, path in places if path]


def folder_slug(folder: Path) -> str:
    """Return the name of an image folder in a path: `imagefolder-pets`, safe on every file system."""
    name = folder.resolve().name
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "-", name)[:48].strip("-.")
    # A name in another script may have no safe letter at all.
    if not safe:
        safe = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"imagefolder-{safe}"


def _named(name: str) -> tuple[str, Framing]:
    """Split a dataset's name into the bare name and its framing; refuse framing where all images have one size."""
    path = _IN_A_PATH.fullmatch(name)
    if path is not None:
        sides = {key: int(text.removeprefix(f"-{key}")) for key in ("resize", "crop") if (text := path[key])}
        return path["name"], Framing(**sides)
    base, framing = split_name(name)
    if framing != PLAIN and (base == "digits" or base in CIFARS):
        raise BenchError(f"dataset {name!r}: the images of {base} have one size and take no parameters; write {base}")
    return base, framing


def name_in_paths(name: str) -> str:
    """Return what folders of weights and stored results call a dataset: `imagenette-160-resize64`.

    Raises:
        BenchError: there is no such dataset or folder.
    """
    base, framing = _named(name)
    if base in IMAGENETTES:
        return imagenette.label(IMAGENETTES[base], framing)
    return base if base == "digits" or base in CIFARS else folder_slug(_image_folder(base)) + framing.slug


def shape_of(name: str) -> tuple[int, int, int]:
    """Return `(channels, height, width)` of a dataset's images; at most the header of one file is read."""
    base, framing = _named(name)
    if base == "digits":
        return 1, 8, 8
    if base in CIFARS:
        return 3, 32, 32
    if base in IMAGENETTES:
        _, side = imagenette.framed(IMAGENETTES[base], framing)
        return 3, side, side
    return first_size(_parts(_image_folder(base))[0], framing)


def _image_folder(name: str) -> Path:
    if not name.startswith(FOLDER_PREFIX):
        raise unknown("dataset", name, known())
    path = name.removeprefix(FOLDER_PREFIX)
    if not path.strip():
        raise BenchError(f"dataset {name!r} names no folder: write imagefolder:PATH")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise BenchError(f"dataset {name!r}: {folder} is not a folder; name one that holds class folders")
    return folder


def _parts(folder: Path) -> list[Path]:
    """List the folders that hold class folders: `train/`, `test/`... where given, else the folder itself."""
    parts = [folder / name for name in ("train", *_TEST_FOLDERS)]
    # A class may be called "train": then it holds images, not folders.
    return [part for part in parts if subfolders(part)] or [folder]


def _split_of(folder: Path, split: str, framing: Framing) -> tuple[Listing, Rows]:
    """Return the listing that holds a split, and the rows of the split in it.

    With `train/` and `test/` folders each is a split; without `test/`, `val/` is the test set, as in
    ImageNet. A `validation` that has no folder is held out of `train`. Class folders alone are split by
    the hash of each id.
    """
    parts = {part.name: part for part in _parts(folder)}
    if folder in parts.values():
        found = scan(folder, framing=framing)
        return found, hashed(found, split)
    test = next((name for name in _TEST_FOLDERS if name in parts), None)
    validation = next((name for name in _VALIDATION_FOLDERS if name in parts and name != test), None)
    own = {"train": "train" if "train" in parts else None, "validation": validation, "test": test}[split]
    if split == "validation" and own is None and "train" in parts:
        own = "train"
    if own is None:
        raise BenchError(
            f"{folder} has no {split}/ folder beside {', '.join(parts)}/: add one, or choose another split"
        )
    _refuse_other_classes(list(parts.values()))
    found = scan(parts[own], framing=framing)
    # Held out even when only `train` is loaded: no validation image may be trained on.
    if own == "train" and validation is None:
        return found, held_out(found, split)
    return found, found.order()


def _refuse_other_classes(parts: list[Path]) -> None:
    """Refuse parts with different classes: a label is a position in the alphabetical order of a part's folders."""
    expected = {path.name for path in subfolders(parts[0])}
    for part in parts[1:]:
        odd = expected ^ {path.name for path in subfolders(part)}
        if odd:
            raise BenchError(
                f"class {min(odd)!r} is not in both {parts[0]} and {part}: give every split the same classes"
            )
