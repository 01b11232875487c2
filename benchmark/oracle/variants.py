"""Variants of a defense: without its purifier, without its randomness, with another gradient.

Attacks on purifiers need them (transfer, BPDA), and so do the checks that ask where the robustness
of a defense comes from (its base alone, its randomness frozen).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from bench.errors import BenchError, unknown
from bench.oracle.randomness import preserved_generators, seed_everything
from bench.types import Defense

# base: the classifier alone. derandomized: without the random transform. bpda: the same answers,
# another gradient. frozen: the same random numbers in every forward. source: no variant, but another
# defense, which attacks transfer from.
VARIANTS = ("base", "derandomized", "bpda", "frozen", "source")

# Variants whose logits are the defense's own: what they break counts as broken.
SAME_ANSWERS = ("bpda",)


def declared(defense: Defense) -> list[nn.Module]:
    """Return every module that a defense declares, its own model first; those of its transfer source, too."""
    own = (defense.model, defense.surrogate, defense.base, defense.purifier, defense.derandomized)
    others = declared(defense.transfer_source) if defense.transfer_source is not None else []
    return [*(module for module in own if module is not None), *others]


def placed(defense: Defense, device: torch.device | str) -> nn.Module:
    """Move every module that a defense declares to a device, in eval mode; return its model.

    A surrogate, a base or the source of a transfer may share nothing with the model, but gets the same images.
    """
    for module in declared(defense):
        module.to(device).eval()
    return defense.model


class Identity(nn.Module):
    """BPDA with the identity: the purifier's output, with a gradient as if it had changed nothing.

    Athalye, Carlini and Wagner, ICML 2018, arXiv:1802.00420, section 4.1.1.
    """

    def __init__(self, purifier: nn.Module, base: nn.Module) -> None:
        super().__init__()
        self.purifier, self.base = purifier, base

    def forward(self, x: Tensor) -> Tensor:
        purified = self.purifier(x.detach())
        # x - x is exactly zero, so the answers are the defense's own to the last bit.
        logits: Tensor = self.base(purified.detach() + (x - x.detach()))
        return logits


class Surrogate(nn.Module):
    """BPDA with a declared stand-in: the defense's logits, the stand-in's gradient."""

    def __init__(self, model: nn.Module, surrogate: nn.Module) -> None:
        super().__init__()
        self.model, self.surrogate = model, surrogate

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x.detach())
        stand_in: Tensor = self.surrogate(x)
        return logits.detach() + (stand_in - stand_in.detach())


class Frozen(nn.Module):
    """A stochastic model that draws the same random numbers in every forward, for every image.

    It runs one image at a time: in a batch, an image's numbers would change when an attack drops another image.
    """

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        super().__init__()
        self.model, self.seed = model, seed

    def forward(self, x: Tensor) -> Tensor:
        with preserved_generators():
            return torch.cat([self._one(image[None]) for image in x])

    def _one(self, x: Tensor) -> Tensor:
        seed_everything("frozen", self.seed)
        logits: Tensor = self.model(x)
        return logits


def offered(defense: Defense) -> tuple[str, ...]:
    """Return the variants that a defense declares enough for, in the order of `VARIANTS`."""
    there = {
        "base": defense.base is not None,
        "derandomized": defense.stochastic and defense.derandomized is not None,
        "bpda": defense.surrogate is not None or (defense.purifier is not None and defense.base is not None),
        "frozen": defense.stochastic,
        "source": defense.transfer_source is not None,
    }
    return tuple(name for name in VARIANTS if there[name])


def variant(defense: Defense, name: str) -> Defense:
    """Return a variant of the defense.

    Raises:
        BenchError: no such variant, or the defense does not declare what the variant needs.
    """
    if name not in VARIANTS:
        raise unknown("variant", name, VARIANTS)
    if name not in offered(defense):
        wanted = {
            "base": "declare Defense.base, the classifier behind the purifier",
            "derandomized": "declare Defense.derandomized, the model without its random transform",
            "bpda": "declare Defense.surrogate, or Defense.purifier and Defense.base",
            "frozen": "it draws no random numbers",
            "source": "no other defense was put beside it",
        }[name]
        raise BenchError(f"this defense has no {name} variant: {wanted}")
    if name == "frozen":
        return replace(defense, model=Frozen(defense.model).eval(), stochastic=False)
    if name == "source" and defense.transfer_source is not None:
        return defense.transfer_source
    if name == "bpda":
        return replace(defense, model=_bpda(defense).eval())
    other = defense.base if name == "base" else defense.derandomized
    assert other is not None  # noqa: S101  (it is offered)
    # The defense does not declare what its base alone saw in training.
    return Defense(other.eval(), trained_on=defense.trained_on if name == "derandomized" else ())


def _bpda(defense: Defense) -> nn.Module:
    if defense.surrogate is not None:
        return Surrogate(defense.model, defense.surrogate)
    assert defense.purifier is not None and defense.base is not None  # noqa: S101, PT018  (it is offered)
    return Identity(defense.purifier, defense.base)
