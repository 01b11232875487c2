"""Conversion of a network to another format."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bench.harness.formats import PLAIN, Format


@dataclass(frozen=True)
class SearchModels:
    """The model that attacks may query instead of the defense; the defense itself confirms every success.

    Attributes:
        search: the network in its fastest format; `None` for the defense itself.
        float32: the network in its fastest float32 format; `None` for the defense itself.
        rows_at_once, every: as in `bench.oracle.oracle.Oracle`.
    """

    search: nn.Module | None = None
    float32: nn.Module | None = None
    rows_at_once: int = 1
    every: int = 1


def converted(model: nn.Module, layout: Format, x: Tensor) -> nn.Module:
    """Return a copy of a network in eval mode that runs in another format; its logits are float32.

    Args:
        model: maps float32 images `[B, C, H, W]` to logits; left as it is.
        layout: the format; `PLAIN` gives the network itself.
        x: some images; a forward of them shows which layers follow each other.
    """
    if layout == PLAIN:
        return model
    other = copy.deepcopy(model).eval().requires_grad_(False)
    if layout.fused:
        _fuse(other, x)
    if layout.half:
        _halve(other)
    if layout.channels_last:
        other = other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _Converted(other, layout)


class _Converted(nn.Module):
    def __init__(self, model: nn.Module, layout: Format) -> None:
        super().__init__()
        self.model, self.layout = model, layout

    def forward(self, x: Tensor) -> Tensor:
        # Images keep their layout, so that `randn_like` of them draws the same noise; channels_last weights are enough.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.layout.half):
            logits: Tensor = self.model(x)
        return logits.float()


def _halve(model: nn.Module) -> None:
    """Round the weights once: `torch.autocast` keeps rounded weights only if they are trained."""
    for parent in list(model.modules()):
        if type(parent) in (nn.Conv2d, nn.ConvTranspose2d, nn.Linear):
            parent.to(torch.bfloat16)
        for name, child in parent.named_children():
            if type(child) is nn.GroupNorm:
                setattr(parent, name, _InFloat32(child))


class _InFloat32(nn.Module):
    """A layer that runs in float32: on a CPU its bfloat16 channels_last kernel is five to ten times slower."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.layer(x.float())
        return normed.to(x.dtype)


def _fuse(model: nn.Module, x: Tensor) -> None:
    """Fold every batch norm that is used once, on the output of one convolution, into that convolution.

    Another layer may use that output, too, which hooks cannot see: the answers are compared afterwards.
    """
    for convolution, norm in _pairs(model, x):
        parent, name = _place(model, convolution)
        setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
        parent, name = _place(model, norm)
        setattr(parent, name, nn.Identity())


def _pairs(model: nn.Module, x: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Find convolutions and the batch norms right after them by one forward."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    uses: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after(layer: nn.Conv2d, _given: Any, output: Tensor) -> None:  # noqa: ANN401  (torch's hooks)
        uses[layer] = uses.get(layer, 0) + 1
        made[id(output)] = (layer, output)  # kept alive, so that no other tensor gets the same id

    def before(layer: nn.BatchNorm2d, given: Any) -> None:  # noqa: ANN401
        uses[layer] = uses.get(layer, 0) + 1
        convolution, output = made.get(id(given[0]), (None, None))
        if convolution is not None and output is given[0]:
            pairs.append((convolution, layer))

    hooks = []
    for layer in model.modules():
        # A layer with hooks of its own (spectral norm, for one) does more than its class says.
        plain = not (layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)  # noqa: SLF001
        if plain and type(layer) is nn.Conv2d:
            hooks.append(layer.register_forward_hook(after))
        elif plain and type(layer) is nn.BatchNorm2d and layer.track_running_stats:
            hooks.append(layer.register_forward_pre_hook(before))
    try:
        with torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(uses[layer] == 1 for layer in pair)]


def _place(model: nn.Module, wanted: nn.Module) -> tuple[nn.Module, str]:
    """Return the parent of a module, and the name under which the parent holds it."""
    return next(
        (parent, name) for parent in model.modules() for name, child in parent.named_children() if child is wanted
    )
