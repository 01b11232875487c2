"""References to attacks and defenses: what is written down of them is what is read."""

from bench.catalogue.refs import AttackRef
from tests.report.costly import make_cell


def test_a_reference_with_stages_survives_the_store():
    """The members of a cascade, and what it holds back."""
    attack = make_cell(stages=(AttackRef("apgd-ce", "", "c"),), audited=0.1).attack

    assert AttackRef.from_json(attack.to_json()) == attack
