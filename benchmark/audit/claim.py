"""A published robustness number, as far as its source states it.

Every field of a protocol may be missing: `None` is "not stated", which the audit reports as such.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from bench.audit.logic import Truth
from bench.types import ThreatModel

Gradient = Literal["full", "bpda", "skipped", "none"]
Version = Literal["standard", "rand", "plus"]
Judged = Literal["one-shot", "mean", "worst", "majority"]
Subset = Literal["fixed", "shuffled", "full"]
Loss = Literal["ce", "margin", "dlr", "several"]
Generator = Literal["torch", "numpy", "python", "attack"]
Companion = Literal["full", "bpda", "transfer", "black-box"]

# What AutoAttack's names stand for (Croce and Hein 2020, arXiv:2003.01690).
AUTOATTACK_STEPS, AUTOATTACK_RAND_EOT = 100, 20


def decimals(accuracy: Decimal) -> int:
    """How many digits were printed behind the point."""
    exponent = accuracy.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


@dataclass(frozen=True)
class ClaimedProtocol:
    """How the number was measured. A flag is true where all is well, but for `shared_randomness` and `reduced`.

    Attributes:
        source: where all of this is stated, if elsewhere than the number.
        stochastic: the defense is random: two forwards of one image may differ.
        purifier: the defense is a purifier in front of a classifier.
        attack: its name, as printed.
        version: of AutoAttack.
        reduced: the attack ran with less than its name stands for, such as AutoAttack with 10 steps.
        gradient: through what the attack differentiates. `full`: the whole defense; `bpda`: the purifier
            forward, the identity or a surrogate backward; `skipped`: the classifier alone, its
            adversarial examples transferred; `none`: no gradient is used.
        loss: what the attack ascends; `several` for a worst case over losses.
        steps: gradient steps.
        restarts: independent starts.
        eot: draws per gradient.
        union: what else the worst case per example includes, beside this attack.
        draws: evaluation draws per example.
        judged: how the draws make a number.
        clean_twin: standard accuracy is judged from as many draws by the same rule.
        attacked_resolution: side in pixels of the images that the attack changes.
        dataset_resolution: side in pixels of the dataset's own images.
        subset: whether every number is about the same images.
        seeded: generators whose seed is set; `attack` for the attack's own seed.
        shared_randomness: one random draw serves a whole batch.
        interval: the source prints an interval.
        transform_on_every_example: the random transform acted on every example that was judged.
        purifier_range_matches: the purifier is fed the input range it was trained on.
        classifier_range_matches: the classifier is fed the input range it was trained on.
        checkpoint_verified: the weights evaluated are those the number is printed for.
        name_matches_code: the attack that ran is the one that the number carries.
        code_complete: every file the evaluation imports is released.
        code_runs: the released code runs as it is.
        outputs_released: outputs of the evaluation are released, so that the number can be traced to it.
    """

    source: str | None = None
    stochastic: bool | None = None
    purifier: bool | None = None
    attack: str | None = None
    version: Version | None = None
    reduced: bool | None = None
    gradient: Gradient | None = None
    loss: Loss | None = None
    steps: int | None = None
    restarts: int | None = None
    eot: int | None = None
    union: tuple[Companion, ...] | None = None
    draws: int | None = None
    judged: Judged | None = None
    clean_twin: bool | None = None
    attacked_resolution: int | None = None
    dataset_resolution: int | None = None
    subset: Subset | None = None
    seeded: tuple[Generator, ...] | None = None
    shared_randomness: bool | None = None
    interval: bool | None = None
    transform_on_every_example: bool | None = None
    purifier_range_matches: bool | None = None
    classifier_range_matches: bool | None = None
    checkpoint_verified: bool | None = None
    name_matches_code: bool | None = None
    code_complete: bool | None = None
    code_runs: bool | None = None
    outputs_released: bool | None = None

    @property
    def autoattack(self) -> Truth:
        """Whether the attack is AutoAttack, under one of the names it goes by."""
        return None if self.attack is None else is_autoattack(self.attack)

    @property
    def effective_steps(self) -> int | None:
        """As stated, else as the name AutoAttack promises where it was not reduced."""
        if self.steps is None and self.autoattack and self.reduced is False:
            return AUTOATTACK_STEPS
        return self.steps

    @property
    def effective_eot(self) -> int | None:
        """As stated, else as the version of AutoAttack has it."""
        if self.eot is None and self.autoattack:
            if self.version in ("standard", "plus"):
                return 1
            if self.version == "rand" and self.reduced is False:
                return AUTOATTACK_RAND_EOT
        return self.eot

    @property
    def effective_judged(self) -> Judged | None:
        """As stated; a single draw leaves no choice."""
        return "one-shot" if self.judged is None and self.draws == 1 else self.judged

    @property
    def native_resolution(self) -> Truth:
        """Whether the attack changes images of the dataset's own size."""
        if self.attacked_resolution is None or self.dataset_resolution is None:
            return None
        return self.attacked_resolution == self.dataset_resolution


