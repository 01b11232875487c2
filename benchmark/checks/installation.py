"""An examination of the installation: packages, repairs, data and weights, with the command that fills each gap."""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import _compat
from bench.datasets import imagenette
from bench.datasets.cifar import CIFARS, place
from bench.datasets.load import data_folders
from bench.errors import BenchError

DISTRIBUTION = "atop-bench"
_ZOO = "robustbench"

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Diagnosis:
    """One line of the examination.

    Attributes:
        topic: the thing examined: `python`, a distribution, `data`, `weights`...
        state: `ok`; `note`, worth knowing; `problem`, something will not work.
        text: the result, for people to read.
        remedy: the command or the step that repairs it; empty where nothing needs repair.
    """

    topic: str
    state: State
    text: str
    remedy: str = ""


def doctor(data: Path | None = None, *, quick: bool = False) -> list[Diagnosis]:
    """Examine this installation without changing anything.

    Args:
        data: the folder of datasets, as for `bench run --data`.
        quick: whether to skip everything that imports torch (about ten seconds).
    """
    findings = [*_python(), *_dependencies(), *_zoo(), *_intact(_ZOO)]
    if not quick:
        # Repairs last: the imports before them make the repairs that they list.
        findings += [*_torch(), *_cores(), *_library("torchvision", _compat.torchvision)]
        if _version(_ZOO):
            findings += _library(_ZOO, _compat.robustbench)
        findings += _repairs()
    return [*findings, *_data(data), *_weights(_weights_folder())]


def _python() -> Iterator[Diagnosis]:
    found = platform.python_version()
    try:
        wanted = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    except importlib.metadata.PackageNotFoundError:
        wanted = ""
    if _satisfies(found, wanted):
        yield Diagnosis("python", "ok", f"{found} at {sys.executable}")
    else:
        remedy = f"make a virtual environment with a Python {wanted} and install there"
        yield Diagnosis("python", "problem", f"{found} is not {wanted}", remedy)


def _dependencies() -> Iterator[Diagnosis]:
    """Compare each of our own requirements with the installed version, without importing it."""
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield Diagnosis(DISTRIBUTION, "problem", "is not installed, only on the path", "pip install -e .")
        return
    for requirement in requirements:
        # Parsed by hand, because `packaging` is not among our requirements.
        text, _, marker = requirement.partition(";")
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*\(?([^)]*)", text)
        if match is None or not _applies(marker):
            continue
        name, wanted = match[1], match[2].replace(" ", "")
        install = f"{_pip()} install {shlex.quote(name + wanted)}"
        found = _version(name)
        if not found:
            yield Diagnosis(name, "problem", f"is not installed, {wanted or 'any version'} is needed", install)
        elif _satisfies(found, wanted):
            yield Diagnosis(name, "ok", f"{found} ({wanted})" if wanted else found)
        else:
            yield Diagnosis(name, "problem", f"{found} is installed, {wanted} is needed", install)


def _zoo() -> Iterator[Diagnosis]:
    """RobustBench, which an extra installs: without it all but its models works."""
    found = _version(_ZOO)
    if found:
        yield Diagnosis(_ZOO, "ok", found)
    else:
        install = f"{_pip()} install {shlex.quote(f'{DISTRIBUTION}[{_ZOO}]')}"
        yield Diagnosis(_ZOO, "note", f"is not installed: models by {_ZOO}:NAME need it", install)


def _version(name: str) -> str:
    """The installed version of a distribution; nothing where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _intact(name: str) -> Iterator[Diagnosis]:
    """Check that a distribution's modules are its own: torchattacks 3.5.1 installs an older RobustBench over it."""
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    modules = [file for file in files if file.suffix == ".py" and file.hash is not None]
    foreign = [file for file in modules if _digest(Path(str(file.locate()))) != file.hash.value]  # type: ignore[union-attr]
    if foreign:
        text = f"{len(foreign)} of its {len(modules)} modules are not its own: another package has overwritten them"
        yield Diagnosis(name, "problem", text, f"{_pip()} install --no-deps --force-reinstall {name}")


def _digest(path: Path) -> str:
    """Return a file's digest in the format of `RECORD`."""
    content = path.read_bytes() if path.is_file() else b""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _pip() -> str:
    return f"{shlex.quote(sys.executable)} -m pip"


