"""Published values beside ours: what is compared, with which interval, and what never gets a number."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from scipy.stats import binomtest

from bench.api.results import Results
from bench.catalogue.published import PublishedValue
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.study import Study
from bench.report.published import beside, render
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.results.outcome import Cost, Done, Evidence, Failed, Skipped, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel

LINF, L2 = ThreatModel.parse("Linf:8/255"), ThreatModel.parse("L2:0.5")
VALUE = PublishedValue(
    "atop", "cifar10", Decimal("72.85"), "a table", "autoattack", "", "Linf:8/255", 512, "other pixels", verified=True
)
BLOCK = Finding("S05", "block", "1", "0", "S05: the gradient is masked")


def result_of(right, n=128, *, attack="autoattack", threat=LINF, draws=1, dataset="cifar10", label="atop", clean=None):
    """A cell of which `right` of all draws are right: `n` examples, the first ones in all draws."""
    adversarial = np.zeros(n, dtype=np.uint8)
    adversarial[: right // draws] = draws
    unharmed = np.full(n, draws, dtype=np.uint8)
    unharmed[: 0 if clean is None else n - clean] = 0
    cell = Cell(
        DefenseRef(label, label, f"{label}-digest", draws > 1, (LINF,)),
        AttackRef(attack, attack, f"{attack}-digest"),
        threat,
        Slice(dataset, "test", n, f"{dataset}-{n}"),
        0,
        draws,
        128,
    )
    return Result(cell, Done(Verdicts(draws, unharmed, adversarial), Cost()))


def compare(results, *values):
    return beside(results, Study("test", published=values or (VALUE,)))


def test_the_difference_has_the_interval_of_two_independent_samples():
    """66 of 128 against 373 of 512: computed here from scipy's Wilson intervals."""
    (found,) = compare([result_of(66)])

    ours, theirs = (binomtest(k, n).proportion_ci(0.95, "wilson") for k, n in ((66, 128), (373, 512)))
    p, q = 66 / 128, 373 / 512
    assert found.state == "done"
    assert found.difference == pytest.approx(66 / 128 - 0.7285)  # from what was printed
    assert found.interval == pytest.approx(
        (p - q - math.hypot(p - ours.low, theirs.high - q), p - q + math.hypot(ours.high - p, q - theirs.low))
    )
    text = render([found])
    assert f"51.6 [{100 * ours.low:.1f}, {100 * ours.high:.1f}]" in text
    low, high = found.interval
    assert f"-21.3 [{100 * low:+.1f}, {100 * high:+.1f}]" in text


def test_a_stochastic_defense_is_compared_by_its_mean_of_draws():
    (found,) = compare([result_of(640, draws=10)])

    assert (found.ours.judged, found.ours.value) == ("mean-of-10", 0.5)


def test_the_protocol_and_the_source_always_stand_beside():
    one, other = compare([result_of(64)], VALUE, replace(VALUE, protocol=""))

    assert one.notes == ["a table; differs in protocol: other pixels"]
    assert other.notes == ["a table; its protocol is not stated"]
    text = render([one, other])
    assert "1: a table; differs in protocol: other pixels" in text
    assert "2: a table; its protocol is not stated" in text


def test_a_value_of_second_hand_is_marked_and_a_read_one_is_not():
    second_hand = render(compare([result_of(64)], replace(VALUE, verified=False)))
    read = render(compare([result_of(64)]))

    assert "72.85 ?" in second_hand
    assert "not verified: second-hand" in second_hand
    assert "72.85 ?" not in read
    assert "not verified" not in read


def test_a_value_that_its_own_n_makes_impossible_is_marked_and_gets_no_interval():
    """38.89 is no k/512."""
    (found,) = compare([result_of(64)], replace(VALUE, value=Decimal("38.89")))

    assert (found.possible, found.interval) == (False, None)
    assert found.difference == pytest.approx(0.5 - 0.3889)
    text = " ".join(render([found]).split())
    assert "38.89 !" in text
    assert "38.89 is no k/512: nearest are 199/512 = 38.867 and 200/512 = 39.062" in text
    assert "+11.1 " in text
    assert "+11.1 [" not in text


def test_without_n_there_is_a_difference_and_no_interval():
    (found,) = compare([result_of(64)], replace(VALUE, n=None))

    assert found.difference is not None
    assert found.interval is None
    assert "n is not stated" in render([found])


def numbers_of(text):
    """The line of the only value: what stands for ours, and for the difference."""
    line = next(line for line in text.splitlines() if line.startswith("atop"))
    return line.split("512", 1)[1].split()[:3]


