"""A published robustness number, with as much of its protocol as the source states.

Every field of a protocol may be missing: `None` means "not stated", and the audit reports it as such.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from bench.checks.published.logic import Truth
from bench.threats import ThreatModel

Gradient = Literal["full", "bpda", "skipped", "none"]
Version = Literal["standard", "rand", "plus"]
Judged = Literal["one-shot", "mean", "worst", "majority"]
Subset = Literal["fixed", "shuffled", "full"]
Loss = Literal["ce", "margin", "dlr", "several"]
Generator = Literal["torch", "numpy", "python", "attack"]
Companion = Literal["full", "bpda", "transfer", "black-box"]

# The settings that AutoAttack's names stand for (Croce and Hein 2020, arXiv:2003.01690).
AUTOATTACK_STEPS, AUTOATTACK_RAND_EOT = 100, 20


@dataclass(frozen=True)
class ClaimedProtocol:
    """The protocol of a number. A flag is true where all is well, except `shared_randomness` and `reduced`.

    Attributes:
        source: where the protocol is stated, if not where the number is.
        stochastic: the defense is random: two forwards of one image may differ.
        purifier: the defense is a purifier in front of a classifier.
        attack: its name, as printed.
        version: the version of AutoAttack.
        reduced: the attack ran with less than its name stands for, such as AutoAttack with 10 steps.
        gradient: the model that the attack differentiates. `full`: the whole defense; `bpda`: the purifier
            forward, the identity or a surrogate backward; `skipped`: the classifier alone, its
            adversarial examples transferred; `none`: no gradient is used.
        loss: the loss that the attack ascends; `several` for a worst case over losses.
        steps: gradient steps.
        restarts: independent starts.
        eot: draws per gradient.
        union: the other attacks that the worst case per example includes.
        draws: evaluation draws per example.
        judged: the rule by which the draws give a verdict.
        clean_twin: standard accuracy is judged from as many draws by the same rule.
        attacked_resolution: side in pixels of the images that the attack changes.
        dataset_resolution: side in pixels of the dataset's own images.
        subset: whether every number is on the same images.
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
        """Return whether the attack is AutoAttack, under any of its names."""
        return None if self.attack is None else is_autoattack(self.attack)

    @property
    def effective_steps(self) -> int | None:
        """Return the steps as stated, else those of an AutoAttack that was not reduced."""
        if self.steps is None and self.autoattack and self.reduced is False:
            return AUTOATTACK_STEPS
        return self.steps

    @property
    def effective_eot(self) -> int | None:
        """Return the EOT as stated, else that of the version of AutoAttack."""
        if self.eot is None and self.autoattack:
            if self.version in ("standard", "plus"):
                return 1
            # Unless it is said that nothing was reduced, a reduced EOT cannot be excluded.
            if self.version == "rand" and self.reduced is False:
                return AUTOATTACK_RAND_EOT
        return self.eot

    @property
    def effective_judged(self) -> Judged | None:
        """Return the rule as stated; a single draw is always one-shot."""
        return "one-shot" if self.judged is None and self.draws == 1 else self.judged

    @property
    def native_resolution(self) -> Truth:
        """Return whether the attack changes images of the dataset's own size."""
        if self.attacked_resolution is None or self.dataset_resolution is None:
            return None
        return self.attacked_resolution == self.dataset_resolution


def is_autoattack(name: str) -> bool:
    """Return whether a name is one of AutoAttack: `AutoAttack`, `Auto-Attack (rand)`, `AA`."""
    return re.match(r"auto[ _-]?attack|aa\b", name.strip(), re.IGNORECASE) is not None


@dataclass(frozen=True)
class PublishedComparison:
    """Another number with which the claim is compared.

    Attributes:
        robust: robust accuracy in percent, with the decimals that were printed.
        title: the defense or paper of that number.
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
        title: its name, or where it was printed.
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
class PublishedClaim:
    """A published number.

    Attributes:
        title: the defense and evaluation of the number.
        robust: robust accuracy in percent, with the decimals that were printed.
        source: where it was printed.
        dataset: the name of the dataset.
        threat: the threat model.
        standard: standard accuracy in percent, with the decimals that were printed.
        n: examples behind the robust accuracy.
        standard_n: examples behind the standard accuracy, where they are others.
        runs: the number of independent runs of which the number is the mean.
        protocol: how it was measured.
        comparison: another number with which it is compared.
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
    comparison: PublishedComparison | None = None
    classifier: ClassifierAlone | None = None
    numbers: tuple[AttackNumber, ...] = ()

    @property
    def draws_averaged(self) -> int:
        """Return how many verdicts per example the robust accuracy averages."""
        # Worst-of-N and majority give one verdict per example, whatever N is.
        by_draws = self.protocol.draws if self.protocol.judged == "mean" else None
        return self.runs * (by_draws or 1)

    @property
    def standard_draws_averaged(self) -> int:
        """Return how many verdicts per example the standard accuracy averages: one draw without a clean twin."""
        return self.runs if self.protocol.clean_twin is False else self.draws_averaged

    @property
    def standard_examples(self) -> int | None:
        """Return the number of examples behind the standard accuracy."""
        return self.n if self.standard_n is None else self.standard_n

    @property
    def same_examples(self) -> bool:
        """Return whether standard and robust accuracy are on the same examples, as far as is stated."""
        return self.standard_n is None or self.standard_n == self.n
