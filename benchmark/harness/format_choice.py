"""The choice of the format in which attacks search a defense: the fastest on this machine with the same answers.

Which format is fastest depends on the network, the batch and the processor (channels_last slows some networks
down, bfloat16 a processor without it), so it is measured, in about a second or the time of a thousand passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles

import torch
from torch import Tensor, nn

from bench.catalogue.loading import load_defense
from bench.catalogue.refs import DefenseRef
from bench.datasets.examples import Examples
from bench.harness.conversion import converted
from bench.harness.formats import FORMATS, PLAIN, Format, SearchFormats
from bench.oracle.float32 import exact_float32
from bench.oracle.randomness import preserved_generators, seed_everything
from bench.types import Defense

# The least gain worth a change of rounding; a smaller one is also lost in the noise of a second's timing.
_WORTH = 1.1
# bfloat16 moves numbers as another seed would, so it must beat the best float32 format by a third.
_WORTH_HALF = 4 / 3
# A format that takes this many times as long as the plain one is dropped after two rounds.
_HOPELESS = 1.5
# The largest difference of float32 logits, relative to the largest logit; 20 times what folded norms caused.
_ROUNDING = 1e-4
# The largest difference of bfloat16 logits at the median image, as a share of the median distance between the two
# largest logits. Medians, because the maximum over a few images is three times as large and varies as much.
_HALF = 0.1
# The least cosine between an image's gradients in both formats, at the median; bfloat16 (True) measured 0.99.
_PARALLEL = {False: 0.999, True: 0.9}
# The fewest and the most images for comparing answers, and for timing. For a network too slow for the given seconds,
# timing 16 images takes 0.4 % of the shortest run for which formats are measured.
_AGREED = (4, 16)
_TIMED = (16, 64)
# The fewest rounds: two say little on a machine with other processes.
_ROUNDS = 4
# A format this many times slower than the plain one is emulated. A processor without bfloat16 takes 20 times as long,
# or a few times where a call is mostly overhead.
_EMULATED = 3
# The most rows of a forward that holds several draws, by kind of device. On a CPU more were slower.
_ROWS_AT_ONCE = {"cpu": 160, "cuda": 2048}


def choose_formats(defense: Defense, x: Tensor, *, seconds: float = 1.0) -> SearchFormats:
    """Choose the formats in which attacks search a defense.

    Args:
        defense: in eval mode, on the device of `x`.
        x: some images `[B, C, H, W]`, as many as an attack will query at once.
        seconds: how long the choice may take; a large network takes longer, and timing always gets a third of it.
    """
    until = time.perf_counter() + seconds
    with preserved_generators(), exact_float32():
        rows = _rows(defense, x)
        each = _each(defense.model, x)
        networks = _trusted(defense.model, x[: _affordable(each, len(FORMATS), seconds, *_AGREED)])
        until = max(until, time.perf_counter() + seconds / 3)
        count = _affordable(each, len(networks), until - time.perf_counter(), *_TIMED)
        gain = _timed(networks, x[:count], until)
    return SearchFormats(
        _fastest(gain),
        _fastest({layout: value for layout, value in gain.items() if not layout.half}),
        rows,
        {str(layout): value for layout, value in gain.items()},
    )


def settle(ref: DefenseRef, examples: Examples, device: str, threads: int, precision: str) -> SearchFormats:
    """Choose the formats of a defense for a run; one that fails gets the plain ones, and the preflight reports it.

    Args:
        ref: the defense.
        examples: the images of the run.
        device: where the run computes.
        threads: threads of each of its processes.
        precision: `"auto"`, or `"float32"` to decide only how many draws of a query share a forward.
    """
    try:
        defense = load_defense(ref, examples.spec)
        defense.model.to(device).eval()
        x = torch.from_numpy(examples.x[: _TIMED[1]]).to(device)
        if precision == "auto":
            return _with_threads(threads, lambda: choose_formats(defense, x))
        return SearchFormats(rows_at_once=_rows(defense, x))
    except Exception:  # noqa: BLE001  (preflight and the attacks say it, and say it better)
        return SearchFormats()


def _rows(defense: Defense, x: Tensor) -> int:
    """Return the most rows of a forward that holds several draws; 1 where draws cannot share a forward.

    The number depends on the kind of device alone, because it is part of a cell's key.
    """
    with preserved_generators(), exact_float32():
        together = defense.stochastic and draws_per_row(defense.model, x)
    return _ROWS_AT_ONCE.get(x.device.type, 1) if together else 1


def _with_threads(threads: int, work: Callable[[], SearchFormats]) -> SearchFormats:
    # Timed with the threads of a worker: all cores would favour formats that scale.
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return work()
    finally:
        torch.set_num_threads(before)


def _fastest(gain: Mapping[Format, float]) -> Format:
    exact = max((layout for layout in gain if not layout.half), key=lambda layout: gain[layout])
    best = max(gain, key=lambda layout: gain[layout])
    if best.half and gain[best] >= _WORTH_HALF * gain[exact]:
        return best
    return exact if gain[exact] >= _WORTH else PLAIN


def _each(model: nn.Module, x: Tensor) -> float:
    """Measure the seconds per image, forward and backward, in a batch of a few."""
    few = x[: _AGREED[0]]
    return max(_seconds(model, few) / len(few), 1e-9)


def _affordable(each: float, formats: int, seconds: float, least: int, most: int) -> int:
    """Return how many images a round of `formats` can time, if the rounds are to fit into `seconds`."""
    return min(most, max(least, int(seconds / (_ROUNDS * formats * each))))


def _trusted(model: nn.Module, x: Tensor) -> dict[Format, nn.Module]:
    """Return the network in every format that gives its answers and gradients."""
    logits, grad = _answer(model, x)
    top = logits.topk(2, dim=1).values
    typical = float((top[:, 0] - top[:, 1]).median())
    largest = max(float(logits.abs().max()), 1.0)
    found, hopeless = {PLAIN: model}, False
    for layout in FORMATS[1:]:
        if layout.half and hopeless:
            continue
        try:
            other = converted(model, layout, x[:2])
            hopeless = layout.half and _emulated(other, model, x)
            if hopeless:
                continue
            answers, slope = _answer(other, x)
        except Exception:  # noqa: BLE001, S112  (a network may refuse a format; it then runs as it is)
            continue
        apart = (answers - logits).abs().amax(1)
        close = apart.median() <= _HALF * typical if layout.half else apart.max() <= _ROUNDING * largest
        parallel = float(torch.cosine_similarity(grad, slope, dim=1).median())
        # A cosine of zeros is 0; two zero gradients agree all the same.
        still = bool((grad == 0).all() and (slope == 0).all())
        if bool(close) and (still or parallel >= _PARALLEL[layout.half]):
            found[layout] = other
    return found


def _emulated(other: nn.Module, model: nn.Module, x: Tensor) -> bool:
    """Return whether the processor only emulates a format.

    One image shows that for a large network, several for a small one. Either must be slow twice: on a busy machine
    a single time may be any number.
    """

    def slow(some: Tensor) -> bool:
        return _seconds(other, some) > _EMULATED * _seconds(model, some)

    return any(slow(some) and slow(some) for some in (x[:1], x))


def _seconds(model: nn.Module, x: Tensor) -> float:
    """Measure the second call of a network: the first sets up its kernels."""
    _answer(model, x)
    return _once(model, x)


def _once(model: nn.Module, x: Tensor) -> float:
    """Measure one call; on a CPU the time of this process alone, which other processes disturb less."""
    if not x.is_cuda:
        began = time.process_time()
        _answer(model, x)
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    _answer(model, x)
    torch.cuda.synchronize()
    return time.perf_counter() - began


def _answer(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits, and the gradient of each image's largest logit `[B, pixels]`, from the same random numbers."""
    seed_everything("format")
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        (grad,) = torch.autograd.grad(logits.amax(1).sum(), x)
    return logits.detach().float(), grad.flatten(1)


