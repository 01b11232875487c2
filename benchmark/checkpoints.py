"""Where the weights of a registered defense lie: the user's folder first, then the shipped ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.fingerprint import package_folder


def shipped() -> Path:
    """The folder of weights this package brings, one sub-folder per dataset."""
    return package_folder("bench.defenses") / "weights"


def locate(name: str, dataset: str, folder: Path | None) -> Path:
    """The safetensors file of a checkpoint.

    Args:
        name: of the weights, such as `atop-rt1`.
        dataset: the dataset they were trained on.
        folder: the user's own weights: searched first, as `FOLDER/DATASET/NAME.safetensors`.

    Raises:
        BenchError: there is no such checkpoint, the folder is none, or what lies in its place is no file.
    """
    if folder is not None and not folder.is_dir():
        raise BenchError(f"--weights {str(folder)!r} is no folder: name one that holds {dataset}/{name}.safetensors")
    places = [root / dataset / f"{name}.safetensors" for root in (folder, shipped()) if root is not None]
    for path in places:
        if path.is_file():
            return path
        # What the user put there was meant: nothing else is taken in its place.
        if path.exists() or path.is_symlink():
            raise BenchError(f"{str(path)!r} is no file: put the weights there, or take it away for the shipped ones")
    training, _, rt = name.partition("-rt")
    # What stands for a folder in paths is no name of a dataset.
    source = "imagefolder:PATH" if dataset.startswith("imagefolder-") else dataset
    command = f"bench train {training} --dataset {source}" + (f" --set rt={rt}" if rt else "")
    searched = folder / dataset if folder is not None else "the shipped weights"
    missing = f"no weights {name!r} for dataset {dataset!r} in {searched}"
    raise BenchError(f"{missing}: train them with '{command}', or pass --weights FOLDER")


def datasets(names: Iterable[str]) -> list[str]:
    """The datasets that all these checkpoints are shipped for."""
    files = [f"{name}.safetensors" for name in names]
    folders = sorted(path for path in shipped().iterdir() if path.is_dir())
    return [folder.name for folder in folders if all((folder / file).is_file() for file in files)]


def card(path: Path) -> dict[str, Any]:
    """The card beside a checkpoint.

    Raises:
        BenchError: there is none, or it is not JSON.
    """
    beside = path.with_suffix(".json")
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BenchError(f"checkpoint {str(path)!r} has no card {beside.name!r} beside it: copy both files") from None
    except (OSError, ValueError) as error:
        raise BenchError(f"card {str(beside)!r} cannot be read ({error}): restore it or train again") from error
    if not isinstance(content, dict):
        raise BenchError(f"card {str(beside)!r} holds no object: restore it or train again")
    return content
