"""What a doubter is told to run can be run, and settles what is in doubt."""

from __future__ import annotations

import pytest

from bench.catalogue.selection import Selection
from bench.checks.after.agreement import _CHECKS
from bench.cli import main
from bench.datasets.digits import digits
from bench.harness.matrix import build
from bench.results import advice
from bench.results.finding import Finding
from bench.threats import ThreatModel

MASKED = """
import torch
from torch import nn

class Half(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(10, 64, generator=generator), requires_grad=False)

    def forward(self, x):
        kept = torch.arange(8) % 2 == 0
        return torch.where(kept, x, x.detach()).flatten(1) @ self.weight.T

def build():
    return Half()
"""


def flagged(*ids):
    return [Finding(id_, "flag", "-", "-", f"{id_}: in doubt") for id_ in ids]


@pytest.mark.parametrize(("defense", "stochastic"), [("at", False), ("atop", True)])
@pytest.mark.parametrize("id_", sorted(advice._ADVICE))
def test_the_attacks_it_names_are_run_on_that_kind_of_defense(id_, defense, stochastic):
    attacks = advice.attacks_for(flagged(id_), stochastic=stochastic)
    if attacks:
        request = Selection.of(defense, attacks, (ThreatModel.parse("Linf:0.2"),))

        assert [planned.skip for planned in build(request, digits("test").first(8))] == [None] * len(attacks.split(","))


def test_every_finding_that_casts_doubt_after_an_attack_has_advice():
    """But for what is only told (A06, A14)."""
    assert set(_CHECKS) - {"A06", "A14"} <= set(advice._ADVICE)


def test_each_attack_is_named_once_and_only_for_what_is_in_doubt():
    passed = Finding("S13", "pass", "-", "-", "S13: fine")

    assert advice.attacks_for([*flagged("S09", "A03"), passed], stochastic=False) == "square,rays"
    assert advice.attacks_for([passed], stochastic=False) == ""


def test_check_explains_what_to_run_next(tmp_path, monkeypatch, capsys):
    """The command is one that can be pasted, and it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.py").write_text(MASKED)

    assert main(["check", "./half.py:build", "--explain"]) == 1

    lines = capsys.readouterr().out.splitlines()
    (command,) = {line.partition("run next: bench ")[2] for line in lines if "run next: " in line}
    assert command == "run --defenses ./half.py:build --dataset digits --attacks square,rays"
    assert any(line.startswith("  means: attacks by gradient do not look") for line in lines)
    assert main([*command.split(), "--n", "4", "--threat", "Linf:0.2", "--executor", "local"]) == 0


def test_a_table_says_what_to_run_next_until_it_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.py").write_text(MASKED)
    command = ["run", "--defenses", "./half.py:build", "--n", "8", "--threat", "Linf:0.2", "--executor", "local"]

    main([*command, "--attacks", "fgsm"])
    before = capsys.readouterr().out
    main([*command, "--attacks", "fgsm,square[queries=50],rays[queries=50]"])
    after = capsys.readouterr().out

    assert "! half: run next: --attacks square,rays" in before
    assert "run next" not in after
