"""A test of every attack before its cells: can it break a classifier whose nearest adversarial points are known?

An attack that cannot move breaks nothing, and a defense that nothing broke looks robust. So every attack first meets
a linear classifier and a few images for which a small part of eps is enough. The shortest way is known in closed form:
along the signs of the weights for Linf, along the weights for L2, at the pixel of the largest weight for L1. An attack
that breaks none of the images fails (V13), and so do all its cells.

The test is lenient, because it asks for ability and not for strength. An attack passes that breaks a single image; or
that breaks nearly all of them when an eighth of the way is enough. An attack also passes if it cannot be judged here:
it raises, runs longer than its cells allow, never queries the classifier, is not bounded in an Lp norm (then it only
has to move), or says why it is exempt. An attack that finds adversarial points and returns others passes here, and is
reported after its cells (A05).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.catalogue.refs import AttackRef
from bench.harness.verify import Violation
from bench.oracle.attack import Attack, proves, traits_of
from bench.oracle.float32 import exact_float32
from bench.oracle.geometry import norm
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream, preserved_generators, seed_everything
from bench.oracle.variants import placed
from bench.threats import FAMILIES, LP_FAMILIES, SPARSE, ThreatModel
from bench.types import Defense, ImageSpec

IMAGES = 8
# Rows that an attack may query here: this share of the passes of its cell, or what a thousand queries take if more.
SHARE = 0.05
FREE = 1000 * IMAGES

# The distance of the images from the other class, as a share of eps: from _NEAREST to _NEAR, and _BEYOND_NOISE times
# what random points of the ball reach, which is 1 / sqrt(size) of what a search reaches.
_NEAR, _NEAREST = 0.25, 0.0625
_BEYOND_NOISE = 4.0
# The second problem, for weak attacks that search: this many times nearer, and all images but two must be broken.
_NEARER = 8
_NEARLY_ALL = IMAGES - 2
# Up to this many queries only look at what is broken already and are no search; and an attack that never queries is
# tried on images of at most this many labels.
_LOOKS = 4
_LABELS = 104
# How far any pixel of these images can move inside the box; some attacks in L1 move a single pixel.
_ROOM = 0.25
# Changes of a pixel below this are lost in float32 rounding.
_RESOLVED = 1e-6

# Images darker than the middle of the box, so that black and white, or an image and its negative, differ in class.
_GRAY, _TEXTURE = 0.4, 0.1
# One pixel in the middle weighs 1 and all others this much: equal weights let random search find its way.
_BULK = 0.25
# The true class, and the lift of its logit and the other class's above all others. Without it all logits would be 0 at
# the boundary, and an attack that lowers the true class to a probability of 1 / classes would stop there.
_TRUE, _LIFT = 1, 3.0
# Logits are slightly convex in the weighted sum: with linear ones a Newton step (DeepFool, FAB) would end exactly on
# the boundary, and rounding would decide.
_BEND = 0.25

# Our own attacks, and our adapters to other libraries.
_TRUSTED = "bench.attacks."


class _Enough(BaseException):
    """Ends an attack that need not go on; a BaseException, so that an attack's `except Exception` lets it pass."""


class Problem(NamedTuple):
    """Images of one class near the boundary to another class.

    Attributes:
        weight: the weights of the pixels, float32 `[C, H, W]`, all positive.
        unit: the change of the weighted sum that crosses the boundary at the usual eps; it moves logits by one.
        near: the distance of the images from the other class, in the norm of the threat model.
        step: the change of every pixel, the same for all, that crosses the boundary.
        x: images, float32 `[IMAGES, C, H, W]` in [0, 1], all of class `_TRUE`.
    """

    weight: Tensor
    unit: float
    near: float
    step: float
    x: Tensor

    def on(self, device: torch.device | str) -> Problem:
        """Return the problem on another device."""
        return self._replace(weight=self.weight.to(device), x=self.x.to(device))


@dataclass
class Watched:
    """A record of an attack's queries.

    Attributes:
        shows: tells from a query's images and logits whether the attack is able; `None` where only the images that
            it returns count.
        left: rows that it may still query.
        queries: its queries so far.
        follows: whether it asked for a gradient.
        able: whether a query has shown that it is able.
        spent: whether it queried more rows than it may.
    """

    shows: Callable[[Tensor, Tensor], bool] | None
    left: int
    queries: int = 0
    follows: bool = False
    able: bool = False
    spent: bool = False

    @property
    def searches(self) -> bool:
        """Return whether the attack depends on the classifier: a few looks at what is broken are no search."""
        return self.follows or self.queries > _LOOKS

    def see(self, x: Tensor, logits: Tensor) -> None:
        """Record a query, and end the attack when there is nothing more to learn."""
        self.queries += 1
        self.follows = self.follows or logits.requires_grad
        self.left -= len(x)
        self.spent = self.spent or self.left < 0
        self.able = self.able or (self.shows is not None and self.shows(x.detach(), logits.detach()))
        if self.able or self.spent:
            raise _Enough


