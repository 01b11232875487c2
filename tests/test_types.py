"""The records every room shares."""

import dataclasses
import subprocess
import sys

import pytest

from bench.threats import ThreatModel
from bench.types import Card, Defense, ImageSpec


def test_importing_the_records_imports_no_torch():
    """`bench list` reads them."""
    code = "import sys, bench.types; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "record", [Card("at"), Defense(None), ImageSpec((1, 8, 8), 10)], ids=lambda one: type(one).__name__
)
def test_nobody_changes_a_record_in_place(record):
    """A cached defense is shared by all who ask for it."""
    for field in dataclasses.fields(record):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, field.name, None)


def test_a_defense_that_declares_nothing_has_seen_nothing_and_draws_nothing():
    defense = Defense(None)

    assert (defense.stochastic, defense.trained_on) == (False, ())
    assert (defense.surrogate, defense.base, defense.purifier, defense.derandomized) == (None,) * 4
    assert defense.card == Card()


def test_no_two_records_share_what_is_known_of_them():
    one, other = Card(), Card()

    assert one.facts is not other.facts


def test_specs_of_the_same_images_are_one_key():
    """They are arguments of cached loaders."""
    specs = {ImageSpec((3, 32, 32), 10), ImageSpec((3, 32, 32), 10), ImageSpec((3, 32, 32), 100)}

    assert len(specs) == 2
    assert ThreatModel.parse("L2:1") in Defense(None, trained_on=(ThreatModel.parse("L2:1"),)).trained_on
