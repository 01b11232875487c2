"""The gate: what it compares, when it refuses, when it fails, and how often it cries wolf."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.report.floors import parse_floor
from bench.report.gate import compare
from bench.report.gate_report import Standing
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.results.outcome import Done, Evidence, Failed, Skipped, Verdicts
from bench.results.stats import holm, mcnemar, smallest_detectable_drop
from bench.threats import ThreatModel

LINF, L2 = ThreatModel.parse("Linf:0.2"), ThreatModel.parse("L2:1")
N = 512


def _result(outcome, *, attack="pgd-20", threat=LINF, defense="at", draws=1, n=N):
    ref = DefenseRef(defense, defense, defense, draws > 1)
    how = AttackRef(attack, attack, attack, config={"steps": 20})
    return Result(Cell(ref, how, threat, Slice("digits", "test", n, "e" * 64), 0, draws, 64), outcome)


def _done(robust, *, right=N, n=N, draws=1):
    """The first `right` of n examples are correct without attack, the first `robust` under attack."""
    index = np.arange(n)
    counts = [np.where(index < k, draws, 0).astype(np.uint8) for k in (right, robust)]
    return Done(Verdicts(draws, *counts))


def _run(*robust, right=N):
    return [_result(_done(k, right=right), attack=f"attack-{i}") for i, k in enumerate(robust)]


def _changed(result, part=None, **changes):
    cell = result.cell
    if part is None:
        return replace(result, cell=replace(cell, **changes))
    return replace(result, cell=replace(cell, **{part: replace(getattr(cell, part), **changes)}))


def test_the_same_results_pass():
    """Nothing flipped: exit 0, and the report says what it could have seen."""
    report = compare(_run(300, 200), _run(300, 200))

    assert report.exit_code == 0
    assert [row.verdict for row in report.rows] == ["ok"] * 3
    assert report.lines == [
        "n=512, 3 cells: drops of 2.2 points or more would be caught 80 % of the time",
        "gate: no regression in 3 cells",
    ]


def test_a_real_drop_fails():
    """50 of 512 examples flipped one way: exit 1, with both accuracies, the drop and its p-value."""
    report = compare(_run(300, 200), _run(250, 200))

    assert report.exit_code == 1
    (row,) = report.regressions
    assert (row.title, row.n) == ("at x attack-0 (Linf:0.2)", N)
    assert (row.baseline, row.candidate, row.drop) == pytest.approx((300 / N, 250 / N, 50 / N))
    assert row.p == mcnemar(50, 0)
    assert row.adjusted == pytest.approx(3 * row.p)
    assert report.lines[0] == (
        "REGRESSION at x attack-0 (Linf:0.2): 58.6 % -> 48.8 % (drop 9.8 points, adjusted p = 2.7e-15)"
    )
    assert report.lines[-1] == "gate: 1 of 3 cells regressed"


def test_an_improvement_passes():
    """The test is one-sided: more robust is never a regression."""
    report = compare(_run(200), _run(400))

    assert report.exit_code == 0
    assert report.rows[1].drop == pytest.approx(-200 / N)


@pytest.mark.parametrize(("flips", "code"), [(8, 0), (9, 1)])
def test_the_family_is_adjusted_for(flips, code):
    """Five tests at alpha .01: 8 flips have 5 x 2^-8 = .0195, 9 have .0098. One test alone needs 7."""
    names = ["a", "b", "c", "d"]
    before = [_result(_done(300), attack=name) for name in names]
    after = [_result(_done(300 - (flips if name == "a" else 0)), attack=name) for name in names]

    report = compare(before, after)

    assert len(report.gated) == 5
    assert report.exit_code == code


def test_adjusted_values_are_holms():
    """Every p-value of the family, standard accuracy included, goes into one correction."""
    report = compare(_run(300, 200, 100), _run(288, 195, 97))

    assert [row.adjusted for row in report.rows] == holm([row.p for row in report.rows])
    assert [row.p for row in report.rows] == [1.0, 2.0**-12, 2.0**-5, 2.0**-3]


@pytest.mark.parametrize(("flips", "code"), [(99, 0), (100, 1)])
def test_a_drop_below_min_effect_is_no_regression(flips, code):
    """With 10,000 examples 99 flips are certain, but .99 points are not worth failing for; 1 point is."""
    n = 10_000
    before = [_result(_done(6000, right=n, n=n), n=n)]
    after = [_result(_done(6000 - flips, right=n, n=n), n=n)]

    report = compare(before, after, min_effect=0.01)

    assert report.rows[1].adjusted < 1e-20
    assert report.exit_code == code


def test_a_drop_of_standard_accuracy_fails():
    """A defense that got worse on clean images is caught, once per defense."""
    report = compare(_run(100, 100, right=500), _run(100, 100, right=450))

    assert report.exit_code == 1
    assert [row.title for row in report.rows if "standard" in row.title] == ["at, standard accuracy"]
    assert [row.title for row in report.regressions] == ["at, standard accuracy"]


def test_counts_of_draws_are_compared_by_sign_flip():
    """Every example loses one draw of ten: no majority changes, yet p = 2^-n and 10 points are gone."""
    n = 40
    clean = np.full(n, 10, np.uint8)
    before, after = (
        [_result(Done(Verdicts(10, clean, np.full(n, count, np.uint8))), draws=10, n=n)] for count in (9, 8)
    )

    report = compare(before, after, allow_underpowered=True)

    assert report.rows[1].drop == pytest.approx(0.1)
    assert report.rows[1].p == pytest.approx(2.0**-n, rel=1e-12)
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: _changed(r, "attack", config={"steps": 40}), "attack.steps 20 -> 40"),
        (lambda r: _changed(r, "attack", config={"steps": 20, "eot": 5}), "attack.eot unset -> 5"),
        (lambda r: _changed(r, "attack", config={}), "attack.steps 20 -> unset"),
        (
            lambda r: _changed(r, "slice", digest="f" * 64),
            "no image in common: n 512 -> 512, digest eeeeeeeeeeee -> ffffffffffff",
        ),
        (lambda r: _changed(r, draws=10), "draws 1 -> 10"),
        (lambda r: _changed(r, seed=7), "seed 0 -> 7"),
        (lambda r: _changed(r, seed=7, draws=10), "draws 1 -> 10, seed 0 -> 7"),
    ],
)
def test_another_measurement_is_refused(change, why):
    """Exit 2 with the key and both values: other images, draws, seed or attack parameters."""
    before = [_result(_done(300))]

    report = compare(before, [change(before[0])])

    assert report.exit_code == 2
    assert report.lines == [
        f"not comparable: at x pgd-20 (Linf:0.2): {why}",
        "gate: refused, baseline and candidate are not comparable",
    ]
    assert report.rows[0].line == "at x pgd-20 (Linf:0.2): not comparable"


def _with_images(results, names, digest):
    return [_changed(result, "slice", n=len(names), digest=digest, examples=tuple(names)) for result in results]


def test_a_shorter_run_is_compared_on_the_images_it_shares():
    """16 images of the 512 of the baseline: comparable, but too few to have seen anything."""
    names = [f"image-{i}" for i in range(N)]
    before = _with_images(_run(300), names, "e" * 64)
    after = _with_images([_result(_done(16, right=16, n=16))], names[:16], "f" * 64)
    after = [_changed(result, "attack", label="attack-0") for result in after]

    report = compare(before, after)

    assert report.exit_code == 4
    assert [row.n for row in report.gated] == [16, 16]
    assert "only the 16 images both sides have are compared" in report.notes


def test_images_are_paired_by_name_and_content_not_by_place():
    """The candidate holds the same images in reverse: the 200 it lost are found, no others."""
    names = [f"image-{i}" for i in range(N)]
    reverse = Done(Verdicts(1, np.ones(N, np.uint8), (np.arange(N)[::-1] < 100).astype(np.uint8)))
    before = _with_images(_run(300), names, "e" * 64)
    after = _with_images([_changed(_result(reverse), "attack", label="attack-0")], names[::-1], "f" * 64)

    (row,) = [row for row in compare(before, after).gated if "attack" in row.title]

    assert row.drop == pytest.approx(200 / N)
    assert row.p == pytest.approx(2.0**-200)


def test_new_code_is_what_a_gate_is_for():
    """Another defense digest is the point of the comparison; another attack digest only deserves a note."""
    before = _run(300)
    after = [_changed(_changed(before[0], "defense", digest="new"), "attack", digest="new")]

    report = compare(before, after)

    assert report.exit_code == 0
    assert report.notes == ("attack-0 is another version than the baseline's: a drop may come from the attack",)
    assert f"note: {report.notes[0]}" in report.lines
    assert compare(before, [_changed(before[0], "defense", digest="new")]).notes == ()


@pytest.mark.parametrize("baseline", [[], [_result(Skipped("no such pair"))]], ids=["empty", "skipped"])
def test_an_empty_baseline_is_never_green(baseline):
    """Nothing to hold means nothing was checked: exit 2."""
    report = compare(baseline, _run(300))

    assert report.exit_code == 2
    assert report.lines[0] == "not comparable: the baseline has no cell to hold: run it first"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (_done(300), Failed("out of\nmemory"), "failed in the candidate: out of memory"),
        (_done(300), None, "missing in the candidate"),
        (_done(300), Skipped("not defined"), "skipped in the candidate: not defined"),
        (Failed("boom"), _done(300), "failed in the baseline: boom"),
        (None, _done(300), "missing in the baseline"),
    ],
)
def test_a_cell_without_verdicts_is_refused(before, after, why):
    """Exit 3: a cell that broke is never dropped, whatever the others say."""
    others = _run(300)

    report = compare([*others, _result(before)], [*others, _result(after)])

    assert report.exit_code == 3
    assert report.lines[0] == f"absent: at x pgd-20 (Linf:0.2): {why}"
    assert report.lines[-1] == "gate: refused, cells failed or are missing"
    assert [row.verdict for row in report.rows] == ["ok", "ok", "absent"]


def test_a_cell_the_candidate_does_not_know_is_refused():
    """Leaving a cell out of the candidate does not get it through."""
    report = compare(_run(300, 200), _run(300))

    assert report.exit_code == 3
    assert report.absent == ("at x attack-1 (Linf:0.2): missing in the candidate",)


@pytest.mark.parametrize("after", [_done(3), Skipped("no"), Failed("boom"), None])
def test_a_cell_skipped_in_the_baseline_is_ignored(after):
    """There is nothing to hold it to."""
    others = _run(300)

    report = compare([*others, _result(Skipped("no such pair"))], [*others, _result(after)])

    assert report.exit_code == 0
    assert len(report.rows) == 2


def test_cells_without_a_baseline_are_counted_in_a_note():
    """New attacks are welcome, not gated, and not passed over in silence."""
    report = compare(_run(300), [*_run(300, 10), _result(Skipped("no"), threat=L2)])

    assert report.exit_code == 0
    assert report.notes == ("1 cell of the candidate has no baseline and is not gated: at x attack-1 (Linf:0.2)",)


@pytest.mark.parametrize(("count", "end"), [(2, "attack-1 (Linf:0.2), at x attack-2 (Linf:0.2)"), (5, ""), (8, "")])
def test_the_first_five_cells_that_are_not_gated_are_named(count, end):
    (note,) = compare(_run(300), _run(300, *[10] * count)).notes

    assert note.startswith(f"{count} cells of the candidate have no baseline and are not gated: at x attack-1 (Linf")
    assert note.count("at x ") == min(count, 5)
    assert note.endswith(" and 3 more" if count == 8 else end or "at x attack-5 (Linf:0.2)")


def test_an_archive_of_both_sides_is_one_cell_that_is_not_gated():
    archive = _changed(_result(_done(100), attack="import:smith"), "attack", access=ACCESS)

    assert compare(*[[*_run(300), archive]] * 2).notes == (
        "1 cell of archives of others is not gated: at x import:smith (Linf:0.2)",
    )


def test_after_an_improvement_the_conclusion_says_how_the_baseline_is_raised():
    """Only of a gate that passes: a baseline that is raised beside a regression would hold that, too."""
    advice = "; 1 improved: raise the baseline with 'bench baseline update'"

    assert compare(_run(200, 300), _run(260, 300)).conclusion == f"gate: no regression in 3 cells{advice}"
    assert "improved" not in compare(_run(200, 300), _run(260, 200)).conclusion
    assert "improved" not in compare(_run(200, 300), _run(200, 300)).conclusion


def test_trouble_is_reported_in_order_of_how_little_can_be_said():
    """Not comparable before absent before regression before underpowered before green."""
    small = 20
    drop = [_result(_done(15, right=small, n=small), n=small), _result(_done(0, right=small, n=small), n=small)]
    other = _result(_done(300), attack="other")
    lost = _result(_done(300), attack="lost")

    codes = [
        compare([drop[0], other, lost], [drop[1], _changed(other, seed=9)]).exit_code,
        compare([drop[0], lost], [drop[1]]).exit_code,
        compare([drop[0]], [drop[1]]).exit_code,
        compare([drop[0]], [drop[0]]).exit_code,
        compare([drop[0]], [drop[0]], allow_underpowered=True).exit_code,
    ]

    assert codes == [2, 3, 1, 4, 0]


def test_a_gate_that_could_not_see_says_so():
    """20 examples cannot show a drop of 15 points: exit 4 and the remedy, unless it is allowed."""
    results = [_result(_done(15, right=20, n=20), n=20)]

    report, allowed = (compare(results, results, allow_underpowered=flag) for flag in (False, True))

    assert report.exit_code == 4
    assert report.lines[-1].startswith("gate: UNDERPOWERED, a drop of 15.0 points could pass unseen: raise n")
    assert allowed.exit_code == 0
    assert allowed.lines[-1].endswith("allowed")


def test_too_few_examples_to_reject_anything_are_no_gate():
    """Seven examples can never reach p <= .005: no drop would be caught."""
    results = [_result(_done(7, right=7, n=7), n=7)]

    report = compare(results, results)

    assert report.exit_code == 4
    assert report.lines[0] == "n=7, 2 cells: no drop would be caught 80 % of the time"


def test_the_report_says_what_the_statistics_say():
    """36 cells of 128 examples: the smallest drop of the worst cell at alpha / 36."""
    results = [_result(_done(70, right=100, n=128), n=128, attack=f"a{i}") for i in range(35)]

    report = compare(results, results)

    assert len(report.gated) == 36
    assert report.detectable == smallest_detectable_drop(128, 0.01 / 36, min_effect=0.01)
    points = f"{100 * report.detectable:.1f}"
    assert report.lines[0] == f"n=128, 36 cells: drops of {points} points or more would be caught 80 % of the time"


def test_slices_of_several_sizes_are_told_by_their_range():
    """The drop quoted is that of the cell with the least evidence."""
    results = [_result(_done(100, right=n, n=n), n=n, defense=f"d{n}") for n in (200, 512)]

    report = compare(results, results)

    assert report.detectable == smallest_detectable_drop(200, 0.01 / 4, min_effect=0.01)
    assert report.lines[0].startswith("n=200 to 512, 4 cells: drops of")


def test_noise_widens_what_could_have_been_seen():
    """Examples that flip both ways for no reason hide a drop; those that flip one way are the drop."""
    noisy = np.zeros(N, np.uint8)
    noisy[10:310] = 1  # ten flips each way against the first 300
    clean = np.ones(N, np.uint8)
    after = [_result(Done(Verdicts(1, clean, noisy)))]

    quiet, drop, both = (
        compare([_result(_done(300))], x) for x in ([_result(_done(300))], [_result(_done(200))], after)
    )

    assert quiet.detectable == drop.detectable < both.detectable
    assert both.detectable == smallest_detectable_drop(N, 0.005, noise=20 / N, min_effect=0.01)


@pytest.mark.parametrize("name", ["alpha", "min_effect", "must_detect"])
@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_a_share_out_of_range_is_named(name, value):
    """One point is .01, not 1: the message says so."""
    with pytest.raises(BenchError, match=f"{name}={value} is out of range: write a share such as 0.01"):
        compare(_run(300), _run(300), **{name: value})


@pytest.mark.parametrize("settings", [{"alpha": 0}, {"alpha": 1}, {"must_detect": 0}])
def test_a_share_that_makes_no_gate_is_refused(settings):
    """alpha 0 never fails and alpha 1 always does."""
    with pytest.raises(BenchError, match="out of range"):
        compare(_run(300), _run(300), **settings)


def test_two_results_for_one_place_are_refused():
    """Which of two seeds is the baseline would be a guess."""
    twice = [*_run(300), _changed(_run(300)[0], seed=1)]

    with pytest.raises(BenchError, match="the baseline holds two results for at x attack-0"):
        compare(twice, _run(300))
    with pytest.raises(BenchError, match="the candidate holds two results for at x attack-0"):
        compare(_run(300), twice)


def _stochastic_run(generator, robustness):
    """Ten draws per example and attack of defenses whose true robustness is given, `[attacks, n]`."""
    n = robustness.shape[1]
    clean = np.full(n, 10, np.uint8)
    return [
        _result(
            Done(Verdicts(10, clean, generator.binomial(10, chances).astype(np.uint8))), attack=f"a{i}", draws=10, n=n
        )
        for i, chances in enumerate(robustness)
    ]


def test_an_unchanged_stochastic_defense_raises_no_more_alarms_than_alpha():
    """300 gates of six cells at alpha .1: false alarms stay within four standard errors of 10 %, per run."""
    generator = np.random.default_rng(11)
    robustness = generator.beta(1.0, 0.7, size=(6, 128))
    runs, alpha = 300, 0.1

    alarms = sum(
        compare(
            _stochastic_run(generator, robustness),
            _stochastic_run(generator, robustness),
            alpha=alpha,
            min_effect=0,
            allow_underpowered=True,
        ).exit_code
        == 1
        for _ in range(runs)
    )

    assert 0 < alarms <= runs * alpha + 4 * np.sqrt(runs * alpha * (1 - alpha))


@pytest.mark.parametrize("kind", ["everywhere", "some-examples"])
def test_a_stochastic_drop_of_the_promised_size_is_caught_as_often_as_promised(kind):
    """The report promises 80 %, whether all examples lose a little or some lose everything."""
    generator = np.random.default_rng(12)
    robustness = generator.beta(1.0, 0.7, size=(3, 256)) * 0.9 + 0.1
    promised = compare(_stochastic_run(generator, robustness), _stochastic_run(generator, robustness)).detectable
    dropped = robustness.copy()
    if kind == "everywhere":
        dropped[1] *= 1 - promised / robustness[1].mean()
    else:
        dropped[1, robustness[1].cumsum() <= 256 * promised] = 0

    reports = [compare(_stochastic_run(generator, robustness), _stochastic_run(generator, dropped)) for _ in range(100)]

    caught = np.mean(["at x a1 (Linf:0.2)" in [row.title for row in report.regressions] for report in reports])
    assert 0.05 < promised < 0.08
    assert caught >= 0.8


@pytest.mark.parametrize("side", ["baseline", "candidate"])
def test_a_part_that_was_run_again_with_other_weights_is_no_whole(side):
    """Weights changed and only one attack run again: 19.5 points were lost and the gate said 0."""
    whole = _run(300, 200, 100)
    mixed = [_changed(whole[0], "defense", digest="f" * 64), *whole[1:]]

    report = compare(*((mixed, whole) if side == "baseline" else (whole, mixed)))

    assert report.exit_code == 2
    assert report.not_comparable[0].startswith(
        f"the {side} holds 2 different defenses called 'at' (ffffffff: attack-0; at: attack-1, attack-2)"
    )


def test_new_weights_that_were_run_as_a_whole_are_what_a_gate_is_for():
    """All cells are of the new defense: compared, and failed for the drop."""
    new = [_changed(each, "defense", digest="f" * 64) for each in _run(200, 200)]

    assert compare(_run(300, 200), new).exit_code == 1


def test_another_search_format_is_neither_a_regression_nor_an_improvement():
    """bfloat16 flips examples at the boundary: the same defense, 35 or 34 of 48."""
    half = [_changed(result, precision="bfloat16 channels-last / float32") for result in _run(200)]

    report = compare(_run(300), half)

    assert report.exit_code == 2
    assert "searched in float32 -> bfloat16 channels-last / float32" in report.not_comparable[0]
    assert report.regressions == []


def test_how_many_draws_share_a_forward_is_noise():
    batched = [_changed(result, precision="float32 / 160 rows") for result in _run(300)]

    assert compare(_run(300), batched).exit_code == 0


def test_a_part_that_another_protocol_made_does_not_pass_for_the_present_one():
    """Only one attack was run again after the harness changed."""
    first, second = _run(300, 200)

    report = compare([first, second], [_changed(first, protocol="2"), second])

    assert report.exit_code == 2
    assert "by protocol 2: attack-0" in report.not_comparable[0]


def test_an_improvement_is_named_and_never_fails():
    """The same pairs, looked at from the other side."""
    report = compare(_run(200, 300), _run(260, 250))

    assert [row.verdict for row in report.rows] == ["ok", "improvement", "regression"]
    assert report.rows[1].rise == pytest.approx(3 * mcnemar(60, 0))
    assert report.exit_code == 1
    assert "improvement at x attack-0 (Linf:0.2): 39.1 % -> 50.8 % (rise 11.7 points" in "\n".join(report.lines)
    assert compare(_run(200), _run(260)).exit_code == 0


@pytest.mark.parametrize(("flips", "verdict"), [(8, "ok"), (9, "improvement")])
def test_an_improvement_is_as_hard_to_claim_as_a_regression(flips, verdict):
    """Five tests at alpha .01, as in the test of the family above."""
    before = [_result(_done(300), attack=name) for name in "abcd"]
    after = [_result(_done(300 + (flips if name == "a" else 0)), attack=name) for name in "abcd"]

    assert compare(before, after).rows[1].verdict == verdict


def test_improvements_do_not_hide_a_regression():
    """They are a family of their own: nine flips are found beside three that rose as beside three that stayed."""
    rose = compare(_run(300, 300, 300, 300), _run(291, 400, 400, 400))
    stayed = compare(_run(300, 300, 300, 300), _run(291, 300, 300, 300))

    assert [row.adjusted for row in rose.regressions] == [row.adjusted for row in stayed.regressions]
    assert len(rose.regressions) == 1


BLOCK = Finding("S05", "block", "1", "0", "S05: answers depend on the batch")


@pytest.mark.parametrize("side", ["baseline", "candidate"])
@pytest.mark.parametrize("outcome", [_done(300), None], ids=["despite", "not computed"])
def test_a_number_that_a_check_blocks_is_none(side, outcome):
    """Nor are the other numbers of that defense; another defense is compared."""
    whole = [*_run(300, 200), _result(_done(100), defense="ap")]
    blocked = [replace(whole[0], outcome=outcome, findings=(BLOCK,)), *whole[1:]]

    report = compare(*((blocked, whole) if side == "baseline" else (whole, blocked)))

    assert report.exit_code == 3
    assert report.absent == tuple(
        f"at x attack-{i} (Linf:0.2): blocked in the {side}: S05: answers depend on the batch" for i in (0, 1)
    )
    assert [row.title for row in report.gated] == ["ap, standard accuracy", "ap x pgd-20 (Linf:0.2)"]
    if side == "candidate":
        assert [standing.accuracy for standing in report.standings] == [None, 100 / N]


def test_a_flag_is_told_and_changes_no_verdict():
    flag = Finding("A05", "flag", "1", "0", "A05: found and not returned", ("attack-0",))
    flagged = [replace(result, findings=(flag,)) for result in _run(300, 200)]

    report = compare(_run(300, 200), flagged)

    assert report.exit_code == 0
    assert report.notes == ("numbers of at are flagged by A05: 'bench table --checks' says why",)
    assert compare(_run(300, 200), flagged[1:]).notes == ()  # it is not about this attack


def test_the_worst_case_of_the_candidate_stands_by_itself():
    """Per image, and only an upper bound while an attack is missing."""
    report = compare(_run(300, 200), _run(300, 180))
    partial = compare(_run(300, 200), [*_run(300, 180), _result(None, attack="more")])

    assert report.standings == (Standing("at", 180 / N, bound=False),)
    assert partial.standings == (Standing("at", 180 / N, bound=True),)


def test_floors_and_the_comparison_are_one_verdict():
    floors = [parse_floor("at/attack-0=0.5"), parse_floor("at/worst-all=0.5")]

    report = compare(_run(300, 200), _run(300, 200), floors=floors)

    assert [row.verdict for row in report.floors] == ["ok", "below"]
    assert report.exit_code == 1
    assert report.lines[-1] == "gate: 0 of 3 cells regressed, 1 of 2 floors broken"
    assert compare(_run(300), [*_run(300), _result(None)], floors=[parse_floor("at/pgd-20=0")]).exit_code == 3


def test_floors_do_without_a_baseline_and_promise_nothing_about_drops():
    held = compare(None, _run(300), floors=[parse_floor("at/attack-0=0.5")])
    broken = compare(None, _run(300), floors=[parse_floor("at/attack-0=0.6")])

    assert (held.exit_code, broken.exit_code) == (0, 1)
    assert (held.rows, held.underpowered) == ((), False)
    assert held.lines[-1] == "gate: 1 floor held"


def test_the_time_that_measuring_took_is_told():
    """Of the candidate's cells; standard accuracy comes with them."""
    report = compare(_run(300, 200), _run(300, 200), seconds=lambda cell: float(cell.attack.label[-1]) + 1)

    assert [row.seconds for row in report.rows] == [0, 1, 2]


