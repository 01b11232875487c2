"""Each fault of a protocol is found by its own field, and by nothing else."""

from __future__ import annotations

import pytest

from bench.checks.published.faults import FAULTS
from bench.checks.published.report import audit_claim
from tests.checks.published.stated import applying, undecided, with_protocol

DETERMINISTIC = {
    "stochastic": False,
    "purifier": False,
    "attack": "AutoAttack",
    "version": "standard",
    **dict.fromkeys(("loss", "steps", "restarts", "eot", "union", "draws", "judged", "clean_twin")),
    **dict.fromkeys(("shared_randomness", "transform_on_every_example", "purifier_range_matches")),
    "seeded": ("attack",),
}


SINGLE_FAULTS = [
    ("F1", {"transform_on_every_example": False}),
    ("F2", {"purifier_range_matches": False}),
    ("F2", {"checkpoint_verified": False}),
    ("F3", {"reduced": True}),
    ("F3", {"attack": "AutoAttack", "version": "standard", "eot": 20}),
    ("F3", {"eot": 1}),
    ("F4", {"gradient": "skipped", "eot": 1}),
    ("F5", {"classifier_range_matches": False}),
    ("F6", {**DETERMINISTIC, "eot": 10}),
    ("F7", {"subset": "shuffled"}),
    ("F8", {"shared_randomness": True}),
    ("F8", {"draws": 1}),
    ("F9", {"attacked_resolution": 256}),
    ("F10", {"name_matches_code": False}),
    ("F11", {"seeded": ("torch", "attack")}),
    ("F12", {"code_runs": False}),
    ("F13", {"code_complete": False}),
    ("F14", {"outputs_released": False}),
]


@pytest.mark.parametrize(("fault", "changes"), SINGLE_FAULTS)
def test_a_fault_is_found_by_its_own_field_and_alone(fault, changes):
    claim = with_protocol(**changes)

    assert applying(claim) == {fault}
    assert any(line.startswith(f"{fault} applies") for line in audit_claim(claim).findings)
    assert undecided(claim) == set()


def test_every_fault_has_been_triggered():
    assert {fault for fault, _ in SINGLE_FAULTS} == {fault.id for fault in FAULTS} == {f"F{i}" for i in range(1, 15)}


def test_eot_of_a_skipped_purifier_is_no_eot():
    assert applying(with_protocol(gradient="skipped", eot=10)) == {"F4", "F6"}


DECIDING = sorted({(fault.id, name) for fault in FAULTS for name in fault.fields if name not in ("version", "attack")})
# Where the other fields of a fault would decide already, the ones that do not.
OTHERS = {
    ("F1", "stochastic"): {"transform_on_every_example": False},
    ("F2", "purifier"): {"purifier_range_matches": False},
    ("F3", "stochastic"): {"eot": 1},
    ("F3", "gradient"): {"eot": 1},
    ("F6", "eot"): {"gradient": "skipped"},
    ("F8", "stochastic"): {"draws": 1},
    ("F11", "stochastic"): {"seeded": ("torch",)},
}


@pytest.mark.parametrize(("fault_id", "name"), DECIDING)
def test_a_field_that_is_not_stated_leaves_its_fault_open_and_is_named(fault_id, name):
    (fault,) = (fault for fault in FAULTS if fault.id == fault_id)

    protocol = with_protocol(**OTHERS.get((fault_id, name), {}), **{name: None}).protocol

    assert fault.state(protocol) == "cannot be told"
    assert fault.missing(protocol) == (name,)