def is_autoattack(name: str) -> bool:
    """`AutoAttack`, `Auto-Attack (rand)`, `AA`."""
    return re.match(r"auto[ _-]?attack|aa\b", name.strip(), re.IGNORECASE) is not None


@dataclass(frozen=True)
class Comparison:
    """Another number the claim is held against.

    Attributes:
        robust: robust accuracy in percent, with the decimals that were printed.
        title: what it is the number of.
        n: examples behind it; the claim's own where not stated.
        same_protocol: nothing but the defense differs.
    """

    robust: Decimal
    title: str = ""
    n: int | None = None
    same_protocol: bool = True


@dataclass(frozen=True)
class ClassifierAlone:
    """The classifier behind the purifier, without it.

    Attributes:
        standard: its standard accuracy in percent, with the decimals that were printed.
        title: where it was printed, or what it is.
        n: examples behind it; those of the claim's standard accuracy where not stated.
        frozen: the very same weights are behind the purifier.
    """

    standard: Decimal
    title: str = ""
    n: int | None = None
    frozen: bool = True


@dataclass(frozen=True)
class AttackNumber:
    """One of several attacks' numbers for the same defense and threat model.

    Attributes:
        attack: its name, as printed.
        robust: robust accuracy in percent, with the decimals that were printed.
        gradient: as in the protocol; the protocol's own where not stated.
    """

    attack: str
    robust: Decimal
    gradient: Gradient | None = None


@dataclass(frozen=True)
class Claim:
    """A published number.

    Attributes:
        title: what it is the number of.
        robust: robust accuracy in percent, with the decimals that were printed.
        source: where it was printed.
        dataset: its name.
        threat: what the adversary may do.
        standard: standard accuracy in percent, with the decimals that were printed.
        n: examples behind the robust accuracy.
        standard_n: examples behind the standard accuracy, where they are others.
        runs: how many independent runs the number is the mean of.
        protocol: how it was measured.
        comparison: another number it is held against.
        classifier: the classifier behind the purifier, without it.
        numbers: several attacks' numbers for the same defense.
    """

    title: str
    robust: Decimal
    source: str | None = None
    dataset: str | None = None
    threat: ThreatModel | None = None
    standard: Decimal | None = None
    n: int | None = None
    standard_n: int | None = None
    runs: int = 1
    protocol: ClaimedProtocol = field(default_factory=ClaimedProtocol)
    comparison: Comparison | None = None
    classifier: ClassifierAlone | None = None
    numbers: tuple[AttackNumber, ...] = ()

    @property
    def draws_averaged(self) -> int:
        """How many verdicts per example the robust accuracy is a mean of."""
        by_draws = self.protocol.draws if self.protocol.judged == "mean" else None
        return self.runs * (by_draws or 1)

    @property
    def standard_draws_averaged(self) -> int:
        """The same for the standard accuracy: one draw where it has no clean twin."""
        return self.runs if self.protocol.clean_twin is False else self.draws_averaged

    @property
    def standard_examples(self) -> int | None:
        """Examples behind the standard accuracy."""
        return self.n if self.standard_n is None else self.standard_n

    @property
    def same_examples(self) -> bool:
        """Whether standard and robust accuracy are about the same examples, as far as is stated."""
        return self.standard_n is None or self.standard_n == self.n
