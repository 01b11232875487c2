"""`bench.api.check`: a network at hand is examined as one in a file, and a broken one is found out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import bench
from bench import api
from bench.checks.contracts.models import robust_digits
from bench.checks.published.report import Audit
from tests.api.nets import Templates

TABLE = tuple(f"S{number:02d}" for number in range(1, 18))


class Nan(Templates):
    def forward(self, x):
        return super().forward(x) * torch.nan


def ids(findings):
    return {finding.id for finding in findings}


def test_a_network_at_hand_has_a_row_per_check():
    """Trained on digits: nothing alarms."""
    found = api.check(robust_digits().model, n=32)

    assert tuple(sorted(ids(found.findings))) == TABLE
    assert found.alarming == []
    assert not found.stochastic
    assert found.note is None


class Masked(Templates):
    def forward(self, x):
        return super().forward((x * 32).round() / 32)


@pytest.mark.parametrize(("model", "which"), [(Nan(), "S01"), (Masked(), "S09")], ids=["NaN", "no gradient"])
def test_a_broken_one_is_found_out(model, which):
    """Each alarm says what it means and what to do."""
    found = api.check(model, n=32)

    assert which in ids(found.alarming)
    (finding,) = (finding for finding in found.alarming if finding.id == which)
    assert all(found.explained(finding, "bench run --defenses mine"))


def test_noise_is_noticed():
    assert api.check(Templates(noise=0.1), n=16).stochastic


@pytest.mark.parametrize(
    ("defense", "said"),
    [
        ("att", "unknown defense 'att'"),
        ("all", "examines one defense, 'all' names"),
        (nn.Linear(64, 10), "fails on images of shape"),
        (nn.Flatten(), "gives 64 classes, the dataset has 10"),
        (torch.zeros(1), "return an nn.Module"),
    ],
)
def test_what_is_no_defense_is_one_line(defense, said):
    with pytest.raises(bench.BenchError, match=said) as error:
        api.check(defense, n=16)

    assert "\n" not in str(error.value)


def test_a_claim_is_read_and_audited(tmp_path):
    """One of the documentation's; an unknown key is one line."""
    claim = Path(__file__).parents[2] / "docs" / "examples" / "claims" / "atop-gan-cifar10.toml"
    assert isinstance(api.audit(claim), Audit)
    wrong = tmp_path / "claim.toml"
    wrong.write_text("nonsense = 1\n")

    with pytest.raises(bench.BenchError, match="nonsense"):
        api.audit(wrong)
