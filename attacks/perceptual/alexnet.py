"""The convolutions of AlexNet (Krizhevsky, arXiv:1404.5997), whose activations define the perceptual distance.

The weights are torchvision's and must be on disk already; nothing is ever downloaded.
"""

from __future__ import annotations

import pickle
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import BenchError
from bench.machine.reading import tensors

FILE = "alexnet-owt-7be5be79.pth"  # torchvision's AlexNet_Weights.IMAGENET1K_V1

# Pixels a side: the second pooling leaves nothing of a smaller image.
SMALLEST = 31

# Mean and standard deviation of ImageNet, on which the network was trained.
_MEAN = (0.485, 0.456, 0.406)
_SPREAD = (0.229, 0.224, 0.225)


class AlexNet(nn.Module):
    """A network from images `[B, 1 or 3, H, W]` in [0, 1] to the five rectified activations, each `[B, c, h, w]`."""

    def __init__(self) -> None:
        super().__init__()
        # The layers are numbered as in torchvision, so that its weights load by name.
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = x.expand(-1, 3, -1, -1)
        x = (x - x.new_tensor(_MEAN)[:, None, None]) / x.new_tensor(_SPREAD)[:, None, None]
        found = []
        for part in self.features:
            x = part(x)
            if isinstance(part, nn.ReLU):
                found.append(x)
        return found


def alexnet(name: str, x: Tensor) -> AlexNet:
    """Load the network for images like `x`, onto their device.

    Args:
        name: `"alexnet"` for the checkpoints of `torch.hub`, or the path of a file with the same weights.
        x: images `[B, C, H, W]`.

    Raises:
        BenchError: the file does not exist or holds something else, or the images are too small or of
            another number of channels.
    """
    if x.shape[1] not in (1, 3) or min(x.shape[2:]) < SMALLEST:
        size = "x".join(map(str, x.shape[1:]))
        raise BenchError(
            f"network={name!r} takes gray or color images of {SMALLEST} pixels a side, these are {size}: "
            "use network=self"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE if name == "alexnet" else Path(name).expanduser()
    if not path.is_file():
        what = "torchvision's AlexNet weights" if name == "alexnet" else "a file with AlexNet's weights"
        raise BenchError(f"network={name!r} needs {what} in {path}, and nothing is downloaded here: put it there")
    return _load(path, path.stat().st_mtime_ns).to(x.device)


@lru_cache(maxsize=1)
def _load(path: Path, _changed: int) -> AlexNet:
    network = AlexNet().eval().requires_grad_(requires_grad=False)
    try:
        weights = tensors(path, f"network={str(path)!r}:")
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise BenchError(f"{path} does not hold the weights of torchvision's AlexNet: {type(error).__name__}") from None
    return network