class Plane(nn.Module):
    """A nearly linear classifier: class 1 where the weighted sum of the pixels is low, class 0 where it is high."""

    weight: Tensor

    def __init__(self, problem: Problem, classes: int, watched: Watched | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", problem.weight)
        self._unit, self._classes, self._watched = problem.unit, classes, watched

    def forward(self, x: Tensor) -> Tensor:
        # Products and sums of float32, because a matrix product may round to TF32 on a GPU.
        side = ((x - _GRAY) * self.weight).flatten(1).sum(1, keepdim=True) / self._unit
        side = side + _BEND * ((1 + side.square()).sqrt() - 1)
        logits = torch.cat([_LIFT + side, _LIFT - side, side.new_zeros(len(x), self._classes - 2)], 1)
        if self._watched is not None:
            self._watched.see(x, logits)
        return logits


def problem(spec: ImageSpec, threat: ThreatModel, nearer: int = 1) -> Problem:
    """Make images whose distance from the other class is a known part of eps.

    Args:
        spec: the shape of the images.
        threat: the threat model; eps counts up to the usual one, because the steps of some attacks do not grow with it.
        nearer: how many times nearer than usual the images are.
    """
    weight = torch.full(spec.shape, _BULK, dtype=torch.float64)
    weight[:, spec.shape[1] // 2, spec.shape[2] // 2] = 1
    share = min(_NEAR, max(_NEAREST, _BEYOND_NOISE / math.prod(spec.shape) ** 0.5))
    usual = float(ThreatModel.parse(f"{threat.family}:{FAMILIES[threat.family].usual(spec.shape)}").eps)
    near = _reach(share * min(usual, float(threat.eps)), threat.family) / nearer
    # The weighted sum grows fastest along the dual norm of the weights.
    # In L0, where one pixel is enough, `near` is what its channels have to change by.
    pixel = weight.sum(0).max()
    dual = {"Linf": weight.sum(), "L2": weight.norm(), "L1": weight.max(), SPARSE: pixel}.get(
        threat.family, weight.sum()
    )
    texture = _TEXTURE * (Stream.of([f"ability-{row}" for row in range(IMAGES)]).uniform(*spec.shape).double() - 0.5)
    lacking = -near * dual - (texture * weight).flatten(1).sum(1)
    x = _GRAY + texture + (lacking / weight.sum()).view(-1, 1, 1, 1)
    unit = _reach(share * usual, threat.family) * float(dual)
    return Problem(weight.float(), unit, near, near * float(dual / weight.sum()), x.float())


def _reach(length: float, family: str) -> float:
    """Return a length, or less where the box has no room for it or eps has another unit."""
    return min(length, _ROOM) if family == "L1" else length if family in LP_FAMILIES else _NEAR * _ROOM


def require_able(
    ref: AttackRef,
    build: Callable[[], Attack],
    threat: ThreatModel,
    spec: ImageSpec,
    *,
    allowed: int,
    device: torch.device | str = "cpu",
) -> None:
    """Raise a Violation if an attack is unable to attack; one that cannot be judged passes.

    The verdicts of its cells do not depend on this test: the attack is built anew, and the random generators are
    restored. The result is remembered for the process.

    Args:
        ref: the attack, or one member of a cascade.
        build: builds the attack.
        threat: its threat model.
        spec: the images and classes of the cells.
        allowed: rows that it may query, from the passes of its cell.
        device: where the cells are computed.

    Raises:
        Violation: V13, the attack breaks none of the images that it must break, or moves none.
    """
    if threat.is_shift or spec.classes < 2:
        return
    bench = _Bench(ref, build, threat, spec.classes, max(allowed, FREE))
    key = (ref.label, ref.digest, str(threat), spec, bench.allowed, str(device))
    if key not in _known:
        with preserved_generators(), exact_float32():
            _known[key] = _fault(bench, spec, device)
    if _known[key]:
        raise Violation(_known[key])


_known: dict[tuple[object, ...], str] = {}


def _fault(bench: _Bench, spec: ImageSpec, device: torch.device | str) -> str:
    """Return why an attack is unable; empty where it is able or cannot be judged."""
    first = problem(spec, bench.threat).on(device)
    if first.step < _RESOLVED:
        return ""
    found = bench.run(first, shortly=True)
    if found is None or found.broken or (found.moved and not (found.searches and bench.threat.is_lp)):
        return ""
    if found.discards:  # it can attack, and A05 says what to change
        return ""
    if not found.searches:
        return "" if _moves_others(bench, first) else _message(bench, first, found)
    if bench.threat.is_lp:
        again = bench.run(problem(spec, bench.threat, _NEARER).on(device))
        if again is None or again.broken >= _NEARLY_ALL:
            return ""
    return _message(bench, first, found)


def _moves_others(bench: _Bench, on: Problem) -> bool:
    """Return whether an attack that never queries moves an image of another label, or there are too many to try.

    It may follow a network of its own, and leave alone the images that this network gets wrong already.
    """
    for start in range(0, bench.classes, IMAGES):
        found = bench.run(on, labels=(torch.arange(IMAGES) + start) % bench.classes) if start < _LABELS else None
        if found is None or found.moved:
            return True
    return False


def _message(bench: _Bench, on: Problem, found: _Tried) -> str:
    distance = "one pixel" if bench.threat.family == SPARSE else f"{bench.threat.family} {on.near:.2g}"
    enough = f" that {distance} is enough for" if bench.threat.is_lp else ""
    images = f"of {IMAGES} images of a linear classifier{enough}"
    does = f"breaks 0 {images}" if found.moved else f"hands in as they were {IMAGES} {images}"
    mine = "" if bench.is_trusted else ", or let it say why it is exempt (docs/attacks.md)"
    return f"V13: cannot attack: it {does}; look at its parameters{mine}"


class _Tried(NamedTuple):
    """The result of an attack on a problem.

    Attributes:
        broken: how many of the returned images are broken.
        moved: how many of them differ from the images given.
        searches: whether it queried the classifier for a way to break them.
        discards: whether its oracle saw an image broken that it returned unbroken.
    """

    broken: int
    moved: int
    searches: bool
    discards: bool = False


@dataclass(frozen=True)
class _Bench:
    """An attack, its threat model, and the number of rows that it may query."""

    ref: AttackRef
    build: Callable[[], Attack]
    threat: ThreatModel
    classes: int
    allowed: int

    @property
    def is_trusted(self) -> bool:
        """Return whether the attack is known to return what it finds: ours, and those behind our adapters."""
        return self.ref.source.startswith(_TRUSTED)

    def run(self, on: Problem, *, shortly: bool = False, labels: Tensor | None = None) -> _Tried | None:
        """Run the attack on a problem; `None` where it cannot be judged.

        Args:
            on: the problem.
            shortly: whether to end it when a query shows that it is able.
            labels: the labels that the attack gets; by default those of the classifier.
        """
        seed_everything("ability")
        device = on.x.device
        y = torch.full((IMAGES,), _TRUE) if labels is None else labels
        watched = Watched(self._shows(on) if shortly else None, self.allowed)
        defense = self._defense(on, watched)
        placed(defense, device)
        oracle = Oracle(defense, IMAGES, scope=("ability",), access=self.ref.access, labels=y.to(device))
        stream = Stream.of([f"ability-{row}" for row in range(IMAGES)], "ability", device=device)
        given = (oracle, on.x.clone(), y.to(device), self.threat)
        x_adv: Tensor | None = None
        try:
            attack = self.build()
            if traits_of(attack).exempt:
                return None
            if self.threat.is_lp:
                proposed = attack(*given, stream=stream)
            elif proves(attack):
                proposed, _ = attack.propose(*given, stream=stream)
            else:
                return None
            x_adv = proposed.detach().to(device)
        except _Enough:
            pass
        except Exception:  # noqa: BLE001  (what it cannot do on this classifier says nothing; its cell will tell)
            return None
        if watched.able:  # even if the attack went on after it was ended
            return _Tried(IMAGES, IMAGES, searches=True)
        if watched.spent or x_adv is None or x_adv.shape != on.x.shape or not bool(x_adv.isfinite().all()):
            return None
        with torch.no_grad():
            broken = Plane(on, self.classes)(x_adv.float()).argmax(1) != _TRUE
        moved = (x_adv != on.x).flatten(1).any(1)
        discards = bool((oracle.broken & ~broken.cpu()).any())
        return _Tried(int(broken.sum()), int(moved.sum()), watched.searches, discards)

    def _shows(self, on: Problem) -> Callable[[Tensor, Tensor], bool] | None:
        """Return the test of a query (images, logits) that shows that the attack is able.

        For a trusted attack it is the first adversarial point inside the threat model. For a user's Lp attack only the
        returned images count. Without an Lp bound, moving an image is enough: the attack may return it unmoved.
        """

        def breaks(x: Tensor, logits: Tensor) -> bool:
            wrong = x[logits.argmax(1) != _TRUE][:IMAGES]
            within = float(self.threat.eps) * (1 + 1e-5) + 1e-6
            return any(bool((norm(wrong - image, self.threat.family) <= within).any()) for image in on.x)

        def moves(x: Tensor, _logits: Tensor) -> bool:
            return bool((x[:1] - on.x).flatten(1).abs().amax(1).min() > _RESOLVED)

        if not self.threat.is_lp:
            return moves
        return breaks if self.is_trusted else None

    def _defense(self, on: Problem, watched: Watched) -> Defense:
        """Return the classifier as a defense with every variant that attacks can use; all are the classifier itself."""
        plane = Plane(on, self.classes, watched)
        base: nn.Module = plane
        if not self.threat.is_lp:  # some measure distances between activations, which a plane does not have
            channels = on.x.shape[1]
            base = nn.Sequential(nn.Conv2d(channels, channels + 1, 3, padding=1), nn.Flatten()).requires_grad_(False)
        stochastic = self.ref.needs == "derandomized"
        return Defense(
            plane,
            stochastic=stochastic,
            base=base,
            purifier=nn.Identity(),
            derandomized=plane,
            transfer_source=Defense(plane),
        )
