"""Which format a defense is attacked in: timed on this machine, and held against its own answers.

What is fastest depends on the network, the batch and the processor (channels last is a loss for some
networks, bfloat16 on processors without it), so it is measured, in about a second or what a thousand passes take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles

import torch
from torch import Tensor, nn

from bench.cell import DefenseRef
from bench.conversion import converted
from bench.datasets.examples import Examples
from bench.executors.task import load_defense
from bench.float32 import exact_float32
from bench.formats import FORMATS, PLAIN, Format, Plan
from bench.seeding import preserved_generators, seed_everything
from bench.types import Defense

# Anything below is not worth other roundings, nor told from noise in a second.
_WORTH = 1.1
# And bfloat16 moves numbers as another seed would, so it has to be worth a third more than the best of float32.
_WORTH_HALF = 4 / 3
# What takes this many times as long as the network as given is not timed on, after two rounds.
_HOPELESS = 1.5
# Logits may differ by this in float32, relative to the largest; 20 times what folded norms were seen to do.
_ROUNDING = 1e-4
# And in bfloat16 by this share of the typical distance between the two largest logits, in the typical image: the
# largest difference of a few images is three times that, and the typical distance varies with the images as much.
_HALF = 0.1
# The cosine between an image's gradients, at the median; those of bfloat16 were seen at .99.
_PARALLEL = {False: 0.999, True: 0.9}
# Images whose answers must agree, at least and at most, and those that are timed. Sixteen of a network too large for
# its second are 0.4 % of the least run that is planned for.
_AGREED = (4, 16)
_TIMED = (16, 64)
# The least rounds: two say little beside other processes.
_ROUNDS = 4
# A processor without bfloat16 takes 20 times as long for it; where calls are all overhead, a few times.
_EMULATED = 3
# Rows of one forward that hold several draws. On a CPU more was slower.
_ROWS_AT_ONCE = {"cpu": 160, "cuda": 2048}


def plan(defense: Defense, x: Tensor, *, seconds: float = 1.0) -> Plan:
    """Choose the format of a defense.

    Args:
        defense: in eval mode, on the device of `x`.
        x: some images `[B, C, H, W]`, as many as an attack will ask about at once.
        seconds: how long it may take; a large network takes longer, and a third of it always goes into timing.
    """
    until = time.perf_counter() + seconds
    with preserved_generators(), exact_float32():
        rows = _rows(defense, x)
        each = _each(defense.model, x)
        networks = _trusted(defense.model, x[: _affordable(each, len(FORMATS), seconds, *_AGREED)])
        until = max(until, time.perf_counter() + seconds / 3)
        count = _affordable(each, len(networks), until - time.perf_counter(), *_TIMED)
        gain = _timed(networks, x[:count], until)
    return Plan(
        _fastest(gain),
        _fastest({layout: value for layout, value in gain.items() if not layout.half}),
        rows,
        {str(layout): value for layout, value in gain.items()},
    )


def settle(ref: DefenseRef, examples: Examples, device: str, threads: int, precision: str) -> Plan:
    """The plan of a defense for a run; of one that cannot be asked, the plain one: others say what is wrong with it.

    Args:
        ref: the defense.
        examples: the images of the run.
        device: where the run computes.
        threads: of each of its processes.
        precision: `"float32"`, where nothing but the draws of a query that share a forward is to be found out, or
            `"auto"`.
    """
    try:
        defense = load_defense(ref, examples.spec)
        defense.model.to(device).eval()
        x = torch.from_numpy(examples.x[: _TIMED[1]]).to(device)
        if precision == "auto":
            return _with_threads(threads, lambda: plan(defense, x))
        return Plan(rows_at_once=_rows(defense, x))
    except Exception:  # noqa: BLE001  (preflight and the attacks say it, and say it better)
        return Plan()


def _rows(defense: Defense, x: Tensor) -> int:
    """Rows of one forward that may hold several draws: the same for every defense that bears it, on every machine."""
    with preserved_generators(), exact_float32():
        together = defense.stochastic and draws_per_row(defense.model, x)
    return _ROWS_AT_ONCE.get(x.device.type, 1) if together else 1


def _with_threads(threads: int, work: Callable[[], Plan]) -> Plan:
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
    """Seconds for an image, forward and backward, as one of a few."""
    few = x[: _AGREED[0]]
    return max(_seconds(model, few) / len(few), 1e-9)


def _affordable(each: float, formats: int, seconds: float, least: int, most: int) -> int:
    """How many images a round of so many formats can take and be repeated a few times."""
    return min(most, max(least, int(seconds / (_ROUNDS * formats * each))))


def _trusted(model: nn.Module, x: Tensor) -> dict[Format, nn.Module]:
    """The network in every format that gives its answers and its gradients."""
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
        except Exception:  # noqa: BLE001, S112  (why it refuses is its author's business; it is run as it is)
            continue
        apart = (answers - logits).abs().amax(1)
        close = apart.median() <= _HALF * typical if layout.half else apart.max() <= _ROUNDING * largest
        parallel = float(torch.cosine_similarity(grad, slope, dim=1).median())
        still = bool((grad == 0).all() and (slope == 0).all())
        if bool(close) and (still or parallel >= _PARALLEL[layout.half]):
            found[layout] = other
    return found


def _emulated(other: nn.Module, model: nn.Module, x: Tensor) -> bool:
    """Whether the processor only imitates a format: one image tells for a large network, several for a small one.

    It takes two looks: on a busy machine a single time may be any number.
    """

    def slow(some: Tensor) -> bool:
        return _seconds(other, some) > _EMULATED * _seconds(model, some)

    return any(slow(some) and slow(some) for some in (x[:1], x))


def _seconds(model: nn.Module, x: Tensor) -> float:
    """How long a second call takes: the first sets up its kernels."""
    _answer(model, x)
    return _once(model, x)


def _once(model: nn.Module, x: Tensor) -> float:
    """Of this process alone on a CPU, so that others on the machine tell less."""
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
    """Logits, and the gradient of the largest per image as `[B, pixels]`; with the same random numbers each time."""
    seed_everything("format")
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        (grad,) = torch.autograd.grad(logits.amax(1).sum(), x)
    return logits.detach().float(), grad.flatten(1)


def _timed(networks: Mapping[Format, nn.Module], x: Tensor, until: float) -> dict[Format, float]:
    """How many times faster than the plain format each is in three rounds of four: a forward and a backward.

    Within a round they follow each other, so what slows the machine down for a while slows them all. The
    batch is as large as time allows: small ones hide what a format is worth.
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
    """The lower quartile of the gains; a format that was given up has fewer rounds than the plain one."""
    return quantiles([one / two for one, two in zip(plain, times, strict=False)], n=4, method="inclusive")[0]


_IMAGES, _ROWS, _CALLS = 4, 16, 12
_UNLIKELY = 1e-6


@torch.no_grad()
def draws_per_row(model: nn.Module, x: Tensor) -> bool:
    """Whether a stochastic network draws its random numbers for each row of a batch on its own.

    Then many draws of one image can share a forward. A network that draws one mask per call gives equal
    rows equal answers, while its answers change from call to call; one that does both has answers that
    vary more between calls than rows within a call account for. Analysis of variance tells: under
    independence the ratio of the two variances follows an F distribution.
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
    # Rounding aside, a logit that never moves says nothing.
    moving = within + between > 1e-10 * drawn.square().mean(dim=(0, 1))
    if not bool(moving.any()):
        return False
    ratio = (between / within.clamp_min(1e-300))[moving]
    limit = f.isf(_UNLIKELY / ratio.numel(), _CALLS - 1, _CALLS * (_ROWS - 1))
    return bool((ratio <= limit).all())
