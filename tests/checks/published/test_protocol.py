"""What a protocol lacks of the reference, and what it does not state."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from bench.checks.published.claim import PublishedClaim
from bench.checks.published.faults import FAULTS
from bench.checks.published.protocol import REFERENCE, differences, not_stated
from bench.checks.published.report import audit_claim
from tests.checks.published.stated import CLAIM, CLEAN, undecided, with_protocol


def test_the_reference_protocol_has_nothing_to_find():
    audited = audit_claim(CLAIM)

    assert audited.findings == []
    assert audited.exit_code == 0
    assert {fault.state(CLEAN) for fault in FAULTS} == {"does not apply"}


DETERMINISTIC = {
    "stochastic": False,
    "purifier": False,
    "attack": "AutoAttack",
    "version": "standard",
    **dict.fromkeys(("loss", "steps", "restarts", "eot", "union", "draws", "judged", "clean_twin")),
    **dict.fromkeys(("shared_randomness", "transform_on_every_example", "purifier_range_matches")),
    "seeded": ("attack",),
}


def test_a_deterministic_defense_needs_autoattack_and_none_of_what_randomness_asks_for():
    assert audit_claim(with_protocol(**DETERMINISTIC)).findings == []


def test_autoattack_rand_with_its_own_settings_is_as_good_as_pgd_with_eot():
    own = dict.fromkeys(("steps", "restarts", "loss", "eot"))

    assert audit_claim(with_protocol(attack="AutoAttack", version="rand", **own)).findings == []


def test_the_version_is_asked_for_where_the_attack_is_autoattack():
    (fault,) = (fault for fault in FAULTS if fault.id == "F3")

    assert fault.state(with_protocol(attack="AutoAttack").protocol) == "cannot be told"
    assert fault.missing(with_protocol(attack="AutoAttack").protocol) == ("version",)


WEAKER = {
    "attack": {**DETERMINISTIC, "attack": "PGD-1000", "steps": 1000, "restarts": 3, "loss": "several"},
    "version": {"attack": "AutoAttack", "version": "standard", "eot": 20},
    "gradient": {"gradient": "bpda"},
    "steps": {"steps": 99},
    "restarts": {"restarts": 2},
    "loss": {"loss": "ce"},
    "eot": {"eot": 19},
    "union": {"union": ("bpda",)},
    "draws": {"draws": 9},
    "judged": {"judged": "majority"},
    "clean_twin": {"clean_twin": False},
    "attacked_resolution": {"attacked_resolution": 64},
    "subset": {"subset": "shuffled"},
    "seeded": {"seeded": ("torch", "numpy", "python")},
    "shared_randomness": {"shared_randomness": True},
    "interval": {"interval": False},
}


@pytest.mark.parametrize("name", WEAKER)
def test_a_weaker_field_is_a_difference_from_the_reference(name):
    assert [item.field for item in differences(with_protocol(**WEAKER[name]))] == [name]


def test_fewer_examples_are_a_difference_from_the_reference():
    assert [item.field for item in differences(dataclasses.replace(CLAIM, n=999))] == ["n"]


def test_every_field_of_the_reference_has_been_tested():
    assert {item.keys[0] for item in REFERENCE} == {*WEAKER, "n"}


def test_a_claim_that_says_nothing_is_told_everything_it_left_out():
    claim = PublishedClaim("bare", Decimal("50.0"))

    asked = {key for item in REFERENCE for key in item.keys} - {"version"}
    assert set(not_stated(claim)) == asked | {"source", "dataset", "threat", "standard", "stochastic", "purifier"}
    assert undecided(claim) == {fault.id for fault in FAULTS}
    assert audit_claim(claim).exit_code == 1
