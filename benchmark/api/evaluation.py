"""Evaluation of objects in memory: an `nn.Module`, one's own images, an attack that is being written."""

from __future__ import annotations

import os
import re
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.api.fill import fill, resolve, watched, workers
from bench.api.results import Results
from bench.catalogue.in_memory import lent
from bench.catalogue.options import settled
from bench.catalogue.request import InMemory
from bench.catalogue.selection import Selection, items
from bench.catalogue.selection import threats as usual_threats
from bench.checks.after.copies import copied
from bench.checks.examination import HELD_OUT
from bench.datasets.examples import Examples
from bench.datasets.load import beyond, load
from bench.datasets.names import OWN
from bench.datasets.threats import HEADLINE, threat
from bench.errors import BenchError
from bench.isolation import isolated
from bench.threats import FAMILIES, ThreatModel
from bench.types import Defense, ImageSpec

if TYPE_CHECKING:
    from bench.harness.watcher import Watcher

Model = nn.Module | Defense | str
Data = str | Examples | tuple[Any, Any]


def evaluate(
    model: Model | Mapping[str, Model] | Sequence[str],
    attacks: Any = "default",  # noqa: ANN401  (names, attacks, or a list of both)
    threats: Any = "",  # noqa: ANN401  (text, a threat model, or a list of both)
    *,
    dataset: Data = "digits",
    n: int | None = None,
    results: str | os.PathLike[str] | None = None,
    watcher: Watcher | None = None,
    **options: Any,  # noqa: ANN401  (see `RunOptions`)
) -> Results:
    """Attack a model and count, image by image, the attacks it withstands.

    Args:
        model: an `nn.Module` from images float32 `[B, C, H, W]` in [0, 1] to logits `[B, classes]`, a `bench.Defense`,
            the name of a registered defense, or several of these by the labels they should have: `{"mine": net}`.
            It is put into eval mode and moved to the device, and afterwards restored.
        attacks: names as of `bench run --attacks`, an attack, a list of both, or attacks by name: `{"short": PGD(5)}`.
        threats: `"Linf:8/255,L2:0.5"`, a `ThreatModel`, or a list; by default the usual ones of the dataset.
        dataset: a name, or images and labels: tensors or arrays `(x [n, C, H, W] in [0, 1], y [n])`.
        n: how many images, the first ones; by default 128 of a dataset, and all of one's own.
        results: a folder that keeps the verdicts, and from which the same call resumes; by default they are kept
            only as long as the returned results.
        watcher: as for `bench.run`.
        **options: others of `bench.run`: `seed`, `draws`, `batch`, `device`, `checks`, `despite`, `precision`, ...

    Returns:
        The results, with images and the checks that every run makes: look at `findings` before believing a number.

    Raises:
        BenchError: a mistake in the request; nothing was computed.
    """
    _refuse_others(options)
    defenses = _models(model)
    examples = _images(dataset, n, options.get("data"), defenses)
    wanted = _attacks(attacks)
    memory = [each for each in (*defenses, *wanted) if isinstance(each, InMemory)]
    if memory:
        if options.get("executor", "auto") not in ("auto", "local"):
            raise BenchError(f"executor {options['executor']!r}: what is in memory is computed here, leave it out")
        # Objects in memory cannot be sent to other processes.
        options["executor"] = "local"
    with ExitStack() as stack:
        keep = None
        if results is None:
            keep = _Folder()
            results = keep.path
        chosen = settled({**options, "results": Path(results), "n": len(examples), "shard": ""})
        stack.enter_context(copied({each.label: each.what for each in defenses if isinstance(each, InMemory)}))
        stack.enter_context(lent(*memory))
        stack.enter_context(_as_they_were([each.what for each in defenses if isinstance(each, InMemory)]))
        held_out = None
        if isinstance(dataset, str) and chosen.checks != "none":
            held_out = beyond(dataset, len(examples), HELD_OUT, data=chosen.data)
        selection = Selection.of(defenses, wanted, _threats(threats, wanted, examples))
        stack.enter_context(isolated(workers(chosen)))
        found = watched(watcher, lambda who: fill(resolve(chosen, who, selection, examples, held_out)))
    return Results(found.cells, found.store, examples, keep=keep)


# Options of a run that arguments of `evaluate` stand in place of.
_INSTEAD = {"threat": "threats", "eps": "threats", "defenses": "model", "study": "bench.run", "shard": "bench.run"}


