"""Residual networks for small images (He et al., CVPR 2016, arXiv:1512.03385, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class ResNet(nn.Module):
    """A 3x3 stem, stages of basic blocks that double the channels, global average pooling.

    `blocks=(1, 1, 1)` with width 16 is ResNet-8 (about 78,000 parameters), `(2, 2, 2, 2)` with width
    64 the ResNet-18 of the CIFAR literature, `(3, 4, 6, 3)` ResNet-34 or, with bottlenecks, ResNet-50.

    Args:
        in_channels: channels of the images, which are in [0, 1].
        classes: number of logits.
        width: channels of the first stage.
        blocks: number of blocks in each stage; all stages but the first halve height and width.
        block: `BasicBlock` or `Bottleneck`.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        width: int = 16,
        blocks: Sequence[int] = (1, 1, 1),
        block: type[BasicBlock] | type[Bottleneck] | None = None,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        kind = block or BasicBlock
        body: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(blocks):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                body.append(kind(channels, width * 2**stage, stride))
                channels = kind.expansion * width * 2**stage
        self.body = nn.Sequential(*body)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        # Normalization to [-1, 1] is part of the network, so that attacks work on images in [0, 1].
        features = self.body(F.relu(self.norm(self.stem(2 * x - 1))))
        logits: Tensor = self.head(average(features))
        return logits


def average(features: Tensor) -> Tensor:
    """Return the mean over all positions, `[B, C]`.

    It is computed by a pool, whose gradient has the layout of the features. The gradient of `mean` is one number
    expanded by strides of zero, over which the layer before takes ten times as long with channels last.
    """
    return F.avg_pool2d(features, features.shape[-2:]).flatten(1)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution if the shape changes."""

    expansion = 1

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(residual + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones; the last widens to four times the channels."""

    expansion = 4

    def __init__(self, inputs: int, inside: int, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * inside
        self.conv1 = nn.Conv2d(inputs, inside, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inside)
        self.conv3 = nn.Conv2d(inside, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        narrow = F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))
        return F.relu(self.norm3(self.conv3(narrow)) + self.shortcut(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
