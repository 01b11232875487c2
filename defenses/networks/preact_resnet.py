"""Residual networks with pre-activation (He et al., ECCV 2016, arXiv:1603.05027), including the wide ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from bench.defenses.networks.resnet import average


class PreActResNet(nn.Module):
    """A 3x3 stem, stages of pre-activation blocks, global average pooling; all stages but the first halve the size.

    PreActResNet-18, on which most fast adversarial training on CIFAR-10 is compared (Wong et al.,
    arXiv:2001.03994; Rice et al., arXiv:2002.11569), has a stem of 64, widths 64, 128, 256 and 512 and two
    blocks in each stage: 11,172,170 parameters for 10 classes.

    Args:
        in_channels: channels of the images, which are in [0, 1].
        classes: number of logits.
        stem: channels of the first convolution.
        widths: channels of each stage.
        blocks: blocks in each stage.
    """

    def __init__(self, in_channels: int, classes: int, stem: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        body: list[nn.Module] = []
        channels = stem
        for stage, outputs in enumerate(widths):
            for block in range(blocks):
                body.append(PreActBlock(channels, outputs, stride=2 if stage > 0 and block == 0 else 1))
                channels = outputs
        self.body = nn.Sequential(*body)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, classes)

    @classmethod
    def resnet18(cls, in_channels: int, classes: int, width: int) -> PreActResNet:
        """Build PreActResNet-18; its usual width is 64."""
        return cls(in_channels, classes, width, [width * 2**stage for stage in range(4)], blocks=2)

    @classmethod
    def wide(cls, in_channels: int, classes: int, width: int, depth: int) -> PreActResNet:
        """Build a wide residual network (Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146).

        WRN-28-10, on which most adversarial training on CIFAR-10 is compared, has depth 28 and a width of 160
        (16 times 10, 36,479,194 parameters for 10 classes), WRN-16-4 depth 16 and a width of 64 (2,748,890).

        Args:
            in_channels: channels of the images.
            classes: number of logits.
            width: channels of the first of three stages; the third has four times as many.
            depth: layers, 6 times the blocks of a stage plus 4.
        """
        return cls(in_channels, classes, 16, [width * 2**stage for stage in range(3)], blocks=(depth - 4) // 6)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.body(self.stem(2 * x - 1))))
        logits: Tensor = self.head(average(features))
        return logits


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after its normalization; a shortcut with another shape shares the first of them."""

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