def _applies(marker: str) -> bool:
    """Return whether a requirement applies to this Python and is not part of an extra."""
    if "extra" in marker:
        return False
    match = re.search(r"python_version\s*([<>=!]+)\s*[\"']([0-9.]+)[\"']", marker)
    return match is None or _satisfies(platform.python_version(), match[1] + match[2])


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, without local part or pre-release: `2.13.0+cpu` is (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _satisfies(version: str, wanted: str) -> bool:
    """Return whether a version meets every clause such as `>=0.2,<0.3`; a clause of another kind passes."""
    found = _release(version)
    for clause in filter(None, (part.strip() for part in wanted.split(","))):
        match = re.fullmatch(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)", clause)
        if match is None:
            continue
        bound = _release(match[2])
        width = max(len(found), len(bound))
        # Padded with zeros, because (2,) < (2, 0).
        left, right = (numbers + (0,) * (width - len(numbers)) for numbers in (found, bound))
        holds = {
            ">=": left >= right,
            "<=": left <= right,
            "==": left == right,
            "!=": left != right,
            ">": left > right,
            "<": left < right,
        }
        if not holds[match[1]]:
            return False
    return True


def _torch() -> Iterator[Diagnosis]:
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        yield Diagnosis(
            "devices", "problem", f"torch does not import: {reason}", f"{_pip()} install --force-reinstall torch"
        )
        return
    build = f"torch {torch.__version__}"
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            yield Diagnosis("devices", "ok", f"cuda:{index} {card.name}, {card.total_memory / 2**30:.0f} GiB ({build})")
    # A note, not a problem: the wheels of PyPI are built for CUDA, on machines without a GPU, too.
    elif torch.version.cuda is not None:
        text = f"cpu only: {build} is built for CUDA {torch.version.cuda} and sees no GPU"
        yield Diagnosis("devices", "note", text, "nvidia-smi")
    else:
        yield Diagnosis("devices", "ok", f"cpu ({build})")


def _cores() -> Iterator[Diagnosis]:
    import torch

    # The affinity, not the count of the machine: containers and schedulers give a process some of the cores.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    text = f"{usable} usable cores, {threads} torch thread{'s' if threads > 1 else ''}"
    if threads > usable:
        yield Diagnosis(
            "cores", "note", f"{text}: more threads than cores are slower", f"export OMP_NUM_THREADS={usable}"
        )
    else:
        yield Diagnosis("cores", "ok", text)


def _library(name: str, load: Callable[[], object]) -> Iterator[Diagnosis]:
    try:
        load()
    except BenchError as error:
        text, _, remedy = str(error).rpartition(": ")
        yield Diagnosis(name, "problem", text, remedy)
    else:
        yield Diagnosis(name, "ok", "imports")


def _repairs() -> Iterator[Diagnosis]:
    for repair in _compat.active():
        yield Diagnosis("repair", "note", f"{repair.name}: {repair.why}")


def _data(data: Path | None) -> Iterator[Diagnosis]:
    folders = data_folders(data)
    for rank, (origin, folder) in enumerate(folders):
        if rank:
            # The first place that is set is the only one that is read.
            if folder.is_dir():
                yield Diagnosis("data", "note", f"{folder} ({origin}) is not read: {folders[0][0]} is set")
        elif folder.is_dir():
            yield Diagnosis("data", "ok", f"{folder} ({origin}) holds {_contents(folder)}")
        elif origin == "cache":
            text = f"no folder of datasets; digits needs none, CIFAR and Imagenette are looked for in {folder}"
            yield Diagnosis("data", "note", text, "bench download cifar10")
        else:
            yield Diagnosis(
                "data", "problem", f"{folder} ({origin}) is not a folder", f"mkdir -p {shlex.quote(str(folder))}"
            )


def _contents(folder: Path) -> str:
    parts = ("train", "test")
    found = [f"{each.name} {part}" for each in CIFARS.values() for part in parts if place(each, part, folder)]
    found += [
        f"{each.name} {part}"
        for each in imagenette.IMAGENETTES.values()
        for part in parts
        if imagenette.place(each, part, folder)
    ]
    return ", ".join(found) or "no dataset that is known"


def _weights_folder() -> Path | None:
    # find_spec imports only the parent package, `bench`, and so not torch.
    spec = importlib.util.find_spec("bench.defenses")
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0], "weights") if places else None


def _weights(folder: Path | None) -> Iterator[Diagnosis]:
    """Check that every shipped checkpoint is the one its card describes."""
    checkpoints = sorted(folder.glob("*/*.safetensors")) if folder else []
    if not checkpoints:
        yield Diagnosis("weights", "problem", f"no shipped weights in {folder}", _restore(folder))
        return
    good = []
    for checkpoint in checkpoints:
        fault = _fault(checkpoint)
        name = f"{checkpoint.parent.name}/{checkpoint.stem}"
        if fault:
            yield Diagnosis("weights", "problem", f"{name} {fault}", _restore(folder))
        else:
            good.append(name)
    if good:
        yield Diagnosis("weights", "ok", f"{len(good)} match their cards: {', '.join(good)}")


def _restore(folder: Path | None) -> str:
    if folder is not None and (folder.parent.parent / ".git").exists():
        root = shlex.quote(str(folder.parent.parent))
        return f"git -C {root} restore {shlex.quote(f'{folder.parent.name}/{folder.name}')}"
    return f"install {DISTRIBUTION} again from where it came"


def _fault(checkpoint: Path) -> str:
    """Return what is wrong with a checkpoint; empty where nothing is."""
    card = checkpoint.with_suffix(".json")
    try:
        expected = json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError:
        return "has no card"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"has a card that cannot be read ({type(error).__name__})"
    try:
        found = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if found == expected else f"has sha256 {found[:12]}, its card says {str(expected)[:12]}"
