"""The faults F1-F14: mistakes made in evaluating a purifier, one record each.

They were found in the released evaluation of AToP (Lin et al., ICLR 2024, arXiv:2401.16352) and in the
public review of that paper; none of them is peculiar to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.checks.published.claim import ClaimedProtocol
from bench.checks.published.logic import Truth, both, either, negated
from bench.checks.published.protocol import GLOBAL_GENERATORS, Effect

State = Literal["applies", "does not apply", "cannot be told"]


@dataclass(frozen=True)
class Fault:
    """One mistake.

    Attributes:
        id: `F1`...; never changes.
        title: the mistake in a sentence.
        does: its effect on the number.
        effect: the direction of that effect, where there is one.
        fields: the keys of the protocol that decide about it.
        found: returns whether a protocol has it; None where the protocol does not say.
    """

    id: str
    title: str
    does: str
    effect: Effect
    fields: tuple[str, ...]
    found: Callable[[ClaimedProtocol], Truth]

    def state(self, protocol: ClaimedProtocol) -> State:
        found = self.found(protocol)
        return "cannot be told" if found is None else "applies" if found else "does not apply"

    def missing(self, protocol: ClaimedProtocol) -> tuple[str, ...]:
        """Return the keys that are not stated and would decide about it."""
        # Only AutoAttack has versions.
        matter = [name for name in self.fields if name != "version" or protocol.autoattack is not False]
        return tuple(name for name in matter if getattr(protocol, name) is None)


def _is(value: str | int | None, wanted: str | int) -> Truth:
    return None if value is None else value == wanted


def _through_the_randomness(protocol: ClaimedProtocol) -> Truth:
    return None if protocol.gradient is None else protocol.gradient in ("full", "bpda")


def _single_draw_per_gradient(protocol: ClaimedProtocol) -> Truth:
    eot = protocol.effective_eot
    return both(protocol.stochastic, _through_the_randomness(protocol), None if eot is None else eot < 2)


def _wrong_autoattack(protocol: ClaimedProtocol) -> Truth:
    return both(protocol.stochastic, protocol.autoattack, negated(_is(protocol.version, "rand")))


# EOT of a transfer attack averages over draws that its gradient never passes through.
def _idle_eot(protocol: ClaimedProtocol) -> Truth:
    eot = protocol.effective_eot
    nothing_random = either(negated(protocol.stochastic), _is(protocol.gradient, "skipped"))
    return both(None if eot is None else eot > 1, nothing_random)


def _unseeded(protocol: ClaimedProtocol) -> Truth:
    return None if protocol.seeded is None else not set(GLOBAL_GENERATORS) <= set(protocol.seeded)


# Titles and effects are printed, so they are plain sentences. `overstates` stands only where the direction is sure.
FAULTS: tuple[Fault, ...] = (
    Fault(
        "F1",
        "the random transform did not act on every example",
        "some examples were judged on another defense than the one named",
        "unknown",
        ("stochastic", "transform_on_every_example"),
        lambda p: both(p.stochastic, negated(p.transform_on_every_example)),
    ),
    Fault(
        "F2",
        "the purifier evaluated is not the one trained: another input range or other weights",
        "the number belongs to a defense that nobody proposed",
        "unknown",
        ("purifier", "purifier_range_matches", "checkpoint_verified"),
        lambda p: either(both(p.purifier, negated(p.purifier_range_matches)), negated(p.checkpoint_verified)),
    ),
    Fault(
        "F3",
        "the attack is weaker than its name: AutoAttack not rand, no EOT against randomness, or fewer steps",
        "gradients of single draws and short runs leave examples robust that the full attack breaks",
        "overstates",
        ("stochastic", "attack", "version", "gradient", "eot", "reduced"),
        lambda p: either(p.reduced, _wrong_autoattack(p), _single_draw_per_gradient(p)),
    ),
    Fault(
        "F4",
        "robust accuracy is under a transfer attack: the adversarial examples fool the classifier alone",
        "the purifier was never attacked: 81 % of AToP became 64 % where it was, with more steps",
        "overstates",
        ("gradient",),
        lambda p: _is(p.gradient, "skipped"),
    ),
    Fault(
        "F5",
        "the classifier is fed another input range than it was trained on",
        "training and evaluation disagree on what the classifier sees",
        "unknown",
        ("classifier_range_matches",),
        lambda p: negated(p.classifier_range_matches),
    ),
    Fault(
        "F6",
        "EOT where nothing is random: a deterministic defense, or the classifier alone",
        "the number is plain PGD's under a stronger name",
        "overstates",
        ("eot", "stochastic", "gradient"),
        _idle_eot,
    ),
    Fault(
        "F7",
        "the subset is drawn anew for every number",
        "numbers are not about the same examples: differences hold the noise of two samples",
        "unknown",
        ("subset",),
        lambda p: _is(p.subset, "shuffled"),
    ),
    Fault(
        "F8",
        "one draw decides: shared by a batch, or a single forward as the verdict",
        "an adversary may try again, and examples that share a draw are no independent evidence",
        "overstates",
        ("stochastic", "shared_randomness", "draws"),
        lambda p: both(p.stochastic, either(p.shared_randomness, _is(p.draws, 1))),
    ),
    Fault(
        "F9",
        "the attack changes images of another resolution than the dataset's",
        "another threat model: under Linf more pixels favor the attacker, L2 radii cannot be compared",
        "unknown",
        ("attacked_resolution", "dataset_resolution"),
        lambda p: negated(p.native_resolution),
    ),
    Fault(
        "F10",
        "the number carries the name of another attack than the one that ran",
        "it stands in the wrong column",
        "unknown",
        ("name_matches_code",),
        lambda p: negated(p.name_matches_code),
    ),
    Fault(
        "F11",
        "a generator that the defense draws from is not seeded",
        "the number cannot be repeated: seeding torch leaves masks from numpy free",
        "unknown",
        ("stochastic", "seeded"),
        lambda p: both(p.stochastic, _unseeded(p)),
    ),
    Fault(
        "F12",
        "the released code cannot run",
        "the number cannot be checked",
        "unknown",
        ("code_runs",),
        lambda p: negated(p.code_runs),
    ),
    Fault(
        "F13",
        "a file that the evaluation imports is not released",
        "the number cannot be checked",
        "unknown",
        ("code_complete",),
        lambda p: negated(p.code_complete),
    ),
    Fault(
        "F14",
        "no outputs of the evaluation are released",
        "nothing shows that the number came from this code",
        "unknown",
        ("outputs_released",),
        lambda p: negated(p.outputs_released),
    ),
)
