"""The reference protocol, one record per field, and the fields in which a claim falls short of it.

A stochastic purifier under an Lp threat is attacked through its full gradient with EOT (Athalye et al.
2018, arXiv:1802.00420; Lee and Kim 2023, arXiv:2303.09051) and judged from several draws; a
deterministic defense is attacked with AutoAttack (Croce and Hein 2020, arXiv:2003.01690). Where the claim
does not state what the defense is, the stricter reference applies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.checks.published.claim import ClaimedProtocol, PublishedClaim
from bench.checks.published.logic import Truth, either

Effect = Literal["overstates", "unknown"]

# The least that the reference asks for (docs/claims.md); steps and EOT are those of AutoAttack.
STEPS, EOT, RESTARTS, DRAWS = 100, 20, 3, 10
EXAMPLES, FEWEST_EXAMPLES = 1000, 500
GLOBAL_GENERATORS = ("torch", "numpy", "python")
COMPANIONS = ("bpda", "transfer")


@dataclass(frozen=True)
class Requirement:
    """One field of the reference protocol.

    Attributes:
        keys: the keys of the claim that decide about it, the most important first.
        wanted: the value of the reference, as printed.
        effect: the effect of falling short on robust accuracy.
        met: returns whether the claim meets it; None where the claim does not say.
        claimed: returns the value of the claim, as printed.
        asked: returns whether the reference asks for it of this defense and attack.
    """

    keys: tuple[str, ...]
    wanted: str
    effect: Effect
    met: Callable[[PublishedClaim], Truth]
    claimed: Callable[[PublishedClaim], str]
    asked: Callable[[PublishedClaim], bool] = lambda claim: True

    def missing(self, claim: PublishedClaim) -> list[str]:
        """Return the keys that the claim does not state, if they leave the requirement open."""
        if self.met(claim) is not None:
            return []
        return [key for key in self.keys if (claim.n if key == "n" else getattr(claim.protocol, key)) is None]


@dataclass(frozen=True)
class Difference:
    """A field in which the claim falls short of the reference."""

    field: str
    claimed: str
    wanted: str
    effect: Effect


def reference_name(protocol: ClaimedProtocol) -> str:
    """Name the kind of defense whose reference applies, such as `a stochastic purifier`."""
    random = "deterministic" if protocol.stochastic is False else "stochastic"
    return f"a {random} {'defense' if protocol.purifier is False else 'purifier'}"


def differences(claim: PublishedClaim) -> list[Difference]:
    """Return the fields in which the claim, by its own statement, falls short."""
    return [
        Difference(item.keys[0], item.claimed(claim), item.wanted, item.effect)
        for item in REFERENCE
        if item.asked(claim) and item.met(claim) is False
    ]


def not_stated(claim: PublishedClaim) -> list[str]:
    """Return the fields that the reference asks for and the claim does not state."""
    facts = [name for name in ("source", "dataset", "threat", "standard") if getattr(claim, name) is None]
    facts += [name for name in ("stochastic", "purifier") if getattr(claim.protocol, name) is None]
    return facts + [key for item in REFERENCE if item.asked(claim) for key in item.missing(claim)]


def fulfilled(claim: PublishedClaim) -> list[str]:
    """Return the fields in which the claim is as good as the reference."""
    return [item.keys[0] for item in REFERENCE if item.asked(claim) and item.met(claim)]


def _at_least(value: int | None, least: int) -> Truth:
    return None if value is None else value >= least


def _one_of(value: str | None, allowed: tuple[str, ...]) -> Truth:
    return None if value is None else value in allowed


def _holds(values: tuple[str, ...] | None, wanted: tuple[str, ...]) -> Truth:
    return None if values is None else set(wanted) <= set(values)


# "May be": a claim that does not say is held to the stricter reference.
def _may_be_stochastic(claim: PublishedClaim) -> bool:
    return claim.protocol.stochastic is not False


def _may_be_purifier(claim: PublishedClaim) -> bool:
    return claim.protocol.purifier is not False


def _is_no_autoattack(claim: PublishedClaim) -> bool:
    """Return whether losses and restarts have to be stated: AutoAttack has its own."""
    return claim.protocol.autoattack is not True


def _is_autoattack(claim: PublishedClaim) -> bool:
    return claim.protocol.autoattack is True


def _attack_fits(claim: PublishedClaim) -> Truth:
    """Return whether the attack is AutoAttack, or, for a stochastic defense, any that the other fields describe."""
    return either(claim.protocol.autoattack, claim.protocol.attack is not None and _may_be_stochastic(claim))


def _version_fits(claim: PublishedClaim) -> Truth:
    return _one_of(claim.protocol.version, ("rand",) if _may_be_stochastic(claim) else ("standard", "plus"))


def _generators(claim: PublishedClaim) -> tuple[str, ...]:
    return (*GLOBAL_GENERATORS, "attack") if _may_be_stochastic(claim) else ("attack",)


def _listed(values: tuple[str, ...] | None) -> str:
    return ", ".join(values) if values else "none"


def _says(name: str) -> Callable[[PublishedClaim], str]:
    """Return a function that gives the value of one key as a TOML file spells it."""

    def say(claim: PublishedClaim) -> str:
        value = getattr(claim.protocol, name)
        return str(value).lower() if isinstance(value, bool) else str(value)

    return say


# In the order of the printed report: the attack, the judgement, the images, the randomness.
REFERENCE: tuple[Requirement, ...] = (
    Requirement(
        ("attack",),
        "AutoAttack, or PGD with EOT if stochastic",
        "overstates",
        _attack_fits,
        _says("attack"),
    ),
    Requirement(
        ("version",),
        "rand if stochastic, standard or plus if deterministic",
        "overstates",
        _version_fits,
        _says("version"),
        _is_autoattack,
    ),
    Requirement(
        ("gradient",),
        "full",
        "overstates",
        lambda claim: _one_of(claim.protocol.gradient, ("full",)),
        _says("gradient"),
    ),
    Requirement(
        ("steps",),
        f"at least {STEPS}",
        "overstates",
        lambda claim: _at_least(claim.protocol.effective_steps, STEPS),
        _says("steps"),
    ),
    Requirement(
        ("restarts",),
        f"at least {RESTARTS}",
        "overstates",
        lambda claim: _at_least(claim.protocol.restarts, RESTARTS),
        _says("restarts"),
        _is_no_autoattack,
    ),
    Requirement(
        ("loss",),
        "margin, dlr or several: cross-entropy alone saturates",
        "overstates",
        lambda claim: _one_of(claim.protocol.loss, ("margin", "dlr", "several")),
        _says("loss"),
        _is_no_autoattack,
    ),
    Requirement(
        ("eot",),
        f"at least {EOT}",
        "overstates",
        lambda claim: _at_least(claim.protocol.effective_eot, EOT),
        lambda claim: str(claim.protocol.effective_eot),
        _may_be_stochastic,
    ),
    Requirement(
        ("union",),
        "with bpda and transfer, per example",
        "overstates",
        lambda claim: _holds(claim.protocol.union, COMPANIONS),
        lambda claim: _listed(claim.protocol.union),
        _may_be_purifier,
    ),
    Requirement(
        ("draws",),
        f"at least {DRAWS} per example",
        "overstates",
        lambda claim: _at_least(claim.protocol.draws, DRAWS),
        _says("draws"),
        _may_be_stochastic,
    ),
    Requirement(
        ("judged",),
        "worst or mean",
        "overstates",
        lambda claim: _one_of(claim.protocol.effective_judged, ("worst", "mean")),
        lambda claim: str(claim.protocol.effective_judged),
        _may_be_stochastic,
    ),
    Requirement(
        ("clean_twin",),
        "true: standard accuracy from as many draws",
        "unknown",
        lambda claim: claim.protocol.clean_twin,
        _says("clean_twin"),
        _may_be_stochastic,
    ),
    Requirement(
        ("attacked_resolution", "dataset_resolution"),
        "the dataset's own",
        "unknown",
        lambda claim: claim.protocol.native_resolution,
        lambda claim: f"{claim.protocol.attacked_resolution} for {claim.protocol.dataset_resolution}",
    ),
    Requirement(
        ("n",),
        f"at least {EXAMPLES}, never below {FEWEST_EXAMPLES}",
        "unknown",
        lambda claim: _at_least(claim.n, EXAMPLES),
        lambda claim: str(claim.n),
    ),
    Requirement(
        ("subset",),
        "fixed or full",
        "unknown",
        lambda claim: _one_of(claim.protocol.subset, ("fixed", "full")),
        _says("subset"),
    ),
    Requirement(
        ("seeded",),
        "attack, and torch, numpy, python if stochastic",
        "unknown",
        lambda claim: _holds(claim.protocol.seeded, _generators(claim)),
        lambda claim: _listed(claim.protocol.seeded),
    ),
    Requirement(
        ("shared_randomness",),
        "false: own draws for every example",
        "unknown",
        lambda claim: None if claim.protocol.shared_randomness is None else not claim.protocol.shared_randomness,
        _says("shared_randomness"),
        _may_be_stochastic,
    ),
    Requirement(
        ("interval",),
        "true: printed beside the number",
        "unknown",
        lambda claim: claim.protocol.interval,
        _says("interval"),
    ),
)