@pytest.mark.parametrize("side", [0, 1])
def test_a_block_that_an_archive_brings_to_light_refuses_the_gate(side):
    """The archive itself is not gated, but NaN answers to its images leave the defense without a number."""
    archive = _changed(_result(_done(300), attack="import:smith"), "attack", access=ACCESS)
    blocks = Finding("S01", "block", "3/512", "0", "S01: 3/512 images of import:smith give NaN/Inf logits")
    sides = [_run(300), _run(300)]
    assert compare(*[[*each, archive] for each in sides]).exit_code == 0
    sides[side] = [*sides[side], replace(archive, findings=(blocks,))]

    report = compare(*sides)

    assert report.exit_code == 3
    assert blocks.message in report.absent[0]


def test_the_badge_has_a_bound_where_parts_of_an_attack_found_no_gradient():
    (found,) = _run(300)
    lost = replace(found, outcome=replace(found.outcome, evidence=Evidence(unable=("fab-t",))))

    assert compare([found], [found]).standings == (Standing("at", 300 / N),)
    assert compare([lost], [lost]).standings == (Standing("at", 300 / N, bound=True),)


def test_a_candidate_without_a_gradient_has_not_improved():
    """What Square alone leaves of a masked defense is above what AutoAttack left of the baseline: no green gate."""
    whole, masked = _result(_done(200), attack="autoattack"), _result(_done(400), attack="autoattack")
    masked = replace(masked, outcome=replace(masked.outcome, evidence=Evidence(unable=("apgd-ce", "fab-t"))))

    report = compare([whole], [masked])

    assert (report.exit_code, report.improvements) == (2, [])
    assert report.not_comparable == (
        "at x autoattack (Linf:0.2): parts of the attack without a gradient none -> apgd-ce, fab-t",
    )
    assert compare([masked], [whole]).exit_code == 2
    assert compare([masked], [masked]).exit_code == 0


