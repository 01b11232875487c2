"""What results print and write."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import bench
from bench.report.render import STYLES


def test_the_frame_and_the_plain_data_say_what_accuracy_says(results):
    """In percent; `NaN` and `None` where there is none."""
    frame = results.to_pandas()
    (group,) = results.to_json()
    json.dumps(group, allow_nan=False)

    assert (group["dataset"], group["n"], group["seed"]) == ("own", 24, 0)
    assert len(group["rows"]) == len(frame) == 2 * (1 + 4 + 3)
    for told, line in zip(group["rows"], frame.to_dict("records"), strict=True):
        assert told["defense"] == line["defense"]
        if told["column"] == "attack":
            value = 100 * results.accuracy(told["defense"], told["attack"], told["threat"]).value
            assert told["accuracy"] == line["accuracy"] == pytest.approx(value, abs=0.005)
            assert told["low"] < told["accuracy"] < told["high"]
        if told["column"] == "worst-seen":
            assert told["accuracy"] is None
            assert np.isnan(line["accuracy"])


def test_the_same_results_are_the_same_bytes(results, tmp_path):
    """In whatever order they come."""
    backward = bench.Results(results.cells[::-1], results.store)

    assert results.to_csv(tmp_path / "a.csv").read_bytes() == backward.to_csv(tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_the_table_has_every_number(results, style):
    told = results.table(style)

    for defense in ("one", "two"):
        for value in (results.accuracy(defense), results.accuracy(defense, "fgsm", "L2:0.2"), results.worst(defense)):
            assert f"{100 * value.value:.1f}" in told


def test_a_label_becomes_no_tag_in_a_notebook(results):
    """As the parameters of a file of the user's can bring one."""
    (first, *_) = results
    label = "mine[at=<b>here</b>]"
    named = replace(first, cell=replace(first.cell, defense=replace(first.cell.defense, label=label)))

    told = bench.Results((named,), results.store)._repr_html_()

    assert "mine[at=&lt;b&gt;here&lt;/b&gt;]" in told
    assert "<b>" not in told


def test_every_figure_is_of_these_results(results):
    """A panel or a row for each defense; without a sweep there is no curve, without a study no ladder."""
    pytest.importorskip("matplotlib")
    for figure in (results.plot_matrix(), results.plot_forest(), results.plot_cost()):
        told = " ".join(text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text")))
        assert "one" in told
        assert "two" in told
    for figure in (results.only(attacks="fgsm").plot_matrix(), results.only(attacks="fgsm").plot_forest()):
        told = " ".join(text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text")))
        assert "2 columns of stored attacks were left out" in " ".join(told.split())
    with pytest.raises(bench.BenchError, match="no curve"):
        results.plot_curves()
    with pytest.raises(bench.BenchError, match="no study"):
        results.plot_ladder()
