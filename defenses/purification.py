"""A purifier before a classifier: transform, repaint, classify (AToP, Lin et al., ICLR 2024, arXiv:2401.16352)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.defenses.inference import for_inference
from bench.defenses.networks import by_name
from bench.defenses.transforms import Covered, RandomTransform, random_transform
from bench.types import Defense, ImageSpec


class Purified(nn.Module):
    """A module that maps images `[B, C, H, W]` in [0, 1] to logits of the purified images.

    The classifier sees the output of the purifier everywhere: uncovered pixels are not pasted back,
    because they still carry the perturbation.
    """

    def __init__(self, transform: RandomTransform, purifier: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.transform = transform
        self.purifier = purifier
        self.classifier = classifier

    def purify(self, x: Tensor) -> Tensor:
        """Return purified images in [0, 1], of the shape of `x`."""
        return repaint(self.purifier, self.transform(x))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.purify(x))
        return logits


class Purification(nn.Module):
    """The front half of a `Purified`: a module from images `[B, C, H, W]` to purified images."""

    def __init__(self, pipeline: Purified) -> None:
        super().__init__()
        self.pipeline = pipeline

    def forward(self, x: Tensor) -> Tensor:
        return self.pipeline.purify(x)


def repaint(purifier: nn.Module, covered: Covered) -> Tensor:
    """Repaint covered images with the purifier, `[B, C, H, W]`.

    With several masks each one yields the pixels it covered, and together they are the whole image.
    """
    image, masks = covered
    count = len(masks)
    # One pass for all masks, which is several times faster than one after the other.
    painted: Tensor = purifier(image.repeat(count, 1, 1, 1), masks.flatten(0, 1))
    if count == 1:
        return painted
    return (painted.view(count, *image.shape) * masks).sum(0)


def classifier(name: str, checkpoints: Mapping[str, Path], spec: ImageSpec) -> Defense:
    """Load the classifier with the weights of this name."""
    model, card = by_name.restore(name, checkpoints, spec)
    return Defense(for_inference(model), trained_on=by_name.trained_on(card), card=by_name.record(card))


def load(weights: str, *, checkpoints: Mapping[str, Path], spec: ImageSpec, rt: str, behind: Defense) -> Defense:
    """Load the purifier with these weights under the random transform `rt`, before the model of `behind`.

    That model stays unchanged: `for_inference` may not suit a model from elsewhere.
    """
    transform = random_transform(rt)
    purifier, card = by_name.restore(weights, checkpoints, spec)
    model = Purified(transform, for_inference(purifier), behind.model).eval()
    still = Purified(random_transform("none"), model.purifier, model.classifier).eval()
    return Defense(
        model,
        stochastic=transform.stochastic,
        # A threat that any part has seen in training is not unseen by the whole (rule V10 of docs/soundness.md).
        trained_on=tuple(dict.fromkeys((*behind.trained_on, *by_name.trained_on(card)))),
        base=model.classifier,
        purifier=Purification(model).eval(),
        derandomized=still if transform.stochastic else None,
        card=by_name.record(card if _was_measured(card, rt, behind) else without_accuracies(card)),
    )


def _was_measured(card: Mapping[str, Any], rt: str, behind: Defense) -> bool:
    """Return whether the accuracies of a purifier's card hold under this transform and before this model."""
    its_rt = str(card.get("recipe", {}).get("rt", "none"))  # pre-training has no transform and no entry
    return its_rt == rt and behind.card.facts.get("sha256") in card.get("parents", {}).values()


def without_accuracies(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card without the accuracies, for a defense that they were not measured on."""
    return {name: fact for name, fact in card.items() if name not in ("standard_accuracy", "validation")}