def test_the_badge_quotes_what_an_archive_of_others_leaves():
    """300 of 512 under the attacks here, 100 under an archive: the table has both, a badge has room for the lower."""
    archive = _changed(_result(_done(100), attack="import:smith"), "attack", access=ACCESS)

    assert compare(_run(300), [*_run(300), archive]).standings == (Standing("at", 100 / N),)
    assert compare(_run(300), _run(300)).standings == (Standing("at", 300 / N),)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (None, "missing in the candidate"),
        (Failed("RuntimeError: out of luck"), "failed in the candidate: RuntimeError"),
    ],
)
@pytest.mark.parametrize("held", ["baseline", "floor"])
def test_a_failed_cell_that_nothing_holds_fails_if_that_is_asked_for(outcome, why, held):
    """One report decides: a status that something else raised would leave green reports beside a red check."""
    candidate = [*_run(300), _result(outcome, attack="new"), _result(Skipped("no such pair"), attack="other")]
    floors = (parse_floor("at/attack-0=0.1"),) if held == "floor" else ()
    baseline = _run(300) if held == "baseline" else None

    lenient = compare(baseline, candidate, floors=floors)
    strict = compare(baseline, candidate, floors=floors, no_failed=True)

    assert (lenient.exit_code, strict.exit_code) == (0, 3)
    (row,) = [row for row in strict.rows if row.verdict == "absent"]
    assert (row.title, row.dataset) == ("at x new (Linf:0.2)", "digits")
    assert row.reason.startswith(why)
    assert strict.absent == (f"{row.title}: {row.reason}",)
    assert compare(baseline, _run(300), floors=floors, no_failed=True).exit_code == 0


def test_a_cell_that_is_held_and_failed_is_told_once():
    failed = [_result(Failed("boom"), attack="attack-0")]

    assert compare(_run(300), failed, no_failed=True).absent == compare(_run(300), failed).absent


def test_a_blocked_cell_that_was_never_computed_fails_with_the_message_of_the_check():
    blocks = Finding("S01", "block", "3/512", "0", "S01: NaN logits")
    new = replace(_result(None, attack="new", defense="other"), findings=(blocks,))

    report = compare(_run(300), [*_run(300), new], no_failed=True)

    assert report.exit_code == 3
    assert report.absent == ("other x new (Linf:0.2): blocked in the candidate: S01: NaN logits",)


def test_an_attack_that_knew_the_draws_is_not_gated():
    """Whatever happens to its number, the gate is green, and says that it did not look."""
    before, after = (_changed(_result(_done(k), attack="known-draws"), "attack", known_draws=True) for k in (300, 0))

    report = compare([*_run(300), before], [*_run(300), after])

    assert report.exit_code == 0
    assert report.notes == ("1 cell whose draws were known is not gated: at x known-draws (Linf:0.2)",)
    assert compare([before], [after]).exit_code != 0, "a baseline without another cell holds nothing"
