"""`bench.api.hold_to_contracts`: what is held is what was named, and what is no plug-in is one line."""

from __future__ import annotations

import pytest

import bench
from bench import api

ATTACK = """
def build():
    def attack(oracle, x, y, threat, *, stream):
        return (x + float(threat.eps)).clamp(0, 1)
    attack.families = ("Linf",)
    return attack

def outside():
    def attack(oracle, x, y, threat, *, stream):
        return x + 2 * float(threat.eps)
    attack.families = ("Linf",)
    return attack
"""


def test_an_attack_of_a_file_keeps_its_contracts_or_is_caught(tmp_path):
    """A step out of the ball and the box breaks one that the harmless one keeps."""
    path = tmp_path / "mine.py"
    path.write_text(ATTACK)

    kinds, held = zip(*(api.hold_to_contracts(f"{path}:{name}") for name in ("build", "outside")), strict=True)
    harmless, outside = ({each.contract for each in found if each.verdict == "fail"} for found in held)

    assert kinds == ("attack", "attack")
    assert "threat" in outside
    assert "threat" not in harmless


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("fsgm", "unknown attack or defense 'fsgm'"),
        ("autoattack", "is the worst case of other attacks: test"),
        ("./nowhere.py", "nowhere.py"),
    ],
)
def test_what_is_no_plug_in_is_one_line(target, said):
    with pytest.raises(bench.BenchError, match=said):
        api.hold_to_contracts(target)
