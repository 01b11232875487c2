"""A run: what is stored stays, what is lacking is computed, what fails is told."""

import numpy as np
import pytest

from bench.catalogue import ATTACKS
from bench.catalogue.registry import AttackEntry
from bench.harness.run import pending
from bench.results.outcome import Failed
from tests.harness.toy import DEFENSE, LOCAL, documents, fill


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(DEFENSE)
    return path


def test_nothing_stored_is_computed_again(tmp_path, source):
    fill(tmp_path / "r", LOCAL, source)
    before = documents(tmp_path / "r")

    _, watcher, *_ = fill(tmp_path / "r", LOCAL, source)

    assert watcher.cells == []
    assert watcher.stored == 2
    assert documents(tmp_path / "r") == before


def test_finished_shards_survive_and_only_the_others_are_computed(tmp_path, source):
    """Stopped after any number of shards, the same run ends with the same documents."""

    class Stops:
        def __init__(self, after):
            self.after = after

        def run(self, agenda, on_pass):
            for count, report in enumerate(LOCAL.run(agenda, on_pass)):
                if count == self.after:
                    raise KeyboardInterrupt
                yield report

    fill(tmp_path / "whole", LOCAL, f"{source}:noisy")
    for after in range(5):
        root = tmp_path / f"stopped-{after}"
        with pytest.raises(KeyboardInterrupt):
            fill(root, Stops(after), f"{source}:noisy")
        _, watcher, *_ = fill(root, LOCAL, f"{source}:noisy")

        assert documents(root) == documents(tmp_path / "whole")
        assert watcher.passed > 0


def test_an_exception_is_a_failed_cell_in_one_line_and_tried_again(tmp_path, source):
    results, watcher, plan, store = fill(tmp_path / "r", LOCAL, f"{source}:raising")

    assert [result.outcome for result in results] == [Failed("ValueError: cannot work")] * 2
    assert len(watcher.ended) == 2
    assert len(pending(plan, store).cells) == 2


def test_a_worst_case_is_derived_from_its_parts_and_nothing_is_computed_twice(tmp_path, source, monkeypatch):
    entry = AttackEntry("both", "", "", "", ("Linf",), parts={"deterministic": ("fgsm", "pgd-20")})
    monkeypatch.setitem(ATTACKS._entries, "both", entry)

    results, watcher, *_ = fill(tmp_path / "r", LOCAL, source, attacks="fgsm,both,pgd-20", n=64, batch=32)

    fgsm, both, pgd = (result.outcome for result in results)
    assert len(watcher.cells) == 2
    assert np.array_equal(both.verdicts.clean, fgsm.verdicts.clean)
    expected = np.minimum(fgsm.verdicts.adversarial, pgd.verdicts.adversarial)
    assert np.array_equal(both.verdicts.adversarial, expected)
    assert both.cost == fgsm.cost + pgd.cost
    assert fgsm.verdicts.clean.sum() > 0
    assert expected.sum() < fgsm.verdicts.clean.sum()


def test_a_worst_case_fails_with_its_part(tmp_path, source, monkeypatch):
    """One part cannot be computed: no number stands in for it."""
    entry = AttackEntry("both", "", "", "", ("Linf",), parts={"deterministic": ("fgsm", "pgd-20")})
    monkeypatch.setitem(ATTACKS._entries, "both", entry)

    results, *_ = fill(tmp_path / "r", LOCAL, f"{source}:raising", attacks="fgsm,pgd-20,both")

    assert results[-1].outcome == Failed("fgsm: ValueError: cannot work")
