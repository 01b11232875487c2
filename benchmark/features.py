"""What a network makes of an image on its way to the logits: the activations perceptual distances compare."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from bench.errors import BenchError

# Images [B, C, H, W] to activations, each [B, c, h, w].
Activations = Callable[[Tensor], list[Tensor]]

# As many layers as the networks that perceptual distances are usually taken from have.
MOST_LAYERS = 5


class Features:
    """The activations of any classifier, found while it runs.

    A layer is the last output `[B, C, h, w]` that any part of the network gives at its spatial size;
    the five largest sizes count, and what is 1 x 1 has no place in the image and does not. So a
    residual network gives the output of each stage, a plain one the last activation before each
    pooling. An output with as many channels as the image is taken for an image (normalized, resized,
    purified) and passed over.

    Args:
        network: in eval mode; row i of its outputs must depend on row i of the images alone.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def __call__(self, x: Tensor) -> list[Tensor]:
        """The activations for images `[B, C, H, W]`, largest first, each `[B, c, h, w]`; differentiable.

        Raises:
            BenchError: the network has none, as a transformer may, or a model in one piece.
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
