"""A history as a table and as files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from bench.report.history_points import follow
from bench.results.outcome import Failed
from tests.report.histories import BLOCK, result, stage


def test_a_flagged_number_carries_its_mark():
    flagged = replace(result(120), findings=(replace(BLOCK, verdict="flag"),))

    assert "60.0!" in str(follow([stage(flagged)]))


def test_names_of_users_are_harmless_everywhere(tmp_path):
    """Terminal sequences, line breaks, formulas: in labels, in the names of stages, in errors."""
    hostile = "\x1b[2J\nFAKE =cmd|x"
    one = replace(result(120, label=hostile, attack=f"=1+1{hostile}"), outcome=Failed(hostile))
    found = follow(
        [stage(one, result(3, label="@x"), name=f"=x {hostile}", when="2026-01-01T00:00:00"), stage(name=hostile)]
    )

    text = str(found)
    path = found.to_csv(tmp_path / "h.csv")

    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line.startswith("FAKE")]
    with path.open(newline="") as file:
        cells = [value for line in csv.DictReader(file) for value in line.values()]
    assert not [value for value in cells if value.startswith(("=", "@", "+")) or "\n" in value]
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["stages"][1]["name"] == hostile


def test_the_files_say_what_the_table_says(tmp_path):
    found = follow([stage(result(150), name="x"), stage(result(90, digest="new"), name="y", when="2026-01-01")])

    with found.to_csv(tmp_path / "h.csv").open(newline="") as file:
        line = [each for each in csv.DictReader(file) if each["attack"]][1]
    told = next(each for each in found.to_json()["rows"] if each["attack"])["points"][1]
    assert (line["accuracy"], line["name"], line["at"], line["changed"], line["verdict"]) == (
        "45.00",
        "y",
        "2",
        "defense",
        "fell",
    )
    assert (told["accuracy"], told["name"], told["at"], told["changed"], told["verdict"]) == (
        45.0,
        "y",
        2,
        ["defense"],
        "fell",
    )
    assert float(line["drop"]) == told["drop"] == 30.0
    assert float(line["p"]) == pytest.approx(told["p"], rel=1e-2)
