"""What every registered attack owes its callers, checked over the whole catalogue.

The contracts are those of the package (`bench.checks.contracts.attack`), to which `bench test-plugin` holds the
attacks of others.
"""

import pytest

from bench.catalogue import ATTACKS
from bench.checks.contracts.attack import CONTRACTS
from bench.checks.contracts.contract import Inapplicable, keep
from bench.checks.contracts.trial import Trial, registered

# An entry without a target is the worst case of other entries, which are checked themselves.
ENTRIES = [entry for entry in ATTACKS if entry.target]
# Descents that stall are given up, which on a plane is soon; of many short runs, each ends with a point that takes a
# gradient only where the defense is stochastic. across-draws leaves out its second trajectory where nearly every draw
# is right after the first. The others take nearly what they declare.
GIVES_UP = {"cw-l2": 0.1, "pgd-l0": 0.8, "across-draws": 0.35}


def cases():
    """Every contract with every attack, under each of its families or the first of them alone."""
    for contract in CONTRACTS:
        for entry in ENTRIES:
            for family in entry.families if contract.each_family else entry.families[:1]:
                marks = [pytest.mark.slow] if contract.slow and contract.each_family else []
                yield pytest.param(contract, entry, family, id=f"{contract.name}-{entry.name} {family}", marks=marks)


@pytest.mark.parametrize(("contract", "entry", "family"), list(cases()))
def test_every_registered_attack_keeps_the_contract(contract, entry, family):
    for name in entry.requires:
        pytest.importorskip(name)
    candidate = registered(entry, least=GIVES_UP.get(entry.name, 0.9))
    trial = Trial(candidate, family, first=family == entry.families[0])
    try:
        seen = keep(contract, trial)
    except Inapplicable as reason:
        pytest.skip(str(reason))
    assert seen
