"""Probes: attacks that are run beside the table, to be held against it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from bench.catalogue.selection import Selection
from bench.checks.after import probes
from bench.checks.after.group import BLACK_BOX
from bench.datasets.digits import digits
from bench.harness.matrix import build
from bench.results.store import Store
from bench.threats import ThreatModel
from tests.checks.broken import BROKEN

LINF = ThreatModel.parse("Linf:0.2")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("broken.py").write_text(textwrap.dedent(BROKEN))


def planned(defenses="atop", attacks="fgsm,pgd-20,pgd-eot-20", threats=(LINF,), n=64):
    examples = digits("test").first(n)
    return build(Selection.of(defenses, attacks, tuple(threats)), examples), examples


class TestProbes:
    def test_all_of_them_when_cost_is_no_object(self):
        """Each role once, on few images; what the table shows anyway is not run again."""
        plan, examples = planned()

        found = {probe.role: probe.cell for probe in probes.plan(plan, examples, share=None)}

        assert sorted(found) == sorted(
            [
                "black box",
                "noise",
                "large eps",
                "base",
                "blind",
                "bpda",
                "frozen",
                "double eot",
                "double steps",
                "half eps",
                "double eps",
            ]
        )
        assert {cell.slice.n for role, cell in found.items() if role != "base"} == {probes.STOCHASTIC_IMAGES}
        assert found["base"].slice.n == 64
        assert str(found["half eps"].threat) == "Linf:0.1"
        assert str(found["large eps"].threat) == "Linf:0.5"
        assert (found["frozen"].defense.variant, found["frozen"].draws) == ("frozen", 1)

    def test_what_the_table_lacks_is_run_beside_it(self):
        plan, examples = planned(attacks="fgsm")

        assert "same eps" in {probe.role for probe in probes.plan(plan, examples, share=None)}

    @pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
    def test_they_keep_to_their_share_of_the_passes(self, share):
        plan, examples = planned("at,atop")

        found = probes.plan(plan, examples, share=share)

        spent = sum(probe.cell.passes() for probe in found)
        allowed = share * sum(each.cell.passes() for each in plan if each.skip is None)
        assert spent <= allowed
        assert found or share < 0.1

    def test_the_black_box_is_searched_as_long_as_can_be_paid_for(self):
        """Half of what the probes may take at most; the shortest where even that is much, and none at all below."""

        def queries(attacks, share):
            plan, examples = planned("at", attacks)
            found = [probe.cell.attack for probe in probes.plan(plan, examples, share=share) if probe.role == BLACK_BOX]
            return [attack.config["queries"] for attack in found]

        assert queries("apgd-ce,fab-t", None) == [1000]
        assert queries("apgd-ce,fab-t", 0.1) == [300]
        assert queries("fgsm", 0.1) == []

    @pytest.mark.parametrize(("defense", "attack"), [("at", "square"), ("at", "autoattack"), ("atop", "autoattack")])
    def test_a_table_with_a_black_box_needs_no_probe_of_it(self, defense, attack):
        """AutoAttack holds one on either kind of defense."""
        plan, examples = planned(defense, attack)

        assert BLACK_BOX not in {probe.role for probe in probes.plan(plan, examples, share=None)}

    def test_there_are_none_for_threats_without_a_norm_and_for_blocked_cells(self):
        from dataclasses import replace

        moved, examples = planned(attacks="stadv", threats=[ThreatModel.parse("stadv:0.4")])
        plan, _ = planned()

        assert probes.plan(moved, examples, share=None) == []
        assert probes.plan([replace(each, blocked=True) for each in plan], examples, share=None) == []


def test_no_check_compares_an_attack_that_knew_the_draws_with_the_others(tmp_path):
    """It costs more than all others together, and yet no probe more is paid for; and it is in no group."""
    usual, examples = planned()
    more, _ = planned(attacks="fgsm,pgd-20,pgd-eot-20,known-draws")
    store = Store(tmp_path)

    assert [probe.cell.key for probe in probes.plan(more, examples)] == [
        probe.cell.key for probe in probes.plan(usual, examples)
    ]
    (group,) = probes.groups(more, [], store, store, 10)
    assert [attack.label for attack in group.asked] == ["fgsm", "pgd-20", "pgd-eot-20"]
