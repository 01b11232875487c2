"""What an attack is to the harness: the call that every one answers, and what it may say of itself beside it.

This is all that a plug-in may provide, and the only place that looks for it: `traits_of` reads the attributes, each of
which may be left out, `proves` and `cost_of` find the two methods. Importing it does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard, get_args

from bench.threats import FAMILIES, LP_FAMILIES, ThreatModel

if TYPE_CHECKING:
    from torch import Tensor

    from bench.oracle.oracle import Oracle
    from bench.oracle.randomness import Stream

Access = Literal["gradient", "score", "decision"]
Precision = Literal["any", "float32", "as given"]
# The kinds of defense that an attack may decline.
_KINDS = ("deterministic", "stochastic")


class Attack(Protocol):
    """A frozen dataclass of hyper-parameters that proposes `x_adv` and never judges itself."""

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        """Propose adversarial examples.

        Args:
            oracle: the only way to query the defense; row i of `x` is row i of the oracle.
            x: images, float32 `[B, C, H, W]` in [0, 1]; left untouched.
            y: labels, int64 `[B]`.
            threat: the ball to stay in.
            stream: per-example random numbers; a pure function of the example, never of the batch.

        Returns:
            `x_adv`, float32, of the shape of `x`, in [0, 1] and within `threat`.
        """
        ...


class Proving(Attack, Protocol):
    """An attack outside the Lp balls, where no distance between images says whether it kept to its threat model.

    Without these two methods its cells under such a threat fail (V07). `bench.attacks.unforeseen.rendered.Rendered`
    has both.
    """

    def propose(
        self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream
    ) -> tuple[Tensor, Any]:
        """As the call, with a proof: whatever `violations` has to know, such as the variables behind `x_adv`."""
        ...

    def violations(self, x: Tensor, x_adv: Tensor, proof: Any, threat: ThreatModel) -> Sequence[str]:  # noqa: ANN401
        """What is wrong with the proof, a line each; empty where `x_adv` is within `threat` of `x`."""
        ...


class Costed(Attack, Protocol):
    """An attack whose passes follow from its parameters.

    Without `cost` they are `Traits.forwards` and `Traits.backwards`; for a registered attack with other parameters
    than usual those of its entry, scaled by what counts them (`steps`, `n_restarts`, ...).
    """

    def cost(self) -> tuple[int, int]:
        """At most so many forwards and backwards per example and draw, for an example that never breaks."""
        ...


@dataclass(frozen=True)
class Traits:
    """What an attack says of itself: attributes of these names, of the class or of the instance.

    What is registered says the first six in its `bench.catalogue.registry.AttackEntry` instead.

    Attributes:
        families: the threat families it is defined for; the Lp norms by default. Under any other it is skipped.
        access: what it asks of a defense: `"gradient"` (the default), `"score"` (logits) or `"decision"` (labels). The
            oracle refuses whatever is beyond.
        forwards: upper bound of its forwards per example and draw, 0 where it does not say: then `bench run` cannot
            tell how long it takes. `cost` outranks it.
        backwards: the same for backwards.
        eot: draws per query where the defense is stochastic; so many times the passes are taken then. 1 by default.
        not_for: kinds of defense, `"deterministic"` or `"stochastic"`, that it is not defined for, each with the
            reason its cells are skipped with; none by default.
        measures: whether it looks for the nearest adversarial point whatever eps is; then the distances are stored, and
            `bench curve` reads accuracy at every smaller eps off them. `False` by default.
        precision: what its search bears: `"any"` faster format, those in `"float32"`, or none but the defense
            `"as given"`, for what walks along the boundary. What it calls broken is confirmed as given in any case.
            By default `"any"` with a gradient, else `"float32"`.
        exempt: why it need not break a linear classifier (V13, `bench.harness.ability`), such as `"random points have
            no aim"`; empty, the default, where it has to.
    """

    families: tuple[str, ...] = LP_FAMILIES
    access: Access = "gradient"
    forwards: int = 0
    backwards: int = 0
    eot: int = 1
    not_for: Mapping[str, str] = field(default_factory=dict)
    measures: bool = False
    precision: Precision | None = None
    exempt: str = ""

    def bears(self, access: str) -> Precision:
        """What its search bears where it has this access."""
        return self.precision or ("any" if access == "gradient" else "float32")

    @property
    def follows(self) -> bool:
        """Whether it goes on well without knowing at once what its last queries broke."""
        return self.precision in (None, "any")


def traits_of(attack: object) -> Traits:
    """What an attack says of itself; what it leaves out is as by default."""
    told = {each.name: getattr(attack, each.name) for each in fields(Traits) if hasattr(attack, each.name)}
    passes = cost_of(attack)
    if passes is not None:
        told |= {"forwards": passes[0], "backwards": passes[1]}
    if isinstance(told.get("families"), list | set | frozenset):
        told["families"] = tuple(told["families"])
    return Traits(**told)


def cost_of(attack: object) -> tuple[int, int] | None:
    """The forwards and backwards that an attack computes from its parameters; `None` where it does not."""
    told = getattr(attack, "cost", None)
    if not callable(told):
        return None
    forwards, backwards = told()
    return forwards, backwards


def proves(attack: object) -> TypeGuard[Proving]:
    """Whether an attack can show that its examples are within a threat model that is no Lp ball."""
    return callable(getattr(attack, "propose", None)) and callable(getattr(attack, "violations", None))


def misunderstood(traits: Traits) -> list[str]:
    """What an attack says of itself that nobody understands, with what it may say; empty where all is well."""
    faults = []
    families, not_for = (_believed_by_nobody(value) for value in (traits.families, traits.not_for))
    if not isinstance(families, tuple) or not families:
        faults.append(f"families={families!r} must be a tuple with a threat family, such as ('Linf', 'L2')")
    else:
        wrong = [name for name in families if name not in FAMILIES]
        faults += [f"families: {name!r} is none of {', '.join(FAMILIES)}" for name in wrong]
    for name, choices in (("access", get_args(Access)), ("precision", (None, *get_args(Precision)))):
        value = getattr(traits, name)
        if value not in choices:
            faults.append(f"{name}={value!r} must be one of {', '.join(map(str, filter(None, choices)))}")
    for name, least in (("forwards", 0), ("backwards", 0), ("eot", 1)):
        value = getattr(traits, name)
        if not isinstance(value, int) or value < least:
            faults.append(f"{name}={value!r} must be a whole number, {least} or more")
    if not isinstance(not_for, Mapping) or not set(not_for) <= set(_KINDS):
        faults.append(f"not_for={not_for!r} must be reasons by kind of defense: {{'stochastic': 'REASON'}}")
    return faults


def _believed_by_nobody(value: object) -> object:
    """A value as somebody else's code may have made it, whatever its annotation says."""
    return value
