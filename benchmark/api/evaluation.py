"""Evaluation of objects in memory: an `nn.Module`, one's own images, an attack that is being written."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.api.arguments import checked
from bench.api.asked import resolve, workers
from bench.api.fill import fill, watched
from bench.api.results import Results
from bench.catalogue.in_memory import lent
from bench.catalogue.options import settled
from bench.catalogue.ranges import require_fields
from bench.catalogue.record import require_record
from bench.catalogue.request import InMemory, require_apart
from bench.catalogue.selection import Selection, items
from bench.catalogue.selection import threats as usual_threats
from bench.checks.after.copies import copied
from bench.checks.examination import HELD_OUT
from bench.datasets.examples import Examples
from bench.datasets.load import beyond, load
from bench.datasets.names import OWN
from bench.datasets.threats import HEADLINE, threat
from bench.errors import BenchError, brief, one_line
from bench.machine.isolation import isolated
from bench.threats import FAMILIES, ThreatModel
from bench.types import Defense, ImageSpec

if TYPE_CHECKING:
    from bench.harness.watcher import Watcher

Model = nn.Module | Defense | str
Data = str | Examples | tuple[Any, Any]


@checked
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
    examples = _images(dataset, n, settled({"data": options.get("data")}).data, defenses)
    wanted = _attacks(attacks)
    for each in wanted:
        if isinstance(each, InMemory):
            require_fields(each.what, each.label)
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
    if isinstance(model, Mapping | list | tuple) and not model:
        raise BenchError("no model is given: give an nn.Module, a bench.Defense or names")
    if isinstance(model, Mapping):
        named = [_named(name, each, "defense") for name, each in model.items()]
        require_apart(named, "defense")
        return [_sound(each) for each in named]
    if isinstance(model, nn.Module | Defense):
        return [_sound(InMemory("model", model))]
    listed: Any = model
    if isinstance(listed, list | tuple) and all(isinstance(each, str) for each in listed):
        return list(listed)
    raise BenchError(f"{brief(model)} is no defense: give an nn.Module, a bench.Defense, names, or {{NAME: nn.Module}}")


def _sound(item: InMemory) -> InMemory:
    """Return a model in memory; raise a BenchError if it, or a field of its record, is of another type."""
    what = item.what
    if inspect.isclass(what):
        raise BenchError(f"defense {item.label!r} is the class {what.__name__}: give {what.__name__}(...)")
    if not isinstance(what, nn.Module | Defense):
        raise BenchError(f"defense {item.label!r} is {type(what).__name__}: give an nn.Module or a bench.Defense")
    if isinstance(what, Defense):
        require_record(what, item.label)
    return item


def _named(name: Any, what: Any, kind: str) -> InMemory:  # noqa: ANN401  (a model or an attack)
    if not isinstance(name, str):
        raise BenchError(f"name {brief(name)} of {kind} {brief(what)} is {type(name).__name__}: give text")
    if isinstance(what, str):
        raise BenchError(f"{kind} {what!r} cannot be called {name!r}: what is registered has a name; give it in a list")
    return InMemory(name, what)


def _attacks(attacks: Any) -> list[str | InMemory]:  # noqa: ANN401
    if isinstance(attacks, Mapping | list | tuple) and not attacks:
        raise BenchError("no attack is given: give a name or an attack, or leave attacks out")
    if isinstance(attacks, Mapping):
        named = [_named(name, each, "attack") for name, each in attacks.items()]
        require_apart(named, "attack")
        return [*named]
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
        return load(dataset, "test", n=128 if n is None else n, data=data)
    if isinstance(dataset, Examples):
        return dataset if n is None else dataset.first(n)
    pair: Any = dataset
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise BenchError(f"dataset {brief(dataset)} is no dataset: give a name, or images and labels: (x, y)")
    x, y = pair
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
            try:
                with torch.no_grad(), _as_they_were([each.what]):
                    answer = model.eval()(torch.from_numpy(x[:1]).to(device))
            except Exception as error:
                raise BenchError(
                    f"{each.label!r} fails on images of shape {(1, *x.shape[1:])}: {one_line(error)}"
                ) from error
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
    pixels, labels = _array(x, "images"), _array(y, "labels")
    if pixels.ndim != 4 or not pixels.size:
        raise BenchError(f"images have shape {pixels.shape}: give [n, C, H, W]")
    if pixels.shape[1] not in _CHANNELS and pixels.shape[3] in _CHANNELS:
        raise BenchError(
            f"images have shape {pixels.shape}, channels last: give [n, C, H, W], such as x.permute(0, 3, 1, 2)"
        )
    if pixels.dtype.kind not in "fuib":
        raise BenchError(f"images are {pixels.dtype}: give floats in [0, 1]")
    if pixels.dtype == np.uint8:
        raise BenchError("images are bytes: give floats in [0, 1], such as x / 255")
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    finite = np.isfinite(pixels).all(axis=(1, 2, 3))
    if not finite.all():
        raise BenchError(f"image {int(np.argmin(finite))} holds NaN or infinite values: give floats in [0, 1]")
    if pixels.min() < 0 or pixels.max() > 1:
        first = int(np.argmax((pixels.min(axis=(1, 2, 3)) < 0) | (pixels.max(axis=(1, 2, 3)) > 1)))
        span = f"images span {pixels.min():.3g} to {pixels.max():.3g}, the first of them image {first}"
        raise BenchError(f"{span}: give floats in [0, 1]")
    if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise BenchError(
            f"labels have shape {labels.shape} and type {labels.dtype}{_first_negative(labels)}: "
            f"give {len(pixels)} integers from 0"
        )
    if classes is not None and int(labels.max()) >= classes:
        first = int(np.argmax(labels >= classes))
        raise BenchError(f"label {labels[first]} of image {first} is no class: give 0 to {classes - 1}")
    count = int(labels.max()) + 1 if classes is None else classes
    _, *shape = pixels.shape
    spec = ImageSpec((shape[0], shape[1], shape[2]), max(count, 2))
    ids = [f"image-{index:06d}" for index in range(len(pixels))]
    return Examples(OWN, "test", ids, pixels, labels.astype(np.int64), spec)


# Of images: gray, color, and color with an alpha channel.
_CHANNELS = (1, 3, 4)


def _array(values: Any, what: str) -> NDArray[Any]:  # noqa: ANN401  (a tensor or an array)
    try:
        return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged, sparse, bfloat16, on the device "meta"
        raise BenchError(f"{what} are no array ({one_line(error)}): give a dense float tensor or an array") from None


def _first_negative(labels: NDArray[Any]) -> str:
    if not labels.size or not np.issubdtype(labels.dtype, np.integer) or labels.min() >= 0:
        return ""
    first = int(np.argmax(labels.ravel() < 0))
    return f" and {labels.ravel()[first]} at {first}"


def _spelled(threat: object) -> str:
    eps: object = threat.eps if isinstance(threat, ThreatModel) else Fraction(0)
    if not isinstance(eps, int | Fraction):
        raise BenchError(
            f"eps {brief(eps)} of a threat is {type(eps).__name__}, which is not exact: "
            "give ThreatModel.parse('Linf:8/255')"
        )
    return str(threat)


def _threats(threats: Any, attacks: Sequence[str | InMemory], examples: Examples) -> tuple[ThreatModel, ...]:  # noqa: ANN401
    """Return the named threat models, or the usual ones for images of this size."""

    def usual(family: str) -> ThreatModel:
        if examples.dataset != OWN:
            return threat(family, examples.dataset)
        return ThreatModel.parse(f"{family}:{FAMILIES[family].usual(examples.spec.shape)}")

    listed = threats if isinstance(threats, list | tuple) else [threats]
    if not listed:
        raise BenchError("threats is an empty list: leave it out for the usual ones")
    text = ",".join(map(_spelled, listed))
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
