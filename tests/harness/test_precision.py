"""How queries are answered is settled before anything is computed, kept to, and part of every key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.catalogue.selection import Selection
from bench.cli import main
from bench.datasets.load import load
from bench.harness import format_choice, matrix
from bench.harness.formats import PLAIN, Format, SearchFormats
from bench.harness.precision import settled
from bench.results.store import Store
from bench.threats import ThreatModel

HALF = SearchFormats(Format(half=True, channels_last=True), PLAIN, 1, {"bfloat16 channels-last": 3.0})
LINF = (ThreatModel.parse("Linf:0.2"),)


def planned(defenses="at", attacks="square", n=64):
    examples = load("digits", "test", n=n)
    return matrix.build(Selection.of(defenses, attacks, LINF), examples), examples


@pytest.fixture
def timed(monkeypatch):
    """What was timed; always with the same outcome."""
    made = []

    def settle(ref, examples, device, threads, precision):
        made.append((ref.label, device, threads, precision))
        return HALF if precision == "auto" else SearchFormats(rows_at_once=160)

    monkeypatch.setattr(format_choice, "settle", settle)
    return made


def test_float32_is_the_default_and_times_nothing(tmp_path, timed):
    plan, examples = planned("at,standard", "square,fgsm")

    found = settled(plan, examples, Store(tmp_path), precision="float32")

    assert timed == []
    assert {each.cell.precision for each in found.plan} == {"float32"}
    assert [each.cell.key for each in found.plan] == [each.cell.key for each in plan]


def test_a_stochastic_defense_names_the_rows_that_share_a_forward_however_small_the_run(tmp_path, timed):
    """They decide which noise a draw gets: a run of one attack and one of ten must give a cell the same numbers."""
    keys = set()
    for attacks in ("fgsm", "fgsm,square,pgd-20"):
        plan, examples = planned("atop", attacks, n=16)
        found = settled(plan, examples, Store(tmp_path / attacks), precision="float32")
        keys.add(next(each.cell.key for each in found.plan if each.cell.attack.label == "fgsm"))

    assert len(keys) == 1
    assert found.plan[0].cell.precision == "float32 / 160 rows"


def test_what_was_settled_first_in_a_folder_is_kept_to_on_every_machine(tmp_path, timed):
    """Timing again could choose another format, and give the same command other keys."""
    (plan, examples), store = planned(), Store(tmp_path)

    first = settled(plan, examples, store, precision="auto", place=lambda: ("cpu", 1))
    first.remember(store)
    again = settled(plan, examples, Store(tmp_path), precision="auto", place=lambda: ("cpu", 64))
    stored = settled(plan, examples, Store(tmp_path), precision="auto", place=lambda: pytest.fail("not needed"))
    assert stored.plan == again.plan
    dry = settled(plan, examples, Store(tmp_path), precision="auto", measure=False)

    assert len(timed) == 1
    assert again.met == ()
    assert first.plan == again.plan == dry.plan
    assert first.plan[0].cell.precision == "bfloat16 channels-last / float32"
    assert first.plan[0].cell.key != plan[0].cell.key


def test_a_small_run_is_not_timed_and_a_dry_one_asks_no_defense(tmp_path, timed):
    small, examples = planned(attacks="fgsm")
    large, many = planned()

    assert settled(small, examples, Store(tmp_path), precision="auto").plan == small
    assert settled(large, many, Store(tmp_path), precision="auto", measure=False).plan == large
    assert timed == []


def test_parts_and_columns_are_the_same_cells(tmp_path, timed):
    """A worst case is derived from its parts, so both have to be settled alike."""
    plan, examples = planned("atop", "autoattack,apgd-ce,apgd-dlr,square-eot", n=16)

    found = settled(plan, examples, Store(tmp_path), precision="auto").plan

    columns = {each.cell.key for each in found if not each.parts}
    assert {part.key for each in found for part in each.parts} == columns


def test_nobody_has_planned_for_a_variant(tmp_path):
    (each,), _ = planned("atop", "pgd-20", n=8)
    cell = replace(each.cell, precision=str(HALF))

    beside = cell.against(cell.defense.as_variant("base"))

    assert (beside.precision, beside.draws) == ("float32", 1)
    assert cell.against(cell.defense) == cell


@pytest.mark.slow
def test_the_same_command_in_two_folders_gives_the_same_keys_and_verdicts(tmp_path, capsys):
    """Timing decided for a format in the one and against it in the other: 35 and 34 of 48 robust."""
    command = ["run", "--defenses", "at,atop", "--attacks", "pgd-20,fgsm", "--n", "24", "--threat", "Linf:0.2"]
    found = []
    for name in ("one", "two"):
        assert main([*command, "--checks", "none", "--results", str(tmp_path / name)]) == 0
        results = Store(tmp_path / name).results()
        found.append([(each.cell.key, each.outcome.verdicts.adversarial.tolist()) for each in results])

    assert found[0] == found[1]


def test_an_unknown_precision_is_one_line(tmp_path, capsys):
    assert main(["run", "--precision", "float16", "--results", str(tmp_path / "r")]) == 2
    assert "--precision 'float16' is unknown: give float32 or auto" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_known_draws_are_asked_of_the_defense_as_given(tmp_path, timed):
    """In another format the same seed stands for other numbers, which nobody would know."""
    plan, examples = planned("atop", "pgd-eot-20,known-draws")

    found = settled(plan, examples, Store(tmp_path), precision="float32")

    formats = {each.cell.attack.label: each.cell.precision for each in found.plan}
    assert formats == {"pgd-eot-20": "float32 / 160 rows", "known-draws": "float32"}
