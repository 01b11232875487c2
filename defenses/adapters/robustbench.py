"""Models of RobustBench's zoo (Croce et al., NeurIPS 2021, arXiv:2010.09670) by their names there.

Every model of the zoo takes images in [0, 1]. RobustBench's own loader builds them, because each release
has its exceptions for some models. But the loader downloads and unpickles nothing: this module fetches the
files before the run and reads only tensors from them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import _compat
from bench.defenses.adapters.wanted import Found, Wanted, declared
from bench.errors import BenchError, one_line, unknown
from bench.types import Card, Defense, ImageSpec

if TYPE_CHECKING:
    from torch import nn

# Number of classes of the data sets in the zoo.
_CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
# The eps of the zoo's leaderboards, for which its models were trained.
_BOUNDS = {"Linf": {"cifar10": "8/255", "cifar100": "8/255", "imagenet": "4/255"}, "L2": dict.fromkeys(_CLASSES, "0.5")}


def find(wanted: Wanted) -> Found:
    """Find the checkpoints of a model, in RobustBench's layout: `MODELS/DATASET/THREAT/NAME.pt`.

    MODELS is `robustbench` in the folder of `--weights`, else in the user's cache of atop-bench; files
    that are in neither are downloaded to the first of them.
    """
    dataset = _dataset(wanted)
    threat = wanted.parameters.get("threat", "Linf")
    label = f"robustbench:{wanted.name}"
    _refuse_other_images(dataset, wanted.spec, label)
    folders = [folder / dataset / threat for folder in _models(wanted.folder)]
    # A file on disk needs no import of the zoo, which takes seconds.
    files = [folder / f"{wanted.name}.pt" for folder in folders if (folder / f"{wanted.name}.pt").is_file()][:1]
    if not files:
        files = [_provided(folders, file, url, label) for file, url in _sources(wanted.name, dataset, threat).items()]
    if len({path.parent for path in files}) > 1:
        raise BenchError(
            f"{label} is an ensemble whose files lie in {' and '.join(map(str, folders))}: put them together"
        )
    return Found(
        {path.name: path for path in files},
        {"name": wanted.name, "dataset": dataset, "threat": threat},
        trained_on=_trained_on(wanted.name, dataset, threat),
    )


def load(
    *, checkpoints: Mapping[str, Path], spec: ImageSpec, name: str, dataset: str, threat: str, **told: str
) -> Defense:
    """Load the model with RobustBench's loader from the files that `find` has found.

    Raises:
        BenchError: the name is unknown, or a file is damaged, belongs to another model, or holds NaN or code.
    """
    entry = _entry(name, dataset, threat)
    first = next(iter(checkpoints.values()))
    _refuse_other_size(entry, spec, name)
    try:
        with _quiet(), _harmless(entry, checkpoints):
            if entry.get("gdrive_id") is None:
                model = _from_timm(name, dataset, threat, first)
            else:
                utils = importlib.import_module("robustbench.utils")
                # The threat as text, not as RobustBench's enumeration: one release cuts parts out of its name.
                model = utils.load_model(name, first.parents[2], dataset, threat)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(
            f"weights {first} do not fit {name} of RobustBench ({one_line(error)}): fetch the file of this model again"
        ) from error
    _require_whole(model, first)
    card = Card(name, facts={"library": "robustbench", "dataset": dataset, "threat": threat})
    return Defense(model.eval().requires_grad_(False), card=card, **declared(told))


def facts(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the leaderboards that have a model of this name, with the addresses and places of its files."""
    found = {}
    for (dataset, threat), models in _zoo().items():
        if name in models and parameters.get("threat", threat) == threat:
            for file, url in _sources(name, dataset, threat).items():
                place = Path(dataset, threat, file)
                there = any((folder / place).is_file() for folder in _models(None))
                found[place.as_posix()] = f"{'there' if there else 'missing'}; from {url}"
    if not found:
        raise unknown("model of RobustBench", name, {each for models in _zoo().values() for each in models})
    return {"files in": str(_models(None)[-1]), **found}


def _dataset(wanted: Wanted) -> str:
    dataset = wanted.parameters.get("dataset", wanted.dataset)
    if dataset not in _CLASSES:
        raise BenchError(
            f"robustbench:{wanted.name}: RobustBench has models for {', '.join(_CLASSES)}, not for {dataset!r}: "
            "name theirs with --dataset, or with [dataset=cifar10] where an image folder holds the same classes"
        )
    return dataset


def _refuse_other_images(dataset: str, spec: ImageSpec, label: str) -> None:
    if spec.classes != _CLASSES[dataset]:
        raise BenchError(
            f"{label} tells the {_CLASSES[dataset]} classes of {dataset}, these images have {spec.classes}: "
            "name another dataset or model"
        )
    if spec.shape[0] != 3 or (dataset != "imagenet" and spec.shape != (3, 32, 32)):
        size = "any size" if dataset == "imagenet" else "32 x 32"
        raise BenchError(f"{label} takes images of 3 x {size}, these are {spec.shape}: nothing is resized")


def _refuse_other_size(entry: Mapping[str, Any], spec: ImageSpec, name: str) -> None:
    """Raise a `BenchError` for images of another size than an ImageNet model's crop, as in `Res256Crop224`."""
    crop = re.search(r"Crop(\d+)", str(entry.get("preprocessing", "")))
    if crop is not None and spec.shape[1:] != (int(crop[1]), int(crop[1])):
        raise BenchError(
            f"robustbench:{name} is judged on images of {crop[1]} x {crop[1]}, these are {spec.shape[1]} x "
            f"{spec.shape[2]}: resize and crop them first, nothing is resized here"
        )