def _timed(networks: Mapping[Format, nn.Module], x: Tensor, until: float) -> dict[Format, float]:
    """Return how many times faster than the plain format each is in three rounds of four: a forward and a backward.

    Within a round the formats follow each other, so whatever slows the machine down slows all of them. The
    batch is as large as time allows: in small ones overhead hides the gain of a format.
    """
    took: dict[Format, list[float]] = {layout: [] for layout in networks}
    open_, rounds = list(networks), 0
    while rounds < _ROUNDS or time.perf_counter() < until:
        for layout in open_:
            took[layout].append(_once(networks[layout], x))
        rounds += 1
        if rounds > 1:
            limit = _HOPELESS * median(took[PLAIN])
            open_ = [layout for layout in open_ if median(took[layout]) <= limit]
    return {layout: _mostly(took[PLAIN], times) for layout, times in took.items()}


def _mostly(plain: Sequence[float], times: Sequence[float]) -> float:
    """Return the lower quartile of the gains; a dropped format has fewer rounds than the plain one."""
    return quantiles([one / two for one, two in zip(plain, times, strict=False)], n=4, method="inclusive")[0]


# 12 calls of 4 images in 16 rows each, and the chance of calling independent rows dependent.
_IMAGES, _ROWS, _CALLS = 4, 16, 12
_UNLIKELY = 1e-6


@torch.no_grad()
def draws_per_row(model: nn.Module, x: Tensor) -> bool:
    """Return whether a stochastic network draws its random numbers for each row of a batch independently.

    Then many draws of one image can share a forward. A network that draws one mask per call gives equal
    rows equal answers, which change from call to call; for one that does both, answers vary more between
    calls than the variance of rows within a call explains. So this is an analysis of variance: for
    independent rows the ratio of the two variances follows an F distribution.
    """
    from scipy.stats import f

    image = x[:_IMAGES]
    count = len(image)
    answers = []
    for call in range(_CALLS):
        seed_everything("draws per row", call)
        answers.append(model(image.repeat(_ROWS, 1, 1, 1)).double().unflatten(0, (_ROWS, count)))
    drawn = torch.stack(answers)  # [calls, rows, images, classes]
    within = drawn.var(dim=1).mean(0)
    between = _ROWS * drawn.mean(1).var(dim=0)
    if not bool(within.isfinite().all() and between.isfinite().all()):
        return False
    # A logit that moves by rounding alone is no evidence.
    moving = within + between > 1e-10 * drawn.square().mean(dim=(0, 1))
    if not bool(moving.any()):
        return False
    ratio = (between / within.clamp_min(1e-300))[moving]
    limit = f.isf(_UNLIKELY / ratio.numel(), _CALLS - 1, _CALLS * (_ROWS - 1))
    return bool((ratio <= limit).all())
