"""A classifier behind a purifier: transform, repaint, classify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def classifier(name: str, checkpoints: Mapping[str, Path], spec: ImageSpec) -> Defense:
    """The classifier with the weights of this name."""
    model, card = networks.restore(name, checkpoints, spec)
    return Defense(for_inference(model), trained_on=networks.trained_on(card), card=networks.record(card))


def load(weights: str, *, checkpoints: Mapping[str, Path], spec: ImageSpec, rt: str, behind: Defense) -> Defense:
    """The purifier with these weights under the random transform `rt`, before the model of `behind`.

    That model is used as it is: nobody knows what may be folded or laid out anew in somebody else's.
    """
    transform = random_transform(rt)
    purifier, card = networks.restore(weights, checkpoints, spec)
    model = Purified(transform, for_inference(purifier), behind.model).eval()
    still = Purified(random_transform("none"), model.purifier, model.classifier).eval()
    return Defense(
        model,
        stochastic=transform.stochastic,
        # What any part of the pipeline was trained on is not unseen (rule V10).
        trained_on=tuple(dict.fromkeys((*behind.trained_on, *networks.trained_on(card)))),
        base=model.classifier,
        purifier=Purification(model).eval(),
        derandomized=still if transform.stochastic else None,
        card=networks.record(card if _was_measured(card, rt, behind) else _without_accuracies(card)),
    )


def _was_measured(card: Mapping[str, Any], rt: str, behind: Defense) -> bool:
    """Whether the accuracies of a purifier's card are those under this transform and before this model."""
    its_rt = str(card.get("recipe", {}).get("rt", "none"))
    return its_rt == rt and behind.card.facts.get("sha256") in card.get("parents", {}).values()


def _without_accuracies(card: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in card.items() if name not in ("standard_accuracy", "validation")}