@pytest.mark.parametrize(
    ("change", "state", "shown"),
    [
        ({"findings": (BLOCK,)}, "blocked", ["BLOCK", "-", "-"]),
        ({"outcome": Failed("boom")}, "failed", ["FAIL", "-", "-"]),
        ({"outcome": None}, "missing", ["-", "-", "-"]),
        ({"outcome": Skipped("no such thing")}, "skipped", ["-", "-", "-"]),
    ],
)
def test_what_has_no_number_has_no_difference(change, state, shown):
    """A blocked defense too, even where the cell was computed in spite of the block."""
    (found,) = compare([replace(result_of(64), **change)])

    assert (found.state, found.ours, found.difference, found.interval) == (state, None, None, None)
    assert found.reason
    assert numbers_of(render([found])) == shown
    told = found.to_json()
    assert (told["ours"], told["difference"], told["state"]) == (None, None, state)


def test_it_says_how_many_values_have_a_number_of_ours():
    """A table of dashes would leave a reader in search of his own numbers."""
    here, elsewhere = compare([result_of(64)]), compare([result_of(64)], replace(VALUE, defense="nobody"))

    assert "1 of 2 have a number of ours" in render([*here, *elsewhere])
    assert "have a number of ours" not in render(here)


def test_a_blocked_standard_accuracy_is_none_either():
    standard = replace(VALUE, attack="", column="standard", threat="")

    (found,) = compare([replace(result_of(64), findings=(BLOCK,))], standard)

    assert (found.state, found.ours) == ("blocked", None)


def test_an_upper_bound_is_shown_as_one_and_has_no_difference():
    """The worst case over two attacks, one of which failed; and an attack of which a part could not run."""
    worst = replace(VALUE, attack="", column="worst-all", threat="")
    (of_cells,) = compare([result_of(64), replace(result_of(1, attack="square"), outcome=Failed("boom"))], worst)
    unable = result_of(64)
    unable = replace(unable, outcome=replace(unable.outcome, evidence=Evidence(unable=("apgd-ce",))))
    (of_parts,) = compare([unable])

    for found in (of_cells, of_parts):
        assert (found.state, found.ours.value, found.difference) == ("partial", 0.5, None)
        assert "<= 50.0" in render([found])
        assert found.to_json()["ours_is_upper_bound"] is True
    assert "apgd-ce" in of_parts.reason


def test_a_flagged_number_carries_its_mark():
    flag = replace(BLOCK, verdict="flag")

    (found,) = compare([replace(result_of(64), findings=(flag,))])

    assert found.difference is not None
    assert "50.0! [" in render([found])
    assert found.to_json()["flagged"] is True


def test_other_images_another_defense_and_another_size_are_never_compared():
    elsewhere = compare([result_of(64, dataset="digits")])
    another = compare([result_of(64, label="at")])
    size = compare([result_of(64, threat=ThreatModel.parse("Linf:4/255"))])

    assert [each.difference for each in (*elsewhere, *another, *size)] == [None] * 3
    assert elsewhere[0].reason == "published on cifar10, measured on digits"
    assert another[0].reason == "this defense is not in this run"
    assert size[0].reason == "no such column in this run"


def test_columns_without_attack_are_standard_accuracy_and_worst_cases():
    values = [replace(VALUE, attack="", threat="", column=name) for name in ("standard", "worst-seen", "worst-unseen")]

    found = compare([result_of(64, clean=96), result_of(32, attack="fab", threat=L2)], *values)

    assert [each.ours.value for each in found] == [0.75, 0.5, 0.25]


def test_two_sets_of_images_are_two_lines():
    found = compare([result_of(64), result_of(64, n=256)])

    assert [each.ours.n for each in found] == [128, 256]


def test_names_of_users_cannot_steer_a_terminal():
    hostile = "\x1b[2J\nFAKE"
    failed = replace(result_of(64), outcome=Failed(f"boom {hostile}"))

    text = render([*compare([failed]), *compare([result_of(64, dataset=hostile)])])

    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line.startswith("FAKE")]


def test_results_of_a_study_tell_its_published_values(tmp_path):
    """In the summary, and as JSON that a strict parser takes."""
    study = Study("My study", published=(VALUE,))
    results = Results((result_of(64),), Store(tmp_path), study=study)

    assert "My study: published values beside ours" in results.summary()
    (told,) = json.loads(json.dumps([each.to_json() for each in results.published()], allow_nan=False))
    assert (told["published"]["value"], told["ours"], told["difference"]) == ("72.85", 50.0, -22.85)
    assert told["difference_low"] < -22.85 < told["difference_high"]
    assert replace(results, study=None).published() == []
