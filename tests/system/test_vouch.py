"""What `make vouch` writes down, and what it refuses to."""

from __future__ import annotations

import json

import pytest

from bench.catalogue import versions
from bench.catalogue.versions import HARNESS, Unit
from tests import vouch

ROW = {"draws": 1, "clean": "1111", "adversarial": "1010", "passes": [100, 90]}


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Three units whose code and verdicts can be changed; nothing of the real ones is touched."""

    class Fake(Unit):
        @property
        def code(self):
            return state["code"][self.name]

    state = {
        "version": {HARNESS: 1, "attack walk": 1, "models of nobody": 1},
        "code": {HARNESS: "h", "attack walk": "a", "models of nobody": "m"},
        "rows": {"attack walk": {"at x walk": ROW}},
        "own": "o",
        "asked": [],
    }

    def golden(units, jobs=0):
        state["asked"].append({unit.name for unit in units})
        return {unit.name: state["rows"][unit.name] for unit in units if unit.name in state["rows"]}

    monkeypatch.setattr(vouch, "GOLDEN", tmp_path / "units.json")
    monkeypatch.setattr(versions, "note", lambda code: state.update(noted=dict(code)))
    monkeypatch.setattr(
        versions, "units", lambda: [Fake(name, number, ()) for name, number in state["version"].items()]
    )
    monkeypatch.setattr(vouch, "golden", golden)
    monkeypatch.setattr(vouch, "own_code", lambda unit: state["own"])
    assert vouch.vouch() == []
    return state


def answer(value):
    """Text as `behaviour.of_defense` writes it, of one part."""
    return json.dumps({"model": {"logits": [[value, 1.0]], "gradient": [[1.0, 0.0]]}})


def rows():
    return json.loads(vouch.GOLDEN.read_text())["units"]


def test_code_that_gives_the_same_verdicts_keeps_its_version(book):
    book["code"]["attack walk"] = "refactored"

    assert vouch.vouch() == []
    assert book["asked"][-1] == {"attack walk"}
    assert rows()["attack walk"] == {"version": 1, "code": "refactored", "own": "o", "golden": {"at x walk": ROW}}
    assert book["noted"]["attack walk"] == "refactored"


def test_code_that_gives_others_is_not_vouched_for_until_its_version_is_raised(book):
    book["code"]["attack walk"], book["rows"]["attack walk"] = "weaker", {"at x walk": {**ROW, "adversarial": "1111"}}

    assert vouch.vouch() == ["attack walk: at x walk: 1010 in 100+90 passes -> 1111 in 100+90 passes"]
    assert rows()["attack walk"]["code"] == book["noted"]["attack walk"] == "a"

    book["version"]["attack walk"] = 2
    assert vouch.vouch() == []
    assert rows()["attack walk"]["version"] == 2
    assert rows()["attack walk"]["golden"]["at x walk"]["adversarial"] == "1111"


def test_another_harness_has_everything_computed_again(book):
    book["code"][HARNESS], book["rows"]["attack walk"] = "other", {"at x walk": {**ROW, "adversarial": "1111"}}

    assert len(vouch.vouch()) == 1
    assert book["asked"][-1] == {HARNESS, "attack walk", "models of nobody"}
    assert rows()[HARNESS]["code"] == "h"

    book["version"][HARNESS] = 2
    assert vouch.vouch() == []
    assert rows()[HARNESS] == {"version": 2, "code": "other", "own": "o", "golden": {}}


def test_what_has_no_golden_verdicts_needs_another_version_where_its_own_code_changed(book):
    """Where only something that it imports did, the others vouch for that."""
    book["code"]["models of nobody"] = "it imports something else"
    assert vouch.vouch() == []

    book["code"]["models of nobody"], book["own"] = "and is something else", "p"
    assert vouch.vouch() == ["models of nobody: its code changed, and there are no golden verdicts of it"]


def test_a_defense_that_is_asked_with_further_parameters_has_those_answers_noted(book):
    """They were never promised; what was promised is compared as before, and nothing promised is nothing to compare."""
    book["version"]["defense wall"], book["code"]["defense wall"] = 1, "w"
    book["rows"]["defense wall"] = {"wall": answer(0.1)}
    assert vouch.vouch() == []

    book["code"]["defense wall"] = "takes a parameter"
    book["rows"]["defense wall"] = {"wall": answer(0.1), "wall[kind=brick]": answer(0.7)}
    assert vouch.vouch() == []
    assert set(rows()["defense wall"]["golden"]) == {"wall", "wall[kind=brick]"}

    book["code"]["defense wall"] = "and answers otherwise"
    book["rows"]["defense wall"] = {"wall": answer(0.5), "wall[kind=brick]": answer(0.7), "wall[kind=mud]": answer(0)}
    assert vouch.vouch() == ["defense wall: wall answers otherwise"]
    assert set(rows()["defense wall"]["golden"]) == {"wall", "wall[kind=brick]"}
    assert vouch._asked_before({}, {"wall": answer(0.1)}) == {"wall": answer(0.1)}


def test_nothing_is_computed_where_nothing_changed(book):
    assert vouch.vouch() == []
    assert book["asked"][-1] == set()


def test_a_unit_that_is_gone_is_forgotten(book):
    del book["version"]["models of nobody"]

    assert vouch.vouch() == []
    assert set(rows()) == {HARNESS, "attack walk"}
