"""A defense seen another way: without its purifier, without its randomness, with another gradient.

Attacks on purifiers need these (transfer, BPDA), and so do the checks that ask where the robustness
of a defense comes from (its base beside it, its randomness frozen).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from bench.errors import BenchError, unknown
from bench.seeding import preserved_generators, seed_everything
from bench.types import Defense

# base: the classifier alone. derandomized: without the random transform. bpda: the same answers,
# another gradient. frozen: the same random numbers in every forward. source: no variant, but another
# defense that was put beside this one, to transfer from.
VARIANTS = ("base", "derandomized", "bpda", "frozen", "source")

# The forward answers of these are those of the defense itself.
SAME_ANSWERS = ("bpda",)


@dataclass(frozen=True)
class Beside(Defense):
    """A defense together with another one that attacks may transfer from."""

    source: Defense | None = None


def beside(defense: Defense, source: Defense) -> Defense:
    """The defense, with `source` as a variant of it."""
    return Beside(**{each.name: getattr(defense, each.name) for each in fields(Defense)}, source=source)


def placed(defense: Defense, device: torch.device | str) -> nn.Module:
    """Move every module that a defense declares to a device, in eval mode; returns its model.

    A surrogate or a base may share nothing with the model, and is asked with the same images; so is what
    an attack transfers from.
    """
    for module in (defense.surrogate, defense.base, defense.purifier, defense.derandomized):
        if module is not None:
            module.to(device).eval()
    if isinstance(defense, Beside) and defense.source is not None:
        placed(defense.source, device)
    return defense.model.to(device).eval()


class Identity(nn.Module):
    """BPDA with the identity: the purifier's output, and a gradient as if it had changed nothing.

    Athalye, Carlini and Wagner, ICML 2018, arXiv:1802.00420, section 4.1.1.
    """

    def __init__(self, purifier: nn.Module, base: nn.Module) -> None:
        super().__init__()
        self.purifier, self.base = purifier, base

    def forward(self, x: Tensor) -> Tensor:
        purified = self.purifier(x.detach())
        # Adding exactly zero, so that the answers are the defense's own to the last bit.
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

    One image at a time: in a batch the numbers would move when an attack lets an example go.
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
    """The variants a defense declares enough for, in the order of `VARIANTS`."""
    there = {
        "base": defense.base is not None,
        "derandomized": defense.stochastic and defense.derandomized is not None,
        "bpda": defense.surrogate is not None or (defense.purifier is not None and defense.base is not None),
        "frozen": defense.stochastic,
        "source": isinstance(defense, Beside),
    }
    return tuple(name for name in VARIANTS if there[name])


def variant(defense: Defense, name: str) -> Defense:
    """The defense seen as `name` says.

    Raises:
        BenchError: no such variant, or the defense does not declare what it takes.
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
    if isinstance(defense, Beside) and name == "source" and defense.source is not None:
        return defense.source
    if name == "bpda":
        return replace(defense, model=_bpda(defense).eval())
    other = defense.base if name == "base" else defense.derandomized
    assert other is not None  # noqa: S101  (it is offered)
    return Defense(other.eval(), trained_on=defense.trained_on if name == "derandomized" else ())


def _bpda(defense: Defense) -> nn.Module:
    if defense.surrogate is not None:
        return Surrogate(defense.model, defense.surrogate)
    assert defense.purifier is not None and defense.base is not None  # noqa: S101, PT018  (it is offered)
    return Identity(defense.purifier, defense.base)
