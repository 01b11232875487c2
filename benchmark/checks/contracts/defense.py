"""The contracts of defenses: what `bench test-plugin` holds somebody else's to, and our tests ours.

Most of them are the checks S01-S17 of `bench check`, told as promises; the others are what a run takes for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from bench.catalogue import behaviour
from bench.checks.contracts.contract import Broken, Contract, Held, Inapplicable, hold
from bench.checks.examination import ExaminedImages, examine
from bench.oracle.randomness import seed_everything
from bench.oracle.variants import declared, placed
from bench.results.finding import Finding
from bench.types import Defense

# Of the size of the logits: what no two layouts of one float32 network differ by.
_ROUNDING = 1e-3
_FEW = 8
# Where a module keeps what moves along.
_KNOWN = ("_parameters", "_buffers", "_modules")


@dataclass(frozen=True)
class DefenseTrial:
    """A defense under test.

    Attributes:
        make: builds it.
        images: what it is asked about.
        eps: the size of noise in Linf it is examined with.
        device: where it runs.
        declared: whether it was said to be stochastic; `None` where that is found out, as of a bare module.
    """

    make: Callable[[], Defense]
    images: ExaminedImages
    eps: float
    device: str = "cpu"
    declared: bool | None = None

    @cached_property
    def defense(self) -> Defense:
        return self.make()

    @cached_property
    def findings(self) -> Mapping[str, Finding]:
        """S01-S17, by id."""
        return {finding.id: finding for finding in examine(self.defense, self.images, self.eps, self.device)}

    @property
    def x(self) -> Tensor:
        """A few images `[m, C, H, W]` on the device."""
        return torch.from_numpy(self.images.examples.x[:_FEW]).to(self.device)

    def ask(self, module: nn.Module, x: Tensor) -> Tensor:
        """Its answer under a fixed seed, without a gradient."""
        seed_everything("contract")
        with torch.no_grad():
            answer: Tensor = module(x.clone())
        return answer


def _found(*ids: str) -> Callable[[DefenseTrial], str]:
    """The contract that these checks pass."""

    def check(subject: DefenseTrial) -> str:
        findings = [subject.findings[id_] for id_ in ids]
        alarming = [finding.message for finding in findings if finding.alarming]
        if alarming:
            raise Broken("; ".join(alarming))
        if all(finding.idle for finding in findings):
            raise Inapplicable("; ".join(finding.message for finding in findings))
        return "; ".join(finding.message for finding in findings if not finding.idle)

    return check


def declares_randomness(subject: DefenseTrial) -> str:
    """A record says whether it is stochastic, a bare module is asked; either way the seeds decide the draws."""
    seen = _found("S03")(subject)
    if subject.declared is None:
        return f"{seen} (found out: a module declares nothing)"
    if not subject.declared and subject.defense.stochastic:
        raise Broken("S03: its answers change with the seed, and it is declared deterministic")
    return seen


def loads_alike(subject: DefenseTrial) -> str:
    """Built twice, it answers the same: workers of a run build it anew, and compare."""
    first, second = subject.defense, subject.make()
    if first is second:
        raise Inapplicable("it is loaded once per process")
    spec = subject.images.examples.spec
    for defense in (first, second):
        placed(defense, "cpu")
    if not behaviour.same(behaviour.of_defense(first, spec), behaviour.of_defense(second, spec)):
        raise Broken("built twice, it gives two sets of answers")
    return "built twice, the same answers"


def moves(subject: DefenseTrial) -> str:
    """Everything it computes with moves along with `model.to(device)`."""
    placed(subject.defense, subject.device)
    left = sorted({name for part in declared(subject.defense) for name in _left_behind(part)})
    if left:
        raise Broken(f"{', '.join(left[:3])} would stay where it is when the model is moved")
    subject.ask(subject.defense.model, subject.x)
    return f"parameters and buffers alone hold its tensors; it answers on {subject.device}"


def _left_behind(model: nn.Module) -> Iterator[str]:
    """Tensors and modules that hang on a module without being known to it."""
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key in _KNOWN or "_hooks" in key:
                continue
            items: Iterable[object] = value.values() if isinstance(value, dict) else [value]
            flat = [each for item in items for each in (item if isinstance(item, list | tuple) else [item])]
            if any(isinstance(each, nn.Module) or _is_numeric(each) for each in flat):
                yield f"{name}.{key}".lstrip(".")


def _is_numeric(value: object) -> bool:
    # A tensor without dimensions counts as a number, which meets tensors of any device.
    return isinstance(value, Tensor) and value.ndim > 0


def parts_agree(subject: DefenseTrial) -> str:
    """With the same random numbers, `base` behind `purifier` answers as the model does."""
    defense = subject.defense
    if defense.purifier is None or defense.base is None:
        raise Inapplicable("it declares no purifier with a base")
    placed(defense, subject.device)
    whole = subject.ask(defense.model, subject.x)
    apart = subject.ask(nn.Sequential(defense.purifier, defense.base), subject.x)
    change = float((whole - apart).abs().max() / whole.abs().max().clamp_min(1e-12))
    if not change <= _ROUNDING:
        raise Broken(f"base(purifier(x)) differs from model(x) by {change:.2g} of its largest logit")
    return "base(purifier(x)) is model(x)"


CONTRACTS: tuple[Contract[DefenseTrial], ...] = (
    Contract(
        "logits",
        "maps images to finite logits, a column per class",
        _found("S02", "S01"),
        "return float logits [B, classes], one row per image",
    ),
    Contract(
        "randomness",
        "is as random as it says, by the seeds",
        declares_randomness,
        "say Defense(..., stochastic=True); draw from the generators of torch, numpy or random, for each row anew",
    ),
    Contract(
        "batches",
        "same answer whatever shares the batch",
        _found("S04"),
        "let no statistic of the batch into an answer: batch norm in eval mode, no mean over dim 0",
    ),
    Contract(
        "history",
        "same answer whatever was asked before",
        _found("S05", "S06"),
        "keep no state between calls, and do not look at whether a gradient is being recorded",
    ),
    Contract(
        "eval-mode",
        "model.eval() reaches every layer, and no query changes a weight",
        _found("S07"),
        "register every layer as a submodule, override neither train() nor eval(), and update nothing in forward",
    ),
    Contract(
        "input", "leaves its input as it is", _found("S08"), "work on x.clone(), without in-place operations on x"
    ),
    Contract(
        "gradient",
        "a gradient reaches the input, and is true",
        _found("S09", "S10", "S11"),
        "stay in torch without detach(), rounding or .item(); else declare a surrogate (BPDA), see docs/soundness.md",
    ),
    Contract(
        "scores",
        "answers with logits, before any softmax or rounding",
        _found("S12", "S13"),
        "return the last layer as it is",
    ),
    Contract(
        "images",
        "takes images in [0, 1]",
        _found("S14"),
        "put normalization, or the factor 255, inside its forward",
    ),
    Contract(
        "loads-alike",
        "answers the same when it is built again",
        loads_alike,
        "load fixed weights; where some are drawn, seed them: torch.Generator().manual_seed(0)",
    ),
    Contract(
        "moves",
        "moves to another device as a whole",
        moves,
        "register tensors with register_buffer, modules as attributes or in an nn.ModuleList",
    ),
    Contract(
        "parts",
        "its purifier and base are those of the model",
        parts_agree,
        "purifier takes images in [0, 1] and gives what base takes, with the same random numbers as model",
    ),
)


def held(subject: DefenseTrial) -> Iterator[Held]:
    """What comes of each contract, as soon as it is known."""
    for contract in CONTRACTS:
        yield hold(contract, subject)
