"""The adversarial (GAN) loss of an inpainter: hinge loss against SN-PatchGAN (Yu et al., ICCV 2019, arXiv:1806.03589).

In the authors' code of AToP (arXiv:2401.16352) the generator's hinge term never reaches the generator. Here
it does, and a test checks it. A training step is:

    covered = transform(images)
    stages, mask = repaint_stages(purifier, covered), covered.masks.sum(0)
    hinge = adversarial.learn(target, stages[-1], mask)
    loss = pixel_loss(stages, target) + gan_weight * adversarial.generator_loss(stages[-1], mask)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.defenses.networks.discriminator import PatchDiscriminator
from bench.defenses.training.distributed import Workers
from bench.defenses.transforms import Covered
from bench.errors import BenchError

BETAS = (0.5, 0.999)  # of Adam, as in the authors' code of AToP


class Adversarial:
    """A discriminator with its optimizer: Adam with betas of 0.5 and 0.999, as in the authors' code.

    The discriminator's initial weights come from torch's global generator.

    Args:
        shape: `(C, H, W)` of the images.
        width: channels of the discriminator's first layer.
        learning_rate: of the discriminator, constant.
        device: of the discriminator.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 64,
        learning_rate: float = 1e-4,
        device: torch.device | str = "cpu",
    ) -> None:
        self.discriminator = PatchDiscriminator(shape, width).to(device)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=learning_rate, betas=BETAS)

    @classmethod
    def of(cls, weight: float, x: Tensor, width: int = 64) -> Adversarial | None:
        """Return a discriminator for images like `x` `[n, C, H, W]`; `None` if its loss has no weight."""
        if weight > 0 and Workers.here().count > 1:
            raise BenchError(f"gan_weight={weight}: a discriminator learns in one process: leave torchrun out")
        channels, height, columns = x.shape[1:]
        return cls((channels, height, columns), width=width, device=x.device) if weight > 0 else None

    def generator_loss(self, painted: Tensor, mask: Tensor) -> Tensor:
        """Return the generator's hinge loss, the negative mean score of painted images, a scalar.

        Its gradient reaches the inpainter; the discriminator stays unchanged, its buffers included.

        Args:
            painted: `[B, C, H, W]` in [0, 1], attached to the inpainter's graph.
            mask: `[B, 1, H, W]`, 1 at pixels that were missing.
        """
        # Frozen, not detached: the gradient passes through the discriminator to the painted images.
        with _untouched(self.discriminator):
            scores: Tensor = self.discriminator(painted, mask)
            return -scores.mean()

    def learn(self, real: Tensor, painted: Tensor, mask: Tensor) -> Tensor:
        """Take one step of the discriminator; no gradient reaches the inpainter.

        Args:
            real: the target images, `[B, C, H, W]` in [0, 1].
            painted: the inpainter's versions of them, `[B, C, H, W]` in [0, 1].
            mask: `[B, 1, H, W]`, 1 at pixels that were missing.

        Returns:
            The hinge loss before the step, a detached scalar: 1 for a discriminator without knowledge.
        """
        self.discriminator.train()
        # Detached: painted images may belong to the graph of an attack or of the inpainter.
        both = torch.cat([real, painted]).detach()
        with torch.enable_grad():
            real_scores, painted_scores = self.discriminator(both, torch.cat([mask, mask]).detach()).chunk(2)
            loss = 0.5 * (F.relu(1 - real_scores).mean() + F.relu(1 + painted_scores).mean())
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a training resumes: discriminator, buffers included, and optimizer."""
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])


@contextmanager
def _untouched(network: nn.Module) -> Iterator[None]:
    """Put the network into eval mode, where spectral norm does not iterate, and freeze its parameters, for a block."""
    mode = network.training
    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        network.train(mode)
        for parameter in wanted:
            parameter.requires_grad_(True)


def repaint_stages(purifier: nn.Module, covered: Covered) -> tuple[Tensor, ...]:
    """Return the output of every stage of a purifier, `[B, C, H, W]` each; the last is the purified image.

    `bench.defenses.purification.repaint` returns only the last one. With several masks each one yields the
    pixels it covered. A purifier without a method `stages` has one stage.
    """
    image, masks = covered
    images, all_masks = image.repeat(len(masks), 1, 1, 1), masks.flatten(0, 1)
    stages = getattr(purifier, "stages", None)
    painted = stages(images, all_masks) if stages is not None else (purifier(images, all_masks),)
    if len(masks) == 1:
        return tuple(painted)
    return tuple((stage.view(len(masks), *image.shape) * masks).sum(0) for stage in painted)


def pixel_loss(stages: tuple[Tensor, ...], target: Tensor) -> Tensor:
    """Return the mean absolute difference from the target `[B, C, H, W]`, summed over the stages, a scalar."""
    return torch.stack([(stage - target).abs().mean() for stage in stages]).sum()
