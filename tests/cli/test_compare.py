"""`bench compare` over the published verdicts: two defenses of a folder, or one of two folders."""

import csv
import json
from pathlib import Path

import pytest

from bench.cli import main

CIFAR, CLAIMS = (Path(__file__).resolve().parents[2] / "results" / name for name in ("cifar10", "cifar10-claims"))


def bench(*words):
    return main([str(word) for word in words])


def accuracies(label, judged):
    with (CIFAR / "leaderboard.csv").open(newline="") as file:
        return {
            (line["attack"] or line["column"], line["threat"]): float(line["accuracy"])
            for line in csv.DictReader(file)
            if (line["defense"], line["judged"]) == (label, judged) and line["accuracy"]
        }


def test_two_defenses_of_a_folder_are_compared_in_the_numbers_of_the_leaderboard(capsys):
    assert bench("compare", "at", "atop", "--results", CIFAR, "--json") == 0

    told = json.loads(capsys.readouterr().out)
    at, atop = accuracies("at", "deterministic"), accuracies("atop", "mean-of-10")
    rows = {(row["name"], row["threat"]): row for row in told["rows"]}
    assert {"standard", "autoattack", "worst-all"} <= {name for name, _ in rows}
    for place, row in rows.items():
        assert (100 * row["a"], 100 * row["b"]) == pytest.approx((at[place], atop[place]), abs=0.0051)
    assert (rows["autoattack", "Linf:8/255"]["better"], rows["standard", ""]["better"]) == ("A", "B")


def test_one_defense_of_two_folders_is_compared_with_itself(capsys):
    """The same cells in both folders: no difference, nothing separated, and every row says what would be."""
    assert bench("compare", "at", "--results", CIFAR, "--with", CLAIMS, "--attacks", "pgd-20") == 0

    out = capsys.readouterr().out
    assert out.startswith("A: at, B: at of the other folder; n=256")
    assert out.count("not separated") == 6
    assert out.count("(resolved: ") == 6


def test_attacks_are_compared_with_the_best_of_all(capsys):
    """Accuracies as published; nothing breaks an image of `at` that the composite, with its own parts, does not."""
    assert bench("compare-attacks", "--results", CIFAR, "--defenses", "at,atop", "--threat", "Linf", "--json") == 0

    told = {(row["defense"], row["attack"]): row for row in json.loads(capsys.readouterr().out)}
    at, atop = accuracies("at", "deterministic"), accuracies("atop", "mean-of-10")
    for (defense, attack), row in told.items():
        published = {"at": at, "atop": atop}.get(defense, {})
        if (attack, row["threat"]) in published:
            assert 100 * row["accuracy"] == pytest.approx(published[attack, row["threat"]], abs=0.0051)
    # Of deterministic verdicts the share follows from three published accuracies.
    standard, best = at["standard", ""], at["autoattack", "Linf:8/255"]
    expected = (standard - at["pgd-20", "Linf:8/255"]) / (standard - best)
    assert told["at", "autoattack"]["optimality"] == 1
    assert told["at", "pgd-20"]["optimality"] == pytest.approx(expected, abs=2e-3)
    assert told["atop", "pgd-20"]["optimality"] < told["atop", "pgd-eot-20"]["optimality"] < 1


def test_the_comparison_of_attacks_is_a_table_in_every_format(capsys):
    for style, mark in (("screen", "optimality"), ("markdown", "| attack"), ("latex", r"\begin{tabular}")):
        assert bench("compare-attacks", "--results", CIFAR, "--threat", "Linf", "--format", style) == 0
        assert mark in capsys.readouterr().out


def test_a_table_takes_columns_on_the_screen_and_for_a_paper(capsys):
    chosen = ("--results", CIFAR, "--columns", "standard,autoattack@Linf,worst-all", "--no-intervals")
    assert bench("table", *chosen) == 0
    screen = capsys.readouterr().out
    assert bench("table", *chosen, "--format", "latex", "--best", "--fit", "column", "--rotate") == 0
    latex = capsys.readouterr().out

    assert screen.split("\n")[2].split() == ["defense", "standard", "autoattack", "worst"]
    assert "[76.0" not in screen
    assert r"\textbf{27.7}$^{*}$" in latex
    assert "fits 229 pt (column)" in latex


def test_the_measures_of_generalization_come_as_a_table_and_as_json(capsys):
    assert bench("leaderboard", "--measures", "--results", CIFAR) == 0
    screen = capsys.readouterr().out
    assert bench("leaderboard", "--measures", "--results", CIFAR, "--json") == 0
    told = json.loads(capsys.readouterr().out)

    values = {(row["defense"], row["measure"]): row["value"] for row in told}
    at = accuracies("at", "deterministic")
    assert values["at", "worst-unseen"] == pytest.approx(at["worst-unseen", ""], abs=0.0051)
    assert values["at", "gap"] == pytest.approx(at["worst-seen", ""] - at["worst-unseen", ""], abs=0.0102)
    unseen = [
        min(value for (_, threat), value in at.items() if threat == one)
        for one in ("L2:0.5", "stadv:0.8", "recolor:0.06")
    ]
    assert values["at", "mean-unseen"] == pytest.approx(sum(unseen) / 3, abs=0.0051)
    assert values["at", "UAR Linf"] is None
    assert f"{values['at', 'mean-unseen']:.1f}" in screen
    assert "UAR Linf: 5 of 6 threat models have no number" in screen
