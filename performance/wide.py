"""A wide residual network (Zagoruyko and Komodakis, arXiv:1605.07146) from a file of weights, for P6.

The layers are RobustBench's (`WideResNet`, images in [0, 1]), so most published checkpoints of that
family fit; depth and width are read off the weights.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench import repairs
from bench.errors import BenchError

WEIGHTS = "PERFORMANCE_WEIGHTS"
_NESTED = ("state_dict", "model_state_dict", "model", "net")


@cache
def _state() -> dict[str, Tensor]:
    path = Path(os.environ[WEIGHTS])
    if not path.is_file():
        raise BenchError(f"--weights {str(path)!r} is no file: name a .safetensors or .pt file of weights")
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = next((state[name] for name in _NESTED if isinstance(state.get(name), dict)), state)
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _shape() -> tuple[int, int]:
    """Depth and widening factor."""
    state = _state()
    try:
        blocks = len({name.split(".")[2] for name in state if name.startswith("block1.layer.")})
        return 6 * blocks + 4, len(state["block1.layer.0.conv1.weight"]) // 16
    except (KeyError, IndexError):
        raise BenchError(
            f"--weights {os.environ[WEIGHTS]!r} holds no wide residual network as RobustBench has it"
        ) from None


def title() -> str:
    """What the file holds."""
    depth, width = _shape()
    return f"WRN-{depth}-{width} of {Path(os.environ[WEIGHTS]).name}"


def build() -> nn.Module:
    """The network, in eval mode."""
    repairs.robustbench()
    from robustbench.model_zoo.architectures.wide_resnet import WideResNet

    depth, width = _shape()
    network: nn.Module = WideResNet(depth=depth, widen_factor=width)
    network.load_state_dict(_state())
    return network.eval()
