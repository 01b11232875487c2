"""Published values of a study: read as printed, and mistakes named."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from bench.catalogue import study
from bench.catalogue.published import published_value
from bench.errors import BenchError

ROW = {
    "defense": "atop[rt=2,ft=off]",
    "attack": "blind[steps=100,loss=margin]",
    "threat": "linf:8/255",
    "dataset": "cifar10",
    "value": Decimal("72.80"),
    "source": "a table",
}


def without(*keys, **more):
    return {key: value for key, value in ROW.items() if key not in keys} | more


def test_names_get_the_spelling_of_labels_and_the_value_keeps_its_decimals():
    found = published_value("mine", ROW)

    assert (found.defense, found.attack) == ("atop[ft=off,rt=2]", "blind[loss=margin,steps=100]")
    assert (found.threat, str(found.value), found.n, found.verified) == ("Linf:8/255", "72.80", None, False)
    assert found.place == "blind[loss=margin,steps=100] (Linf:8/255)"
    assert json.loads(json.dumps(found.to_json()))["value"] == "72.80"


def test_a_column_needs_no_threat_and_a_label_of_a_run_is_kept():
    found = published_value("mine", without("attack", "threat", column="worst-all", defense="atop[rt=2]#mine"))

    assert (found.place, found.defense) == ("worst-all", "atop[rt=2]#mine")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("text", "no table"),
        (without(robust=1), "robust"),
        (without("source"), "source is missing"),
        (without("dataset"), "dataset is missing"),
        (without(value=Decimal("0.7285")), "looks like a share"),
        (without(value="many"), "from 0 to 100"),
        (without("attack", "threat"), "give either attack, or column"),
        (without(column="standard"), "give either attack, or column"),
        (without("attack", "threat", column="worst"), "did you mean worst-"),
        (without("attack", column="standard"), "leave threat out"),
        (without("threat"), "has no threat"),
        (without(threat="Linf"), "has no eps"),
        (without(defense="at,atop"), "are 2 names"),
        (without(n=0), "no number of examples"),
        (without(n=True), "no number of examples"),
        (without(n=10**8), "no number of examples"),
        (without(verified="yes"), "no truth value"),
        (without(source=" "), "source is empty"),
        (without(source=5), "is no text"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(row, says):
    with pytest.raises(BenchError, match=says) as error:
        published_value("mine", row)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("study 'mine', [[published]]: ")


def test_a_source_cannot_steer_a_terminal():
    found = published_value("mine", without(source="a\x1b[2J\ntable", protocol="x\ty\x07"))

    assert (found.source, found.protocol) == ("a[2J table", "x y")


def test_a_study_carries_them_in_its_order(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "defenses = 'at'\n"
        + "".join(
            f"[[published]]\ndefense = 'at'\ncolumn = 'standard'\ndataset = 'digits'\nvalue = {value}\nsource = 's'\n"
            for value in ("9.10", "100", "'8.00'")
        )
    )

    found = study.read(str(path))

    assert [str(each.value) for each in found.published] == ["9.10", "100", "8.00"]
    assert [each["value"] for each in json.loads(json.dumps(found.to_json()))["published"]] == ["9.10", "100", "8.00"]
