"""The contracts of attacks, all of them: what `bench test-plugin` holds somebody else's to, and our tests ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.checks.contracts import cost, form, strength
from bench.checks.contracts.contract import Contract, Held, hold
from bench.checks.contracts.trial import Candidate, Trial, trials
from bench.threats import ThreatModel

_STREAM = "draw random numbers from `stream` alone: stream.at('start', 0).uniform(*x.shape[1:])"

CONTRACTS: tuple[Contract[Trial], ...] = (
    Contract(
        "traits",
        "what it says of itself is understood",
        form.understood,
        "see docs/attacks.md for what it may say",
    ),
    Contract(
        "threat",
        "hands in images within the threat model",
        form.within,
        "end with bench.oracle.geometry.project(x_adv, x, threat), or declare the `families` it is defined for",
        each_family=True,
    ),
    Contract(
        "untouched",
        "changes nothing but its proposal",
        form.untouched,
        f"work on x.clone(), and {_STREAM}",
    ),
    Contract("repeats", "same stream, same proposal", form.repeats, _STREAM),
    Contract(
        "batches",
        "same proposal whatever shares the batch",
        form.batches,
        f"no mean over the batch, no stop for all of it at once; {_STREAM}",
        each_family=True,
    ),
    Contract(
        "access",
        "asks by way of the oracle, within its rights",
        form.access,
        "ask oracle.gradient, oracle.logits or oracle.labels alone, and declare `access`",
    ),
    Contract(
        "wrong-before",
        "leaves images alone that are wrong already",
        form.stays_wrong,
        "go on with oracle.open(rows), and hand in the point that was misclassified",
    ),
    Contract(
        "few-classes",
        "does with few classes and one image",
        form.few_classes,
        "take no more targets than there are other classes",
    ),
    Contract(
        "able",
        "breaks a linear classifier (V13)",
        strength.able,
        "look at the sign and the length of its steps, or let it say why it is `exempt`",
        each_family=True,
    ),
    Contract(
        "returns",
        "hands in what it has seen broken",
        strength.returns,
        "return the best point of the path, never the last one: `success` of oracle.gradient tells",
        each_family=True,
    ),
    Contract(
        "stochastic",
        "finds its way through noise",
        strength.stochastic,
        "average over draws, oracle.gradient(..., eot=20), or decline: not_for = {'stochastic': 'REASON'}",
        each_family=True,
    ),
    Contract(
        "tiny-eps",
        "breaks nothing with next to no eps",
        strength.tiny_eps,
        "let the length of its steps, and its start, grow with float(threat.eps)",
        each_family=True,
    ),
    Contract(
        "larger-eps",
        "breaks no fewer with twice the eps",
        strength.larger_eps,
        "let the length of its steps grow with eps, and return the best point of the path",
        each_family=True,
    ),
    Contract(
        "more-work",
        "breaks no fewer with more steps",
        strength.more_work,
        "return the best point of the path, never the last one",
    ),
    Contract(
        "undefended",
        "breaks an undefended network",
        strength.undefended,
        "give it more steps; an attack of one query says forwards = 1, one without an aim why it is `exempt`",
        slow=True,
    ),
    Contract(
        "cost",
        "takes the passes it declares",
        cost.cost,
        "declare forwards and backwards per image, or compute them in cost()",
        each_family=True,
        slow=True,
    ),
    Contract(
        "cost-stochastic",
        "takes them per draw of a stochastic defense",
        cost.cost_stochastic,
        "declare forwards and backwards per image and draw",
        each_family=True,
        slow=True,
    ),
)


def held(candidate: Candidate, threats: Mapping[str, ThreatModel | None]) -> Iterator[Held]:
    """What comes of each contract, as soon as it is known.

    Args:
        candidate: the attack.
        threats: the families to try it under, each with a threat model somebody wants to run it under, if any.
    """
    families = trials(candidate, threats)
    for contract in CONTRACTS:
        for trial in families if contract.each_family else families[:1]:
            yield hold(contract, trial, trial.family if contract.each_family else "")
