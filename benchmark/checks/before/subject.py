"""The defense in the preflight: how it is queried, and when two of its answers count as equal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bench.checks.before.pristine import Pristine
from bench.datasets.examples import Examples
from bench.oracle.answers import FaultyDefense, check_logits
from bench.oracle.randomness import Stream, seed_everything
from bench.types import Defense

ROWS = 64

# The tolerance of logits, as a share of their spread. Between batch layouts honest float32 differed by
# 1e-6, honest bfloat16 by 1e-2.
TOLERANCE = 1e-3
LOW_PRECISION_TOLERANCE = 5e-2


class Subject:
    """One fresh instance of a defense, with the images of its queries.

    All queries of one `draw` begin with the same seeds of torch, numpy and random.

    Attributes:
        origin: makes fresh instances.
        device: where the defense runs.
        model: the instance for most queries; the caller's own only if it cannot be copied.
        x: the first 64 images, float32 `[m, C, H, W]` in [0, 1].
        y: their labels, int64 `[m]`; for the checks alone, never for the defense.
        x_noisy: the images with uniform noise of at most eps.
        eps: the Linf size of noise and of finite differences.
        random: whether answers differ between draws; set by `bench.checks.before.randomness.examine`.
        repeatable: whether answers of one draw are equal; set there, too.
        changed_input: the number of queries whose images the defense changed.
    """

    def __init__(self, defense: Defense, examples: Examples, eps: float, origin: Pristine) -> None:
        part = examples.part(0, min(ROWS, len(examples)))
        self.declared_stochastic = defense.stochastic
        self.has_substitute = defense.surrogate is not None or (
            defense.purifier is not None and defense.base is not None
        )
        self.classes = examples.spec.classes
        self.eps = eps
        self.origin, self.device = origin, origin.device
        self.x, self.y = on_device(part, self.device)
        self._salt = self._unforeseen()
        self.model = origin.fresh()
        self._stream = Stream.of(part.ids, "preflight", device=self.device)
        self.x_noisy = self.noisy("history")
        self.random = False
        self.repeatable = True
        self.changed_input = 0

    def __len__(self) -> int:
        return len(self.x)

    def _unforeseen(self) -> str:
        """Derive a salt for the seeds from the defense's own answer, so that it cannot know them in advance."""
        with torch.no_grad():
            seed_everything("preflight")
            try:
                answer = self.origin.fresh()(self.x[:4].clone())
                return hashlib.sha256(answer.detach().double().cpu().numpy().tobytes()).hexdigest()
            except Exception:  # noqa: BLE001  (S02 says what is wrong with it)
                return ""
            finally:
                self.origin.restore_world()

    def noise(self, purpose: str) -> Tensor:
        """Draw uniform noise in [-1, 1), of the shape of the images; a function of the example alone."""
        return 2 * self._stream.at(purpose).uniform(*self.x.shape[1:]) - 1

    def noisy(self, purpose: str, *, signs: bool = False) -> Tensor:
        """Return the images with noise of at most eps, or of exactly eps everywhere, in [0, 1]."""
        noise = self.noise(purpose)
        return (self.x + self.eps * (noise.sign() if signs else noise)).clamp(0, 1)

    @torch.no_grad()
    def ask(self, x: Tensor, draw: int = 0, *, model: nn.Module | None = None) -> Tensor:
        """Return logits float32 `[B, classes]` of any batch of images, without a gradient.

        Raises:
            FaultyDefense: S02, the answer is not a batch of logits.
        """
        return self.forward(x.clone(), x, draw, model).float().clone()

    def forward(self, given: Tensor, original: Tensor, draw: int = 0, model: nn.Module | None = None) -> Tensor:
        """Return the defense's own answer to `given`, and count whether it changed the pixels from `original`."""
        seed_everything("preflight", self._salt, draw)
        logits: object = (self.model if model is None else model)(given)
        if not torch.equal(given.detach(), original):
            self.changed_input += 1
        return checked(logits, len(original), self.classes)

    @cached_property
    def first(self) -> Tensor:
        """Return the answer to the very first query, `x_noisy`."""
        return self.ask(self.x_noisy)

    @cached_property
    def clean(self) -> Tensor:
        """Return logits of the images, `[m, classes]`."""
        return self.ask(self.x)

    @cached_property
    def low_precision(self) -> bool:
        """Return whether some step of the forward computes in less than 32 bits, autocast and TF32 included."""
        if torch.device(self.device).type != "cpu":
            return True  # a GPU uses TF32 in convolutions by default, and other kernels for other batch sizes
        if any(_is_low(parameter) for parameter in self.model.parameters()):
            return True
        watch = _Precision()
        with watch:
            self.ask(self.x[:8])
        return watch.low

    def allowed(self, logits: Tensor) -> Tensor:
        """Return how far rounding alone may move the logits of each row, `[B]`."""
        spread = logits.nan_to_num().amax(1) - logits.nan_to_num().amin(1)
        share = LOW_PRECISION_TOLERANCE if self.low_precision else TOLERANCE
        # The second term: logits far from zero have few bits left for their spread.
        return share * torch.maximum(spread, spread.median()) + 8 * 2**-23 * logits.nan_to_num().abs().amax(1)

    def differing(self, a: Tensor, b: Tensor) -> Tensor:
        """Return which rows of two answers differ by more than rounding, bool `[B]`.

        A change of the predicted class is such a difference if the margin is beyond the tolerance.
        """
        return gap(a, b) > self.allowed(a)


class _Precision(TorchFunctionMode):
    """A mode that records whether any tensor of less than 32 bits is computed."""

    low = False

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        result = func(*args, **(kwargs or {}))
        self.low = self.low or (isinstance(result, Tensor) and _is_low(result))
        return result


def _is_low(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and torch.finfo(tensor.dtype).bits < 32


def gap(a: Tensor, b: Tensor) -> Tensor:
    """Return the largest difference of each row, `[B]`; infinite where only one of two entries is a number."""
    same = (a == b) | (a.isnan() & b.isnan())
    return torch.where(same, 0, (a - b).abs().nan_to_num(nan=torch.inf)).amax(1)


def checked(logits: object, rows: int, classes: int) -> Tensor:
    """Return the answer, or raise S02 unless it is a float tensor with a logit per class of the dataset."""
    check_logits(logits, rows)
    assert isinstance(logits, Tensor)  # noqa: S101  (check_logits has made sure)
    if logits.shape[1] != classes:
        raise FaultyDefense(f"S02: expected ({rows}, {classes}) float logits, got {tuple(logits.shape)} {logits.dtype}")
    return logits


def on_device(examples: Examples, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Move the images and labels of a slice to a device."""
    return (
        torch.from_numpy(np.ascontiguousarray(examples.x)).to(device),
        torch.from_numpy(np.ascontiguousarray(examples.y)).to(device),
    )


def rows_of(mask: Tensor) -> Sequence[int]:
    """Return the indices where a mask is true."""
    return [int(row) for row in mask.nonzero().flatten()]