def _trained_on(name: str, dataset: str, threat: str) -> str | None:
    """Return the threat of the model's leaderboard, or for corruptions the threat in its name, if any."""
    if name.startswith("Standard"):
        return ""
    family = threat if threat in _BOUNDS else name.rpartition("_")[2]
    return f"{family}:{_BOUNDS[family][dataset]}" if family in _BOUNDS else None


def _models(folder: Path | None) -> list[Path]:
    """Return the folders that may hold the zoo's files, first the one for downloads."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "atop-bench").expanduser()
    return [root / "robustbench" for root in (folder, cache) if root is not None]


def _zoo() -> dict[tuple[str, str], Mapping[str, Mapping[str, Any]]]:
    """Return the models of the installed RobustBench by data set and threat, as text."""
    _compat.robustbench()
    zoo = importlib.import_module("robustbench.model_zoo").model_dicts
    return {
        (dataset.value, threat.value): models
        for dataset, threats in zoo.items()
        for threat, models in threats.items()
        if dataset.value in _CLASSES
    }


def _entry(name: str, dataset: str, threat: str) -> dict[str, Any]:
    zoo = _zoo()
    models = zoo.get((dataset, threat), {})
    if name not in models:
        # The likeliest slip is a model of another leaderboard, first of all one of the same data set.
        other = min(
            (key for key, found in zoo.items() if name in found), key=lambda key: key[0] != dataset, default=None
        )
        if other is not None:
            raise BenchError(
                f"RobustBench has {name!r} for {other[0]} under {other[1]}, not for {dataset} under {threat}: "
                f"write robustbench:{name}[threat={other[1]}] and run it on {other[0]}"
            )
        raise unknown(f"model of RobustBench for {dataset} under {threat}", name, models)
    return models[name]  # type: ignore[return-value]


def _sources(name: str, dataset: str, threat: str) -> dict[str, str]:
    """Return the files of a model, each with the address from which it can be fetched."""
    ids = _entry(name, dataset, threat).get("gdrive_id")
    if ids is None:  # newer releases leave some models to timm
        timm = importlib.import_module("timm")
        published = timm.models.get_pretrained_cfg(_timm_name(name, dataset, threat))
        if published is None:
            raise BenchError(f"this RobustBench does not say where {name} is to be fetched: upgrade robustbench")
        return {f"{name}.pt": published.url or f"https://huggingface.co/{published.hf_hub_id}"}
    if not ids:
        raise BenchError(
            f"RobustBench has no file for {name}, a network of torchvision: write for example torchvision:resnet50"
        )
    if isinstance(ids, str):
        return {f"{name}.pt": _drive(ids)}
    return {f"{name}.pt_m{number}.pt": _drive(each) for number, each in enumerate(ids)}


def _drive(identifier: str) -> str:
    return f"https://drive.google.com/uc?export=download&confirm=t&id={identifier}"


def _timm_name(name: str, dataset: str, threat: str) -> str:
    return f"{name.lower().replace('-', '_')}_{dataset}_{threat.lower()}"


def _provided(folders: list[Path], file: str, url: str, label: str) -> Path:
    """Return a file of the zoo, from one of the folders or else from the network."""
    from bench.defenses.adapters.download import fetch

    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    target = folders[0] / file
    print(f"fetching {target} from {url}", file=sys.stderr)
    try:
        if not url.startswith("https://"):
            raise BenchError("its address is not encrypted (https)")
        fetch(url, target)
    except Exception as error:
        raise BenchError(
            f"no checkpoint of {label} at {target}, and none fetched ({one_line(error)[:160]}): "
            f"put there the file of {url}"
        ) from error
    return target


def _from_timm(name: str, dataset: str, threat: str, path: Path) -> nn.Module:
    """Build a model that RobustBench leaves to timm, with weights from a local file instead of the network."""
    timm = importlib.import_module("timm")
    model: nn.Module = timm.create_model(
        _timm_name(name, dataset, threat),
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path)},
        num_classes=_CLASSES[dataset],
    )
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence deprecation warnings of the zoo's libraries, and restore the generators of its random weights."""
    from bench.oracle.randomness import preserved_generators

    with preserved_generators(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _harmless(entry: dict[str, Any], checkpoints: Mapping[str, Path]) -> Iterator[None]:
    """Restrict RobustBench's loader to tensors in local files.

    The network starts with NaN everywhere. For some models the loader accepts files that lack a part, and
    a parameter without weights must not pass for a trained one.
    """
    from bench.defenses.adapters.pickles import reading_only, replaced

    def refuse(identifier: str, target: object) -> None:
        raise BenchError(
            f"no checkpoint at {target}, beside {', '.join(checkpoints)}: put there the file of {_drive(identifier)}"
        )

    build: Any = entry.get("model")

    def hollow() -> nn.Module:
        import torch

        model: nn.Module = build()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(torch.nan)
        return model

    utils = importlib.import_module("robustbench.utils")
    with contextlib.ExitStack() as stack:
        stack.enter_context(reading_only())
        for name in ("download_gdrive", "download_gdrive_new"):
            if hasattr(utils, name):
                stack.enter_context(replaced(utils, name, refuse))
        if hasattr(utils, "timm"):  # newer releases try timm first, which would fetch another file
            stack.enter_context(replaced(utils.timm, "is_model", lambda name: False))
        if build is not None:
            entry["model"] = hollow
            stack.callback(entry.__setitem__, "model", build)
        yield


def _require_whole(model: nn.Module, path: Path) -> None:
    import torch

    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise BenchError(f"weights {path} lack {name!r}, or hold NaN or infinite values in it: fetch them again")
    for name, buffer in model.named_buffers():
        if bool(torch.isnan(buffer).any()):
            raise BenchError(f"weights {path} hold NaN values in {name!r}: fetch them again")
