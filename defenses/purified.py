"""A classifier behind a purifier: transform, repaint, classify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bench.defenses import networks
from bench.defenses.inference import for_inference
from bench.defenses.transforms import Covered, RandomTransform, random_transform
from bench.types import Defense, ImageSpec


class Purified(nn.Module):
    """Maps images `[B, C, H, W]` in [0, 1] to logits of the purified images.

    The classifier sees what the purifier painted, everywhere: pixels that were not covered are not
    pasted back, because they still carry the perturbation.
    """

    def __init__(self, transform: RandomTransform, purifier: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.transform = transform
        self.purifier = purifier
        self.classifier = classifier

    def purify(self, x: Tensor) -> Tensor:
        """Purified images in [0, 1], of the shape of `x`."""
        return repaint(self.purifier, self.transform(x))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.purify(x))
        return logits


class Purification(nn.Module):
    """The front half of a `Purified`: images `[B, C, H, W]` to purified images."""

    def __init__(self, pipeline: Purified) -> None:
        super().__init__()
        self.pipeline = pipeline

    def forward(self, x: Tensor) -> Tensor:
        return self.pipeline.purify(x)


def repaint(purifier: nn.Module, covered: Covered) -> Tensor:
    """Let the purifier fill in what is covered, `[B, C, H, W]`.

    Under several masks each one yields the pixels it covered, and together they are the whole image.
    """
    image, masks = covered
    count = len(masks)
    # One pass for all masks, which is several times faster than one after the other.
    painted: Tensor = purifier(image.repeat(count, 1, 1, 1), masks.flatten(0, 1))
    if count == 1:
        return painted
    return (painted.view(count, *image.shape) * masks).sum(0)


def load(
    weights: str, *, checkpoints: Mapping[str, Path], spec: ImageSpec, rt: str, classifier: str = "standard"
) -> Defense:
    """The classifier behind the purifier with these weights and the random transform `rt`."""
    transform = random_transform(rt)
    behind, its_card = networks.restore(classifier, checkpoints, spec)
    purifier, card = networks.restore(weights, checkpoints, spec)
    model = for_inference(Purified(transform, purifier, behind).eval())
    still = Purified(random_transform("none"), model.purifier, model.classifier).eval()
    return Defense(
        model,
        stochastic=transform.stochastic,
        # What any part of the pipeline was trained on is not unseen (rule V10).
        trained_on=tuple(dict.fromkeys((*networks.trained_on(its_card), *networks.trained_on(card)))),
        base=model.classifier,
        purifier=Purification(model).eval(),
        derandomized=still if transform.stochastic else None,
        card=networks.record(card),
    )
