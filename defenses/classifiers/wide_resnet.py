"""Wide residual networks (Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench.defenses.classifiers.resnet import average


class WideResNet(nn.Module):
    """Normalization before activation before convolution; three stages, the later ones at half the size.

    WRN-28-10, the network most adversarial training on CIFAR-10 is compared on, has depth 28 and a width
    of 160 (16 times 10, 36,479,194 parameters for 10 classes), WRN-16-4 depth 16 and 64 (2,748,890).

    Args:
        in_channels: channels of the images, which come in [0, 1].
        classes: number of logits.
        width: channels of the first stage; the third has four times as many.
        depth: layers, 6 times the blocks of a stage plus 4.
    """

    def __init__(self, in_channels: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        body: list[nn.Module] = []
        channels = 16
        for stage in range(3):
            outputs = width * 2**stage
            for block in range((depth - 4) // 6):
                body.append(WideBlock(channels, outputs, stride=2 if stage > 0 and block == 0 else 1))
                channels = outputs
        self.body = nn.Sequential(*body)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.body(self.stem(2 * x - 1))))
        logits: Tensor = self.head(average(features))
        return logits


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after its normalization; a shortcut that changes the shape shares the first one."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        changed = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changed else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        residual: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        kept: Tensor = x if self.shortcut is None else self.shortcut(active)
        return kept + residual
