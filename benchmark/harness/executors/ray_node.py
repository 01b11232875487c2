"""What runs on the machines of a Ray cluster: it checks that they fit, takes the files of a task, and computes it."""

from __future__ import annotations

import contextlib
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import __version__
from bench.catalogue import versions
from bench.catalogue.identity import of_code
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.examples import Examples
from bench.errors import BenchError, one_line
from bench.harness.executors.shipping import Content, Tree, moved, settle
from bench.harness.task import Task, compute
from bench.results.cell import Cell

# A message about a task: what it is about, and more.
Message = tuple[Any, ...]

# Packages whose version can change a verdict, whatever the attack.
_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scipy")


@dataclass(frozen=True)
class Order:
    """A task, and how it is to be computed.

    Attributes:
        task: without its images, which travel once for all tasks.
        images: the digest of its images.
        trees: its files, by the path that a reference names; empty where all machines are this one.
        folder: the working directory of the run, which users' code may read files from.
        device: where it is computed.
        threads: threads of torch.
        pause: seconds between two messages of progress.
    """

    task: Task
    images: str
    trees: Mapping[str, Tree]
    folder: str
    device: str
    threads: int
    pause: float


def entrance() -> Callable[..., Iterator[Message]]:
    """Return the function that Ray calls; it is sent by value, so that a machine without this package can say so."""

    def enter(
        wanted: dict[str, str], parcel: bytes, images: list[Any], files: dict[str, list[Any]], private: str
    ) -> Iterator[Message]:
        import os
        import pickle

        import ray

        node = ray.get_runtime_context().get_node_id()
        yield ("began", node, os.getpid())
        try:
            from bench.harness.executors import ray_node
        except ImportError as error:
            yield ("differs", node, f"atop-bench does not import there ({error})")
            return
        different = ray_node.difference(wanted)
        if different:
            yield ("differs", node, different)
            return
        yield from ray_node.serve(
            pickle.loads(parcel),  # noqa: S301  (from the run that started this job)
            ray.get(images[0]),
            lambda sha: ray.get(files[sha][0]),
            lambda: ray_node.private_folder(private),
        )

    return enter


def fingerprint(cell: Cell) -> dict[str, str]:
    """Return the versions and digests of all code that can change the verdicts of a cell, as they are here."""
    attacks = (*(cell.attack.stages or (cell.attack,)), *cell.attack.reserve)
    refs: list[DefenseRef | AttackRef] = [cell.defense, *attacks]
    behind = cell.defense.behind
    while behind is not None:
        refs.append(behind)
        behind = behind.behind
    if cell.attack.surrogate is not None:
        refs.append(cell.attack.surrogate)
    return _here(tuple(sorted({ref.source for ref in refs})))


def difference(wanted: Mapping[str, str]) -> str:
    """Return in what this machine differs from what a run wants, in a few words; empty where it does not."""
    sources = tuple(name for name in wanted if ":" in name)
    here = _here(sources)
    apart = [name for name in wanted if here.get(name) != wanted[name]]
    return ", ".join(f"{name} is {here.get(name) or 'missing'}, the run has {wanted[name]}" for name in apart[:2])


@cache
def _here(sources: tuple[str, ...]) -> dict[str, str]:
    found = {"atop-bench": __version__, "code of the harness": versions.code_of_harness()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    for source in sources:
        # A user's file travels with the task; everything else has to be installed.
        if ":" in source and not source.partition(":")[0].endswith(".py"):
            with contextlib.suppress(BenchError):
                found[source] = versions.code_of(source) or of_code(source)[:12]
    return found


def private_folder(name: str) -> Path:
    """Return a folder of this machine that nobody else can read or write, made where it is missing."""
    folder = Path(tempfile.gettempdir(), name)
    folder.mkdir(mode=0o700, exist_ok=True)
    # The name is not to be guessed; whoever made such a folder all the same is not trusted.
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise BenchError(f"{folder} belongs to somebody else")
    return folder


def serve(
    order: Order, images: Examples, fetch: Callable[[str], Content], folder: Callable[[], Path]
) -> Iterator[Message]:
    """Compute a task on this machine; yield `("passed", n)` now and then, and `("ended", report)` at the end.

    The report is the fields of a `Report` behind the task: done, error, seconds, kept, cause.

    Args:
        order: the task.
        images: its images.
        fetch: returns the content of a file that is not here, by its SHA-256.
        folder: returns where such files go; not asked where the task has none.
    """
    try:
        # A copy: the array lies in memory that is shared and cannot be written, and some networks work in place.
        shard = replace(images, x=images.x.copy(), y=images.y.copy())
        if shard.digest != order.images:
            raise BenchError("the images did not arrive as they were sent: run again")
        cell = order.task.cell
        if order.trees:
            private = folder()
            roots = {path: settle(tree, private, fetch) / tree.files[0][0] for path, tree in order.trees.items()}
            cell = moved(cell, {path: str(root) for path, root in roots.items()})
        if order.task.guest:
            # As in a process of the machine that the run was started on.
            with contextlib.suppress(OSError):
                os.chdir(order.folder)
        task = replace(order.task, cell=cell, shard=shard)
    except (BenchError, OSError) as error:
        yield ("ended", (None, one_line(error), 0.0, None))
        return
    yield from _computed(task, order)


def _computed(task: Task, order: Order) -> Iterator[Message]:
    # The task is computed in a thread, for this one has to yield what it says meanwhile.
    news: queue.SimpleQueue[int | Message] = queue.SimpleQueue()

    def work() -> None:
        import torch

        from bench.machine.system import keep_freed

        torch.set_num_threads(order.threads)  # holds for the thread that sets it
        keep_freed()
        try:
            report = compute(task, order.device, news.put)
        except BaseException as error:  # noqa: BLE001  (whatever ends the thread has to be told)
            news.put((None, one_line(error), 0.0, None))
        else:
            news.put((report.done, report.error, report.seconds, report.kept, report.cause))

    threading.Thread(target=work, daemon=True).start()
    passed, told = 0, time.monotonic()
    while isinstance(said := news.get(), int):
        passed += said
        if time.monotonic() - told >= order.pause:
            yield ("passed", passed)
            passed, told = 0, time.monotonic()
    if passed:  # a short task ends before its first message
        yield ("passed", passed)
    yield ("ended", said)
