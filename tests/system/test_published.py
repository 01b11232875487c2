"""What is published is what was measured: under `results/` what its verdicts say, in the README what was timed."""

import json
import re
from pathlib import Path

import pytest

from bench import api
from bench.catalogue import study
from bench.cli import main
from bench.report import claims
from bench.results.store import Store
from tests.report.page.reading import Page

ROOT = Path(__file__).parents[2]
CIFAR = ROOT / "results" / "cifar10"


def test_the_table_is_what_is_printed_of_the_verdicts(capsys):
    assert main(["table", "--results", str(CIFAR), "--format", "markdown"]) == 0

    assert capsys.readouterr().out == (CIFAR / "table.md").read_text()


def test_the_csv_is_what_is_exported_of_the_verdicts(tmp_path):
    assert main(["leaderboard", "--results", str(CIFAR), "--csv", str(tmp_path / "again.csv")]) == 0

    assert (tmp_path / "again.csv").read_bytes() == (CIFAR / "leaderboard.csv").read_bytes()


def test_the_page_holds_the_numbers_of_the_verdicts():
    """Not its bytes, which differ between versions of matplotlib: its tables, and the key of every cell."""
    page = Page((CIFAR / "report.html").read_bytes())
    results = api.load(CIFAR)
    frame = results.to_pandas()
    frame = frame[~frame["judged"].str.contains("majority|resubmission")]

    for row in page.tables["matrix"][2:]:
        part = frame[(frame["defense"] + frame["judged"]) == row[0]]
        shown = sorted(float(number) for number in re.findall(r"\d+\.\d", " ".join(row[1:])))
        # Rounded to one digit there, to two in the frame.
        assert shown == pytest.approx(sorted(part["accuracy"].dropna()), abs=0.056)
        assert shown
    for result in results:
        assert result.cell.key in page.text
    ranks = [(each["rank"], each["defense"], f"{each['accuracy']:.1f}") for each in results.ranks()]
    shown = [[each for each in row if each] for row in page.tables["standings"][1:]]
    assert [(row[-4], row[-3]) for row in shown] == [(label, value) for _, label, value in ranks]


@pytest.mark.parametrize("name", ["standard", "at", "ap", "atop", "atop[rt=none]"])
def test_every_number_of_the_summary_is_in_the_table(name):
    """Rounded as there, none made up."""
    summary, table = ((CIFAR / file).read_text() for file in ("README.md", "table.md"))
    told = [line for line in summary.splitlines() if line.startswith(f"| {name} (")]
    known = set(re.findall(r"\d+\.\d", "".join(line for line in table.splitlines() if line.startswith(f"| {name} "))))

    numbers = [number for line in told for cell in line.split("|")[2:] for number in re.findall(r"\d+\.\d", cell)]
    assert numbers
    assert set(numbers) <= known


@pytest.mark.parametrize("name", ["atop-claims", str(CIFAR / "claims-without-rt.toml")], ids=["shipped", "without RT"])
def test_the_claims_are_what_the_verdicts_say(name):
    """Both accuracies, the difference, p and the verdict of every line, in the order of the README."""
    stored = api.load(ROOT / "results" / "cifar10-claims")
    found = claims.comparisons(Store(ROOT / "results" / "cifar10-claims").results(), study.read(name))
    assert stored.claims(name) == stored.under(name).claims() == found
    assert stored.claims() == []

    expected = [
        [
            f"{100 * each.better.value:.1f}",
            f"{100 * each.worse.value:.1f}",
            f"{100 * each.difference:+.1f}",
            f"{each.p:.2g}",
            each.verdict,
        ]
        for each in found
    ]
    text = (CIFAR / "README.md").read_text()
    section = text[text.index(f"--study {name.replace(str(CIFAR), 'results/cifar10')} ") :].split("\n    bench run")[0]
    told = [[cell.strip() for cell in line.split("|")[3:-2]] for line in section.splitlines() if line.startswith("|")]
    assert [[cell.removesuffix("!") for cell in row] for row in told[2 : 2 + len(found)]] == expected


def test_the_readme_says_what_was_timed():
    rows = json.loads((ROOT / "performance" / "results.json").read_text())["rows"]
    times = {
        row["name"]: f"{float(row['measured'].split()[0]):g}" for row in rows if row["name"] in ("P1", "P2", "P3", "P4")
    }
    broken = next(row for row in rows if row["name"] == "P1")["table"][0][1]

    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"`autoattack` broke the same {broken} of 256 examples as pyautoattack, {times['P1']} times sooner" in text
    assert f"`core` was {times['P2']} times and `screen` {times['P3']} times faster" in text
    assert f"PGD-20 was {times['P4']} times faster than the fastest" in text
