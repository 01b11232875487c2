"""Networks by name, and their restoration from a checkpoint and its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.defenses import weights_file as files
from bench.defenses.networks.autoencoder import MaskedAutoencoder
from bench.defenses.networks.inpainter import GatedInpainter
from bench.defenses.networks.preact_resnet import PreActResNet
from bench.defenses.networks.resnet import Bottleneck, ResNet
from bench.defenses.networks.small_cnn import SmallCNN
from bench.defenses.networks.unet import UNet
from bench.errors import BenchError, one_line, unknown
from bench.threats import ThreatModel
from bench.types import Card, ImageSpec

# name -> (images, width) -> network
CLASSIFIERS: dict[str, Callable[[ImageSpec, int], nn.Module]] = {
    "small-cnn": lambda spec, width: SmallCNN(spec.shape[0], spec.classes, width),
    "resnet-8": lambda spec, width: ResNet(spec.shape[0], spec.classes, width, blocks=(1, 1, 1)),
    "resnet-18": lambda spec, width: ResNet(spec.shape[0], spec.classes, width, blocks=(2, 2, 2, 2)),
    "resnet-20": lambda spec, width: ResNet(spec.shape[0], spec.classes, width, blocks=(3, 3, 3)),
    "resnet-34": lambda spec, width: ResNet(spec.shape[0], spec.classes, width, blocks=(3, 4, 6, 3)),
    "resnet-50": lambda spec, width: ResNet(spec.shape[0], spec.classes, width, (3, 4, 6, 3), Bottleneck),
    "preact-resnet-18": lambda spec, width: PreActResNet.resnet18(spec.shape[0], spec.classes, width),
    # Their width is that of the first stage: WRN-16-4 has 64, WRN-28-10 has 160.
    "wrn-16": lambda spec, width: PreActResNet.wide(spec.shape[0], spec.classes, width, depth=16),
    "wrn-28": lambda spec, width: PreActResNet.wide(spec.shape[0], spec.classes, width, depth=28),
}
PURIFIERS: dict[str, Callable[[ImageSpec, int], nn.Module]] = {
    "unet": lambda spec, width: UNet(spec.shape[0], width),
    "autoencoder": lambda spec, width: MaskedAutoencoder(spec.shape, width),
    "gated-inpainter": lambda spec, width: GatedInpainter(spec.shape, width),
}


SMALL = "small"
UNET_PURIFIER = "unet"


def sized(name: str, network: str) -> str:
    """Return the name of the checkpoint, or recipe, of a training for a network: `at`, or `at-resnet-18`."""
    return name if network == SMALL else f"{name}-{network}"


def of_purifier(name: str, purifier: str) -> str:
    """Return the name of the checkpoint, or recipe, of a training for a kind of purifier: `ap`, or `ap-gan`."""
    return name if purifier == UNET_PURIFIER else f"{name}-{purifier}"


def build(architecture: Mapping[str, Any], spec: ImageSpec) -> nn.Module:
    """Build the network that a card's `architecture` describes, such as `{"name": "resnet-8", "width": 16}`."""
    known = CLASSIFIERS | PURIFIERS
    name, width = str(architecture.get("name", "")), architecture.get("width")
    if name not in known:
        raise unknown("architecture", name, known)
    if not isinstance(width, int) or width < 1:
        raise BenchError(f"architecture {name!r} has width {width!r}: it must be a positive integer")
    try:
        return known[name](spec, width)
    except (RuntimeError, OverflowError) as error:  # more numbers than there can be
        raise BenchError(
            f"architecture {name!r} cannot be built with width {width} ({one_line(error)[:120]}): restore the card"
        ) from None


def path_of(name: str, checkpoints: Mapping[str, Path]) -> Path:
    """Return the file of the weights with this name."""
    if name not in checkpoints:
        raise BenchError(f"no checkpoint {name!r} was given: train it, or name its file with the other checkpoints")
    return Path(checkpoints[name])


def restore(name: str, checkpoints: Mapping[str, Path], spec: ImageSpec) -> tuple[nn.Module, dict[str, Any]]:
    """Load the network with the weights of this name, frozen and in eval mode, and its card."""
    path = path_of(name, checkpoints)
    state = files.read_state(path)
    card = files.read_card(path)
    architecture = card["architecture"]
    # A card may ask for any width: without memory first, the shapes must be those of the file.
    with torch.device("meta"):
        files.require_fit(build(architecture, spec), state, path)
    module = build(architecture, spec)
    files.fill(module, state, path)
    return module.eval().requires_grad_(False), card


def trained_on(card: Mapping[str, Any]) -> tuple[ThreatModel, ...]:
    """Return the threat models that were seen in training, according to a card."""
    return tuple(ThreatModel.parse(text) for text in card.get("trained_on", ()))


def record(card: Mapping[str, Any]) -> Card:
    """Return the card as the record in a `Defense`."""
    return Card(str(card.get("name", "")), str(card.get("summary", "")), card)
