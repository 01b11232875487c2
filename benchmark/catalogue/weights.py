"""Files of weights of the registered defenses: the user's folder first, then the shipped ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.errors import BenchError, brief
from bench.machine.reading import MOST_SETTINGS, json_of, require_modest
from bench.machine.system import package_folder


def shipped() -> Path:
    """Return the folder of the shipped weights, with one sub-folder per dataset."""
    return package_folder("bench.defenses") / "weights"


def locate(name: str, dataset: str, folder: Path | None) -> Path:
    """Return the safetensors file of a checkpoint.

    Args:
        name: of the weights, such as `atop-rt1`.
        dataset: the dataset they were trained on.
        folder: the user's own weights: searched first, as `FOLDER/DATASET/NAME.safetensors`.

    Raises:
        BenchError: there is no such checkpoint, the folder does not exist, or something else lies in its place.
    """
    if folder is not None and not folder.is_dir():
        raise BenchError(f"--weights {str(folder)!r} is no folder: name one that holds {dataset}/{name}.safetensors")
    places = [root / dataset / f"{name}.safetensors" for root in (folder, shipped()) if root is not None]
    for path in places:
        if path.is_file():
            return path
        # A broken link or a folder of that name is a mistake: the shipped weights must not silently replace it.
        if path.exists() or path.is_symlink():
            raise BenchError(f"{str(path)!r} is no file: put the weights there, or take it away for the shipped ones")
    training, _, rt = name.partition("-rt")
    # Paths say `imagefolder-pets` for an image folder, which `--dataset` does not take.
    source = "imagefolder:PATH" if dataset.startswith("imagefolder-") else dataset
    command = f"bench train {training} --dataset {source}" + (f" --set rt={rt}" if rt else "")
    searched = folder / dataset if folder is not None else "the shipped weights"
    missing = f"no weights {name!r} for dataset {dataset!r} in {searched}"
    raise BenchError(f"{missing}: train them with '{command}', or pass --weights FOLDER")


def datasets(names: Iterable[str]) -> list[str]:
    """Return the datasets that all these checkpoints are shipped for."""
    files = [f"{name}.safetensors" for name in names]
    folders = sorted(path for path in shipped().iterdir() if path.is_dir())
    return [folder.name for folder in folders if all((folder / file).is_file() for file in files)]


def card(path: Path) -> dict[str, Any]:
    """Read the card beside a checkpoint.

    Raises:
        BenchError: there is none, or it is not JSON.
    """
    beside = path.with_suffix(".json")
    require_modest(beside, MOST_SETTINGS, "card")
    try:
        content = json_of(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BenchError(f"checkpoint {str(path)!r} has no card {beside.name!r} beside it: copy both files") from None
    except (OSError, ValueError) as error:
        raise BenchError(f"card {str(beside)!r} cannot be read ({error}): restore it or train again") from error
    if not isinstance(content, dict):
        raise BenchError(f"card {str(beside)!r} holds no object: restore it or train again")
    seen = content.get("trained_on", [])
    if not isinstance(seen, list) or not all(isinstance(each, str) for each in seen):
        raise BenchError(f"card {str(beside)!r}: trained_on is {brief(seen)}, not a list of threat models: restore it")
    return content


# Of the floating-point types of safetensors.
_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}


def require_learned(path: Path) -> None:
    """Raise a BenchError if a matrix or a kernel in a safetensors file is zero throughout: nothing was learned there.

    Such a file is what a failed copy or an interrupted initialization leaves; its network answers the same to every
    image, and no attack changes that. What is wrong with the format of a file is said by whoever loads it.
    """
    import numpy as np  # not at the top: listing does without

    try:
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        held = content[8 + int.from_bytes(content[:8], "little") :]
        layers = {
            name: np.frombuffer(held[slice(*told["data_offsets"])], f"<u{_BYTES[told['dtype']]}")
            for name, told in header.items()
            if name != "__metadata__" and len(told["shape"]) > 1 and told["dtype"] in _BYTES
        }
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError, OverflowError):
        return
    # Shifted by the sign: -0.0 is zero, too.
    blank = [name for name, words in layers.items() if words.size and not np.any(words << 1)]
    if blank:
        many = f" and {len(blank) - 1} more of {len(layers)} layers" if len(blank) > 1 else f" of {len(layers)} layers"
        values = math.prod(header[blank[0]]["shape"])
        raise BenchError(
            f"weights {str(path)!r}: all {values:,} values of {blank[0]!r}{many} are 0: fetch or train them again"
        )
