"""A small convolutional network for images of a few hundred pixels."""

from __future__ import annotations

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Four convolutions with batch normalization, then global average pooling.

    With a width of 16 it has about 34,000 parameters. It takes images of any height and width.

    Args:
        in_channels: channels of the images, which are in [0, 1].
        classes: number of logits.
        width: channels after the first convolution; the last has four times as many.
    """

    def __init__(self, in_channels: int, classes: int, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(in_channels, width),
            *_convolution(width, 2 * width),
            *_convolution(2 * width, 2 * width, stride=2),
            *_convolution(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        # Normalization to [-1, 1] is part of the network, so that attacks work on images in [0, 1].
        logits: Tensor = self.head(self.features(2 * x - 1))
        return logits


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
