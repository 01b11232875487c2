"""The cards behind exported results: those of the very defenses that were measured, or none."""

import json
from dataclasses import replace

import pytest

from bench import api
from bench.catalogue.weights import shipped


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    options = {"attacks": "autoattack", "threat": "Linf:0.2", "n": 4, "checks": "none", "executor": "local"}
    api.run(defenses="standard,ap", results=folder, **options)
    return folder


def test_the_card_of_shipped_weights_names_the_networks(folder):
    """A purifier has two: that of the classifier behind it, and its own."""
    found = api.load(folder).to_robustbench()

    told = {place: entry["architecture"] for place, entry in found.entries.items()}
    cards = [json.loads((shipped() / "digits" / f"{name}.json").read_text()) for name in ("standard", "ap")]
    networks = [f"{card['architecture']['name']}, width {card['architecture']['width']}" for card in cards]
    assert told == {"digits/Linf/standard.json": networks[0], "digits/Linf/ap.json": " + ".join(networks)}


def test_the_numbers_are_those_of_the_results(folder):
    results = api.load(folder)

    entry = results.to_robustbench().entries["digits/Linf/standard.json"]

    assert entry["autoattack_acc"] == f"{100 * results.accuracy('standard', 'autoattack').value:.2f}"
    assert entry["clean_acc"] == f"{100 * results.accuracy('standard').value:.2f}"
    assert "unreliable" not in entry


def test_another_defense_of_that_name_has_no_card(folder):
    """As after weights were replaced: what the card says would be of other numbers."""
    results = api.load(folder)
    cells = tuple(
        replace(each, cell=replace(each.cell, defense=replace(each.cell.defense, digest="x" * 64), stored_as=("", "")))
        for each in results.only(defenses="standard")
    )

    found = replace(results, cells=cells).to_robustbench()

    assert found.entries["digits/Linf/standard.json"]["architecture"] == ""
    assert "its card was not found" in found.notes[0]
