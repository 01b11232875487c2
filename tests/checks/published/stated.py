"""A claim whose protocol has nothing to find, to change in one place at a time."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path

from bench.checks.published.claim import ClaimedProtocol, PublishedClaim
from bench.checks.published.faults import FAULTS
from bench.checks.published.reading import read_claim
from bench.checks.published.report import audit_claim
from bench.threats import ThreatModel

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "docs" / "examples" / "claims"

CLEAN = ClaimedProtocol(
    stochastic=True,
    purifier=True,
    attack="PGD-200 + EOT-20",
    reduced=False,
    gradient="full",
    loss="several",
    steps=200,
    restarts=3,
    eot=20,
    union=("bpda", "transfer"),
    draws=10,
    judged="worst",
    clean_twin=True,
    attacked_resolution=32,
    dataset_resolution=32,
    subset="fixed",
    seeded=("torch", "numpy", "python", "attack"),
    shared_randomness=False,
    interval=True,
    transform_on_every_example=True,
    purifier_range_matches=True,
    classifier_range_matches=True,
    checkpoint_verified=True,
    name_matches_code=True,
    code_complete=True,
    code_runs=True,
    outputs_released=True,
)
CLAIM = PublishedClaim(
    title="a number",
    source="somewhere",
    dataset="cifar10",
    threat=ThreatModel.parse("Linf:8/255"),
    robust=Decimal("45.0"),
    standard=Decimal("80.0"),
    n=1000,
    protocol=CLEAN,
)


def with_protocol(**changes):
    return dataclasses.replace(CLAIM, protocol=dataclasses.replace(CLEAN, **changes))


def applying(claim):
    return {fault.id for fault in FAULTS if fault.state(claim.protocol) == "applies"}


def undecided(claim):
    return {fault.id for fault in FAULTS if fault.state(claim.protocol) == "cannot be told"}


def example(name):
    return audit_claim(read_claim(EXAMPLES / f"{name}.toml"))
