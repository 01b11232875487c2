"""Files of weights of the registered defenses: the user's folder first, then the shipped ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench._reading import MOST_SETTINGS, json_of, require_modest
from bench._system import package_folder
from bench.errors import BenchError


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
    return content
