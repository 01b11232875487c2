"""The base of the adapters of other attack libraries.

A library runs on a view of the oracle, so that every pass is counted and the defense stays untouched. It
runs silently and seeded from the examples, and every global state is restored afterwards. Its points are
projected into the threat model here, because libraries differ in their guarantees: some return points
outside the ball, some return not-a-number.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import logging
import sys
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BenchError
from bench.oracle.geometry import project
from bench.oracle.module import CountedModule
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream, preserved_generators, seed_everything, seed_of
from bench.threats import ThreatModel

# Replaces infinite logits; its negative replaces those that are not numbers.
_EXTREME = 1e6


def imported(module: str, install: str) -> Any:  # noqa: ANN401  (an untyped library)
    """Import a module of an optional library.

    Raises:
        BenchError: the import fails; the message names the command `install`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BenchError(f"{module} does not load ({' '.join(str(error).split())}): {install}") from error


@contextlib.contextmanager
def session(stream: Stream, library: str) -> Iterator[int]:
    """Run a library silently, seeded from the examples alone, and restore all global state afterwards.

    Yields:
        the seed, below 2^31, for libraries that take one.
    """
    seed = seed_of(library, *stream.keys.tolist()) % 2**31
    disabled, tracer = logging.root.manager.disable, sys.gettrace()
    logging.disable(logging.CRITICAL)
    with preserved_generators(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        seed_everything(seed)
        try:
            yield seed
        finally:
            logging.disable(disabled)
            if sys.gettrace() is not tracer:  # some libraries remove it, and debuggers and coverage would stop
                sys.settrace(tracer)


class View(nn.Module):
    """The oracle as a module for a library: finite logits, and gradients with respect to the images alone.

    Libraries call `backward`, which would leave gradients on the weights of the defense and spend a
    third of the pass on them. And one gradient that is not a number would end the attack of a row.
    """

    def __init__(self, oracle: Oracle, like: Tensor) -> None:
        super().__init__()
        # In a list, outside the module tree: no library can move or train the defense through this view.
        self._module = [CountedModule(oracle)]
        self._differentiable = oracle.access == "gradient"
        # Libraries read the device from a parameter.
        self.place = nn.Parameter(torch.zeros(0, device=like.device), requires_grad=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        if self._differentiable and x.requires_grad and torch.is_grad_enabled():
            logits: Tensor = _TowardsImages.apply(x, self._module[0])  # type: ignore[no-untyped-call]
            return logits
        with torch.no_grad():
            return _finite(self._module[0](x))


class _TowardsImages(torch.autograd.Function):
    """A module whose backward pass reaches its input and nothing else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, module: nn.Module) -> Tensor:  # noqa: ANN401  (autograd's own)
        with torch.enable_grad():
            ctx.x = x.detach().requires_grad_()
            ctx.logits = _finite(module(ctx.x))
        result: Tensor = ctx.logits.detach()
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        # The graph is kept: a library may ask for the gradient of one logit after the other.
        (grad,) = torch.autograd.grad(ctx.logits, ctx.x, grads[0], retain_graph=True)
        return torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0), None


def _finite(logits: Tensor) -> Tensor:
    """Return finite logits; not-a-number becomes the lowest, because a library would call such a row robust."""
    return torch.nan_to_num(logits.float(), nan=-_EXTREME, posinf=_EXTREME, neginf=-_EXTREME)


class Decisions(nn.Module):
    """The oracle as a module for a library's decision-based attack: one-hot answers of labels alone.

    A library compares answers with the labels it attacks. So one entry is enough for all classes that
    are no label of the batch, and the number of classes need not be known.
    """

    def __init__(self, oracle: Oracle, y: Tensor) -> None:
        super().__init__()
        self._oracle = [oracle]
        self._most = int(y.max())
        self._turn = 0
        self.place = nn.Parameter(torch.zeros(0, device=y.device), requires_grad=False)
        self.eval()

    @property
    def classes(self) -> int:
        """Return the width of the answers, at least 3: ART mistakes two columns for a binary sigmoid and refuses."""
        return max(self._most + 2, 3)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        size = self._oracle[0].passes.size
        labels = torch.cat([self._labels(part, size) for part in torch.split(x.detach().float(), size)])
        known = (labels >= 0) & (labels <= self._most)
        return F.one_hot(torch.where(known, labels, self._most + 1), self.classes).float()

    def _labels(self, x: Tensor, size: int) -> Tensor:
        # A library does not say to which example a point belongs, so the ledger assigns the queries in turn.
        rows = (torch.arange(len(x), device=x.device) + self._turn) % size
        self._turn = (self._turn + len(x)) % size
        return self._oracle[0].labels(x, rows)


def view_of(oracle: Oracle, x: Tensor, y: Tensor) -> View | Decisions:
    """Return the view of the oracle that its access rights allow."""
    return Decisions(oracle, y) if oracle.access == "decision" else View(oracle, x)


def classes_of(oracle: Oracle, x: Tensor, view: View | Decisions) -> int:
    """Return the number of logits in the view's answers; this takes one query unless only labels are answered."""
    if isinstance(view, Decisions):
        return view.classes
    return oracle.logits(x[:1], torch.zeros(1, dtype=torch.int64, device=x.device)).shape[1]


def cut(x_adv: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Project a library's points into the box and the ball.

    A library that clips (foolbox) would itself have judged the nearest point of the ball. A row that is
    not a number has no nearest point; the image in its place would count as robust, so this is an error.

    Raises:
        BenchError: the points have another shape than the images, or some are not numbers.
    """
    x_adv = x_adv.detach().to(device=x.device, dtype=x.dtype)
    if x_adv.shape != x.shape:
        raise BenchError(f"the library returned images of shape {tuple(x_adv.shape)} for {tuple(x.shape)}")
    lost = int((~x_adv.isfinite()).flatten(1).any(1).sum())
    if lost:
        raise BenchError(f"the library returned {lost} of {len(x)} images that are no numbers: it did not attack them")
    return project(x_adv, x, threat)


def starting_points(model: nn.Module, x: Tensor, y: Tensor, stream: Stream, tries: int) -> tuple[Tensor, Tensor]:
    """Find a misclassified point to start from for every image, far away from it.

    Candidates are the negative of the image, black, white, and random images of uniform and of extreme
    pixels; at most `tries` in all.

    Returns:
        the starting points `[B, C, H, W]`, and whether each row has one, bool `[B]`.
    """
    start, open_ = x.clone(), torch.arange(len(x), device=x.device)
    for number in range(tries):
        if not len(open_):
            break
        fixed = (1 - x[open_], torch.zeros_like(x[open_]), torch.ones_like(x[open_]))
        if number < len(fixed):
            tried = fixed[number]
        else:
            tried = stream.at("beginning", number).rows(open_).uniform(*x.shape[1:])
            tried = tried if number % 2 else tried.round()
        wrong = model(tried).argmax(1) != y[open_]
        start[open_[wrong]] = tried[wrong]
        open_ = open_[~wrong]
    there = torch.ones(len(x), dtype=torch.bool, device=x.device)
    there[open_] = False
    return start, there


def spelled(name: str) -> str:
    """Return a parameter's name with Greek letters spelled out: `alpha_init` for the letter and `_init`."""
    return "".join(_letter(character) for character in name)


def _letter(character: str) -> str:
    if character.isascii():
        return character
    # Unicode calls the letter GREEK SMALL LETTER ALPHA: the last word is its name.
    return unicodedata.name(character, character).rsplit(" ", 1)[-1].lower()


def settable(function: Callable[..., Any], reserved: Collection[str], real: Collection[str] = ()) -> dict[str, Any]:
    """Return the parameters of a library's attack that a user may set, as `(type, default)` by spelled name.

    Args:
        function: the constructor or function of the attack.
        reserved: parameters that the harness sets itself, or that no command line can express.
        real: parameters that take real numbers although their default is a whole one.
    """
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in reserved and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            kind = _kind(str(parameter.annotation), parameter.default, name in real)
            if kind is not None:
                found[spelled(name)] = (kind, parameter.default)
    return found


def _kind(annotation: str, default: object, real: bool) -> type | None:
    """Return the type of a parameter, from its annotation or else its default; `None` if it is an object."""
    if real or "float" in annotation:
        return float
    for kind in (bool, int, str):  # bool first: it is an int, too
        if kind.__name__ in annotation or isinstance(default, kind):
            return kind
    return float if isinstance(default, float) else str if "Literal" in annotation else None


def unspelled(function: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters under the names that the library's function has for them."""
    names = {spelled(name): name for name in inspect.signature(function).parameters}
    return {names[name]: value for name, value in parameters.items()}
