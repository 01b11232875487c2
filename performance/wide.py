"""A wide residual network (Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146) from a file of weights, for P6.

The file is either written by `bench train`, with a card in the same folder, or has RobustBench's layers
(`WideResNet`, images in [0, 1]), so most published checkpoints of that family fit. Without a card, depth and
width follow from the weights.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from bench import _compat
from bench.defenses.networks import by_name
from bench.defenses.weights_file import read_card
from bench.errors import BenchError
from bench.machine.reading import tensors
from bench.types import ImageSpec

WEIGHTS = "PERFORMANCE_WEIGHTS"  # the environment variable with the path of the file
# Keys under which training scripts save a state dict.
_NESTED = ("state_dict", "model_state_dict", "model", "net")


@cache
def _state() -> dict[str, Tensor]:
    path = Path(os.environ[WEIGHTS])
    if not path.is_file():
        raise BenchError(f"--weights {str(path)!r} is no file: name a .safetensors or .pt file of weights")
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = tensors(path, "--weights")
        state = next((state[name] for name in _NESTED if isinstance(state.get(name), dict)), state)
    # DataParallel puts the prefix before every name.
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _shape() -> tuple[int, int]:
    """Return depth and widening factor."""
    trained = _trained()
    if trained is not None:
        name = str(trained["architecture"]["name"])
        if not name.startswith("wrn-"):
            raise BenchError(f"--weights {os.environ[WEIGHTS]!r} is a {name}: name a wide residual network")
        return int(name.removeprefix("wrn-")), int(trained["architecture"]["width"]) // 16
    state = _state()
    try:
        blocks = len({name.split(".")[2] for name in state if name.startswith("block1.layer.")})
        # Three stages of equally many blocks of two convolutions, plus four layers outside of the blocks.
        return 6 * blocks + 4, len(state["block1.layer.0.conv1.weight"]) // 16
    except (KeyError, IndexError):
        raise BenchError(
            f"--weights {os.environ[WEIGHTS]!r} holds no wide residual network as RobustBench has it"
        ) from None


@cache
def _trained() -> dict[str, Any] | None:
    """Return the card that `bench train` wrote for the file; `None` if there is none."""
    path = Path(os.environ[WEIGHTS])
    return read_card(path) if path.with_suffix(".json").is_file() else None


def title() -> str:
    """Return a title for the network in the file."""
    depth, width = _shape()
    path, trained = Path(os.environ[WEIGHTS]), _trained()
    return f"WRN-{depth}-{width} of {path.name}" + (f" ({trained['command']})" if trained else "")


def build() -> nn.Module:
    """Build the network with the weights of the file, in eval mode."""
    depth, width = _shape()
    path = Path(os.environ[WEIGHTS])
    if _trained() is not None:
        network, _ = by_name.restore(path.stem, {path.stem: path}, ImageSpec((3, 32, 32), 10))
        return network
    _compat.robustbench()
    from robustbench.model_zoo.architectures.wide_resnet import WideResNet

    network = WideResNet(depth=depth, widen_factor=width)
    network.load_state_dict(_state())
    return network.eval()
