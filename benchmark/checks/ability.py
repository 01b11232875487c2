"""Can an attack attack at all? Asked before its cells, on a classifier whose nearest adversarial points are known.

An attack that cannot move breaks nothing, and a defense that nothing broke looks robust. So every attack first meets
a linear classifier and a few images that a small part of eps is enough for, in closed form: along the signs of the
weights for Linf, along the weights for L2, at the pixel of the largest weight for L1. An attack that breaks none of
them fails (V13), whatever it is asked to attack afterwards.

The net has wide meshes: an attack may be weak, and this says nothing of its strength. What breaks a single image
passes; what breaks none passes, if it breaks nearly all of them where an eighth of the way is enough; and what
cannot be judged here passes, too: an attack that raises, that runs longer than its cells allow, that never asks the
classifier, that is not bounded in an Lp norm (such a one only has to move), or that says why it is exempt. What finds
adversarial points and hands in others is told so after the attack (A05).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.cell import AttackRef
from bench.checks.threat import Violation
from bench.families import FAMILIES, LP_FAMILIES
from bench.float32 import exact_float32
from bench.geometry import norm
from bench.oracle import Oracle
from bench.random import Stream
from bench.seeding import preserved_generators, seed_everything
from bench.types import Attack, Defense, ImageSpec, ThreatModel
from bench.variants import beside, placed

IMAGES = 8
# Rows that an attack may ask about here: this share of the passes of its cell, or what a thousand queries take.
SHARE = 0.05
FREE = 1000 * IMAGES

# What eps is enough for, as a share of it: random points of the ball reach 1 / sqrt(size) of what a search reaches.
_NEAR, _NEAREST = 0.25, 0.0625
_BEYOND_NOISE = 4.0
# The second problem, for weak attacks with an aim: so much nearer, and all images but two have to be broken.
_NEARER = 8
_NEARLY_ALL = IMAGES - 2
# So many looks at what is broken are no search, and to so many labels an attack that never asks is held.
_LOOKS = 4
_LABELS = 104
# What a pixel of these images can move by in any case, which is all that some attacks in L1 ever use.
_ROOM = 0.25
# Below this change of a pixel float32 would decide.
_RESOLVED = 1e-6

# Images darker than the middle of the box, so that black, white and the negative of an image lie on both sides.
_GRAY, _TEXTURE = 0.4, 0.1
# All pixels weigh alike, because random search has to find its way, but for one in the middle of weight 1.
_BULK = 0.25
# The true class, and what lifts its logit and that of the other one above all others; one that is 0 at the boundary
# would stop attacks that lower it to 1 / classes.
_TRUE, _LIFT = 1, 3.0
# Logits are a little convex in the weighted sum: a Newton step that ends on the boundary leaves the rest to rounding.
_BEND = 0.25

# Ours, and the adapters of other libraries.
_TRUSTED = "bench.attacks."


class _Enough(BaseException):
    """The attack need not go on."""


class Problem(NamedTuple):
    """Images of one class that are near the other one.

    Attributes:
        weight: of the pixels, float32 `[C, H, W]`, all positive.
        unit: of the weighted sum, one in the logits: what it lacks at the usual eps to be of the other class.
        near: how far the images are from the other class, in the norm of the threat model.
        step: what every pixel would have to change by.
        x: images, float32 `[IMAGES, C, H, W]` in [0, 1], all of class `_TRUE`.
    """

    weight: Tensor
    unit: float
    near: float
    step: float
    x: Tensor

    def on(self, device: torch.device | str) -> Problem:
        """The same on another device."""
        return self._replace(weight=self.weight.to(device), x=self.x.to(device))


@dataclass
class Watched:
    """What was seen of an attack on its way.

    Attributes:
        shows: what of a query shows that the attack is able; `None` where only what it hands in does.
        left: rows that it may still ask about.
        queries: how often it asked.
        follows: whether it asked for a gradient.
        able: whether a query has shown it.
        spent: whether it asked for more than it may.
    """

    shows: Callable[[Tensor, Tensor], bool] | None
    left: int
    queries: int = 0
    follows: bool = False
    able: bool = False
    spent: bool = False

    @property
    def searches(self) -> bool:
        """Whether what it does depends on the classifier: a look at what is broken already is no search."""
        return self.follows or self.queries > _LOOKS

    def see(self, x: Tensor, logits: Tensor) -> None:
        """Take note of a query, and end the attack where there is nothing more to learn."""
        self.queries += 1
        self.follows = self.follows or logits.requires_grad
        self.left -= len(x)
        self.spent = self.spent or self.left < 0
        self.able = self.able or (self.shows is not None and self.shows(x.detach(), logits.detach()))
        if self.able or self.spent:
            raise _Enough


class Plane(nn.Module):
    """Class 1 where the weighted sum of the pixels is low, class 0 where it is high; all others are far away."""

    weight: Tensor

    def __init__(self, problem: Problem, classes: int, watched: Watched | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", problem.weight)
        self._unit, self._classes, self._watched = problem.unit, classes, watched

    def forward(self, x: Tensor) -> Tensor:
        # Products and sums of their own: no matrix product rounds here.
        side = ((x - _GRAY) * self.weight).flatten(1).sum(1, keepdim=True) / self._unit
        side = side + _BEND * ((1 + side.square()).sqrt() - 1)
        logits = torch.cat([_LIFT + side, _LIFT - side, side.new_zeros(len(x), self._classes - 2)], 1)
        if self._watched is not None:
            self._watched.see(x, logits)
        return logits


def problem(spec: ImageSpec, threat: ThreatModel, nearer: int = 1) -> Problem:
    """The images of a threat model, each of them as far from the other class as `near` says.

    Args:
        spec: shape of the images.
        threat: at a large eps the usual one counts, because some attacks have steps that do not grow with it.
        nearer: how many times nearer than usual they are.
    """
    weight = torch.full(spec.shape, _BULK, dtype=torch.float64)
    weight[:, spec.shape[1] // 2, spec.shape[2] // 2] = 1
    share = min(_NEAR, max(_NEAREST, _BEYOND_NOISE / math.prod(spec.shape) ** 0.5))
    usual = float(ThreatModel.parse(f"{threat.family}:{FAMILIES[threat.family].usual(spec.shape)}").eps)
    near = _reach(share * min(usual, float(threat.eps)), threat.family) / nearer
    # The weighted sum grows fastest along the dual norm of the weights.
    dual = {"Linf": weight.sum(), "L2": weight.norm(), "L1": weight.max()}.get(threat.family, weight.sum())
    texture = _TEXTURE * (Stream.of([f"ability-{row}" for row in range(IMAGES)]).uniform(*spec.shape).double() - 0.5)
    lacking = -near * dual - (texture * weight).flatten(1).sum(1)
    x = _GRAY + texture + (lacking / weight.sum()).view(-1, 1, 1, 1)
    unit = _reach(share * usual, threat.family) * float(dual)
    return Problem(weight.float(), unit, near, near * float(dual / weight.sum()), x.float())


def _reach(length: float, family: str) -> float:
    """A length, or less where the box or another unit of eps has no room for it."""
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
    """Raise a Violation unless an attack can attack, or it cannot be told.

    Nothing of what follows is changed: the attack is built anew, and the generators are left as they were. The
    answer is kept for the process.

    Args:
        ref: the attack; of a cascade, one of its members.
        build: makes it.
        threat: what it may do.
        spec: images and classes of the cells.
        allowed: rows that it may ask about, from the passes of its cell.
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
    """Why an attack is unable; empty where it is able or cannot be judged."""
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
    """Whether an attack that asks the classifier nothing moves an image of some other label, or too many are left.

    It may follow a network of its own, and leave alone what that one gets wrong already.
    """
    for start in range(0, bench.classes, IMAGES):
        found = bench.run(on, labels=(torch.arange(IMAGES) + start) % bench.classes) if start < _LABELS else None
        if found is None or found.moved:
            return True
    return False