class _Folder:
    """A folder that is removed when nobody holds this any more."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="bench-"))
        # Not a TemporaryDirectory, which warns wherever it was left to do so.
        self.remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _refuse_others(options: Mapping[str, Any]) -> None:
    for name, other in _INSTEAD.items():
        if name in options:
            raise BenchError(f"evaluate takes no {name}: give {other}")


def _models(model: Model | Mapping[str, Model] | Sequence[str]) -> list[str | InMemory]:
    if isinstance(model, str):
        return [model]
    if isinstance(model, Mapping):
        return [_named(name, each, "defense") for name, each in model.items()]
    if isinstance(model, nn.Module | Defense):
        return [InMemory("model", model)]
    listed: Any = model
    if isinstance(listed, list | tuple) and all(isinstance(each, str) for each in listed):
        return list(listed)
    raise BenchError(f"{model!r:.60} is no defense: give an nn.Module, a bench.Defense, names, or {{NAME: nn.Module}}")


def _named(name: str, what: Any, kind: str) -> InMemory:  # noqa: ANN401  (a model or an attack)
    if isinstance(what, str):
        raise BenchError(f"{kind} {what!r} cannot be called {name!r}: what is registered has a name; give it in a list")
    return InMemory(name, what)


def _attacks(attacks: Any) -> list[str | InMemory]:  # noqa: ANN401
    if isinstance(attacks, Mapping):
        return [_named(name, each, "attack") for name, each in attacks.items()]
    listed = attacks if isinstance(attacks, list | tuple) else [attacks]
    found = [each if isinstance(each, str) else InMemory(_name_of(each), each) for each in listed]
    labels = [each.label for each in found if isinstance(each, InMemory)]
    for label in labels:
        if labels.count(label) > 1:
            raise BenchError(
                f"two attacks are both called {label!r}: name them, as in attacks={{'short': ..., 'long': ...}}"
            )
    return found


def _name_of(attack: object) -> str:
    """Return a label for an attack, from its own name or that of its class: `RandomWalk` is `random-walk`."""
    name = str(getattr(attack, "name", "") or getattr(attack, "__name__", "") or type(attack).__name__)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower().replace("_", "-").strip("-<>")


def _images(dataset: Data, n: int | None, data: Any, models: Sequence[str | InMemory]) -> Examples:  # noqa: ANN401
    if isinstance(dataset, str):
        return load(dataset, "test", n=128 if n is None else n, data=None if data is None else Path(data))
    if isinstance(dataset, Examples):
        return dataset if n is None else dataset.first(n)
    x, y = dataset
    examples = own_images(x, y)  # what is wrong with them is said before a model is asked
    classes = _classes(models, examples.x)
    if classes is not None:
        if int(examples.y.max()) >= classes:
            raise BenchError(f"label {examples.y.max()} has no logit: the model gives {classes}, give labels from 0")
        examples = replace(examples, spec=ImageSpec(examples.spec.shape, max(classes, 2)))
    return examples if n is None else examples.first(n)


def _classes(models: Sequence[str | InMemory], x: NDArray[np.float32]) -> int | None:
    """Return how many logits the first model in memory gives; `None` if there is none or it gives no logits."""
    for each in models:
        if isinstance(each, InMemory):
            model = each.what.model if isinstance(each.what, Defense) else each.what
            device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
            # One image is enough to count logits; the model goes back to the mode it had.
            with torch.no_grad(), _as_they_were([each.what]):
                answer = model.eval()(torch.from_numpy(x[:1]).to(device))
            return int(answer.shape[1]) if isinstance(answer, Tensor) and answer.ndim == 2 else None
    return None


def own_images(x: Any, y: Any, *, classes: int | None = None) -> Examples:  # noqa: ANN401  (tensors or arrays)
    """Return images and labels as `Examples`, which the harness takes.

    Args:
        x: `[n, C, H, W]` in [0, 1], a tensor or an array.
        y: integers `[n]`.
        classes: how many there are; by default one more than the largest label.

    Raises:
        BenchError: shapes, numbers or labels that are not images in [0, 1] with one class each.
    """
    pixels = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x)
    labels = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    if pixels.ndim != 4 or not len(pixels):
        raise BenchError(f"images have shape {pixels.shape}: give [n, C, H, W]")
    if pixels.dtype == np.uint8:
        raise BenchError("images are bytes: give floats in [0, 1], such as x / 255")
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        raise BenchError(f"images span {pixels.min():.3g} to {pixels.max():.3g}: give floats in [0, 1]")
    if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise BenchError(
            f"labels have shape {labels.shape} and type {labels.dtype}: give {len(pixels)} integers from 0"
        )
    count = int(labels.max()) + 1 if classes is None else classes
    _, *shape = pixels.shape
    spec = ImageSpec((shape[0], shape[1], shape[2]), max(count, 2))
    ids = [f"image-{index:06d}" for index in range(len(pixels))]
    return Examples(OWN, "test", ids, pixels, labels.astype(np.int64), spec)


def _threats(threats: Any, attacks: Sequence[str | InMemory], examples: Examples) -> tuple[ThreatModel, ...]:  # noqa: ANN401
    """Return the named threat models, or the usual ones for images of this size."""

    def usual(family: str) -> ThreatModel:
        if examples.dataset != OWN:
            return threat(family, examples.dataset)
        return ThreatModel.parse(f"{family}:{FAMILIES[family].usual(examples.spec.shape)}")

    listed = threats if isinstance(threats, list | tuple) else [threats]
    text = ",".join(map(str, listed))
    return usual_threats(text, "", items(attacks, "attack"), HEADLINE, usual)


@contextmanager
def _as_they_were(models: Sequence[nn.Module | Defense]) -> Iterator[None]:
    """Restore the mode and the device of modules after the block."""
    modules = [module for model in models for module in (_parts(model) if isinstance(model, Defense) else [model])]
    modes = [[(each, each.training) for each in module.modules()] for module in modules]
    devices = [next((tensor.device for tensor in module.parameters()), torch.device("cpu")) for module in modules]
    try:
        yield
    finally:
        for module, mode, device in zip(modules, modes, devices, strict=True):
            module.to(device)
            for each, training in mode:
                each.training = training


def _parts(defense: Defense) -> list[nn.Module]:
    from bench.catalogue.brought import modules_of

    return modules_of(defense)
