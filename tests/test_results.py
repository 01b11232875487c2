"""What is published under `results/` is what its verdicts say."""

import re
from pathlib import Path

import pytest

from bench.cli import main

ROOT = Path(__file__).parents[1]
CIFAR = ROOT / "results" / "cifar10"


def test_the_table_is_what_is_printed_of_the_verdicts(capsys):
    assert main(["table", "--results", str(CIFAR), "--format", "markdown"]) == 0

    assert capsys.readouterr().out == (CIFAR / "table.md").read_text()


def test_the_csv_is_what_is_exported_of_the_verdicts(tmp_path):
    assert main(["leaderboard", "--results", str(CIFAR), "--csv", str(tmp_path / "again.csv")]) == 0

    assert (tmp_path / "again.csv").read_bytes() == (CIFAR / "leaderboard.csv").read_bytes()


@pytest.mark.parametrize("name", ["standard", "at", "ap", "atop"])
def test_every_number_of_the_summary_is_in_the_table(name):
    """Rounded as there, none made up."""
    summary, table = ((CIFAR / file).read_text() for file in ("README.md", "table.md"))
    told = [line for line in summary.splitlines() if re.match(rf"\| `{name}`", line)]
    told += [line for line in summary.splitlines() if name == "atop" and line.startswith("| worst-of-10")]
    known = set(re.findall(r"\d+\.\d", "".join(line for line in table.splitlines() if line.startswith(f"| {name} "))))

    numbers = [number for line in told for cell in line.split("|")[2:] for number in re.findall(r"\d+\.\d", cell)]
    assert numbers
    assert set(numbers) <= known
