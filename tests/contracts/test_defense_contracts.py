"""What every registered defense owes its callers, checked over all that come with weights.

The contracts are those of the package (`bench.checks.contracts.defense`), to which `bench test-plugin` holds the
defenses of others.
"""

import pytest

from bench.catalogue import DEFENSES
from bench.catalogue.loading import load_defense
from bench.catalogue.resolve import is_trained
from bench.catalogue.selection import defenses
from bench.checks.contracts.defense import DefenseTrial, held
from bench.checks.examination import ExaminedImages
from bench.datasets.digits import digits

NAMES = [name for name in DEFENSES.names() if is_trained(name, "digits", None)]


@pytest.mark.parametrize("name", NAMES)
def test_every_registered_defense_keeps_its_contracts(name):
    data = digits("test")
    (ref,) = defenses(name, data.first(64))
    images = ExaminedImages(data.first(64), data.part(64, 128))

    found = list(held(DefenseTrial(lambda: load_defense(ref, data.spec), images, 0.2, declared=ref.stochastic)))

    assert {each.contract: each.seen for each in found if each.verdict == "fail"} == {}
    assert sum(each.verdict == "pass" for each in found) >= 9


def test_there_are_defenses_to_be_held_to_them():
    assert {"standard", "at", "ap", "atop"} <= set(NAMES)