def _message(bench: _Bench, on: Problem, found: _Tried) -> str:
    enough = f" that {bench.threat.family} {on.near:.2g} is enough for" if bench.threat.is_lp else ""
    images = f"of {IMAGES} images of a linear classifier{enough}"
    does = f"breaks 0 {images}" if found.moved else f"hands in as they were {IMAGES} {images}"
    mine = "" if bench.is_trusted else ", or let it say why it is exempt (docs/attacks.md)"
    return f"V13: cannot attack: it {does}; look at its parameters{mine}"


class _Tried(NamedTuple):
    """What came of an attack.

    Attributes:
        broken: of the images it handed in.
        moved: likewise.
        searches: whether it asked how to break them.
        discards: whether its oracle saw images broken that it did not hand in so.
    """

    broken: int
    moved: int
    searches: bool
    discards: bool = False


@dataclass(frozen=True)
class _Bench:
    """An attack, what it may do and how many rows it may ask about."""

    ref: AttackRef
    build: Callable[[], Attack]
    threat: ThreatModel
    classes: int
    allowed: int

    @property
    def is_trusted(self) -> bool:
        """Whether it hands in what it finds, as ours do and the libraries behind our adapters."""
        return self.ref.source.startswith(_TRUSTED)

    def run(self, on: Problem, *, shortly: bool = False, labels: Tensor | None = None) -> _Tried | None:
        """Run the attack on a problem; `None` where nothing can be said of it.

        Args:
            on: the problem.
            shortly: end it where a query shows that it is able.
            labels: what it is told; those of the classifier by default.
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
            attack: Any = self.build()
            if getattr(attack, "exempt", ""):
                return None
            proposed = attack(*given, stream=stream) if self.threat.is_lp else attack.propose(*given, stream=stream)[0]
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
        """What of a query, images and their logits, is enough to know that the attack is able.

        Of an attack that is trusted, the first adversarial point inside the threat model. Of what a user brought only
        the images count that it hands in; but without an Lp bound it may keep an image that it moved to no avail.
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
        """The classifier as a defense that offers whatever an attack may see it through: itself, every time."""
        plane = Plane(on, self.classes, watched)
        base: nn.Module = plane
        if not self.threat.is_lp:  # some measure distances between activations, which a plane does not have
            channels = on.x.shape[1]
            base = nn.Sequential(nn.Conv2d(channels, channels + 1, 3, padding=1), nn.Flatten()).requires_grad_(False)
        stochastic = self.ref.needs == "derandomized"
        whole = Defense(plane, stochastic=stochastic, base=base, purifier=nn.Identity(), derandomized=plane)
        return beside(whole, Defense(plane))
