"""Activations of a network, which perceptual distances compare."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from bench.errors import BenchError

# Images [B, C, H, W] to activations, each [B, c, h, w].
Activations = Callable[[Tensor], list[Tensor]]

# As in LPIPS, which takes five layers of AlexNet or VGG (Zhang et al., CVPR 2018, arXiv:1801.03924).
MOST_LAYERS = 5


class Features:
    """The activations of any classifier, collected while it runs.

    A layer is the last output `[B, C, h, w]` of any part of the network at its spatial size. The five
    largest sizes count; a 1 x 1 output has no position in the image and does not. So a residual network
    gives the output of each stage, a plain one the last activation before each pooling. An output with
    as many channels as the image is taken for an image (normalized, resized, purified) and skipped.

    Args:
        network: in eval mode; row i of its outputs must depend on row i of the images alone.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Return the activations for images `[B, C, H, W]`, largest first, each `[B, c, h, w]`; differentiable.

        Raises:
            BenchError: the network has none: perhaps a transformer, or a model in one piece.
        """
        found: dict[tuple[int, int], Tensor] = {}

        def keep(_module: nn.Module, _inputs: object, output: object) -> None:
            if (
                isinstance(output, Tensor)
                and output.ndim == 4
                and output.is_floating_point()
                and len(output) == len(x)
                and output.shape[1] != x.shape[1]
                and output.shape[2] * output.shape[3] > 1
            ):
                # Later outputs of a size replace earlier ones: the last is the output of the stage.
                found[(output.shape[2], output.shape[3])] = output

        hooks = [part.register_forward_hook(keep) for part in self._network.modules() if part is not self._network]
        try:
            self._network(x)
        finally:
            for hook in hooks:
                hook.remove()
        if not found:
            name = type(self._network).__name__
            raise BenchError(
                f"{name} shows no activations [B, C, h, w] to measure a distance by: "
                "bound the attack by another network, network=alexnet"
            )
        largest = sorted(found, key=lambda size: -size[0] * size[1])[:MOST_LAYERS]
        return [found[size] for size in largest]
