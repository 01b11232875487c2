"""P9: the time of one gradient of a large network on a GPU, kernel by kernel, as a CUDA graph, and compiled."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from clock import Variant
from clock import interleaved as take_turns
from fixture import Setup, cifar, loaded, robust, tensors
from report import Row
from torch import Tensor, nn

from bench.harness.conversion import converted
from bench.harness.formats import Format

BATCHES = (32, 256, 1024)
# Compiling takes half a minute for each size: one size is enough to see the gain.
COMPILED_BATCH = 256
FORMATS = (Format(), Format(half=True, channels_last=True), Format(half=True, channels_last=True, fused=True))
MUST = "report"
_TURNS = 10
Work = Callable[[], Tensor]


def gradient(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the cross-entropy at `x`, as in every step of a gradient-based attack."""
    at = x.detach().requires_grad_()
    found: Tensor = torch.autograd.grad(F.cross_entropy(network(at), y, reduction="sum"), at)[0]
    return found


def as_graph(network: nn.Module, x: Tensor, y: Tensor) -> Work:
    """Return `gradient` as one CUDA graph, a single launch; its images stay where they were captured."""
    # As torch requires: a few runs on another stream first, so that capture sees no allocation or choice of kernels.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            gradient(network, x, y)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = gradient(network, x, y)

    def replay() -> Tensor:
        graph.replay()
        return found

    return replay


def compiled(network: nn.Module, x: Tensor, y: Tensor) -> tuple[Work, float]:
    """Return `gradient` of the compiled network, and the seconds that compiling took."""
    began = time.perf_counter()
    other: nn.Module = torch.compile(network)  # type: ignore[assignment]
    gradient(other, x, y)
    torch.cuda.synchronize()
    return partial(gradient, other, x, y), time.perf_counter() - began


def run(setup: Setup) -> Row:
    """Time every format at every batch, kernel by kernel and as a graph; the fastest format compiled as well."""
    workload = f"{setup.title}: the gradient of a batch, kernel by kernel, as a CUDA graph, compiled"
    if setup.device == "cpu":
        return Row("P9", workload, MUST, "nothing: it is about launches of a GPU", None)
    examples = cifar(setup, max(BATCHES))
    every_x, every_y = tensors(examples, setup.device)
    model = loaded(robust(setup), examples.spec, setup.device).model
    networks = {layout: converted(model, layout, every_x[:2]) for layout in FORMATS}
    table: list[tuple[Any, ...]] = []
    data: dict[str, Any] = {}
    for batch in sorted({setup.size(batch) for batch in BATCHES}):
        x, y = every_x[:batch], every_y[:batch]
        for layout, network in networks.items():
            ways: dict[str, Work] = {"eager": partial(gradient, network, x, y), "graph": as_graph(network, x, y)}
            took = 0.0
            if layout == FORMATS[-1] and batch == setup.size(COMPILED_BATCH):
                ways["compiled"], took = compiled(network, x, y)
            turns = take_turns({name: Variant(work) for name, work in ways.items()}, setup.device, _TURNS, warm=True)
            first = turns["eager"]
            for name, each in turns.items():
                apart = float((each.result.float() - first.result.float()).abs().max() / first.result.abs().max())
                speed = batch / each.median
                note = f"compiled in {took:.0f} s" if name == "compiled" else ""
                table.append((batch, str(layout), name, f"{speed:,.0f}", f"{first.median / each.median:.2f}", note))
                data[f"{batch} {layout} {name}"] = {**each.to_json(), "images per second": speed, "apart": apart}
    best = max(data, key=lambda name: data[name]["images per second"])
    gains = {
        name: max(
            data[key]["images per second"] / data[key.removesuffix(name) + "eager"]["images per second"]
            for key in data
            if key.endswith(name)
        )
        for name in ("graph", "compiled")
        if any(key.endswith(name) for key in data)
    }
    told = ", ".join(f"{name} at most {gain:.2f} x" for name, gain in gains.items())
    return Row(
        "P9",
        workload,
        MUST,
        f"{data[best]['images per second']:,.0f} images/s ({best}); {told}",
        True,
        "",
        ("batch", "format", "", "images/s", "x eager", ""),
        table,
        (f"median of {_TURNS}",),
        data,
    )
