"""docs/ci.md: its table is what the statistics say, its options are those there are, its snippets can be read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from bench.report.ci.markdown import MARKER
from bench.results.stats import smallest_detectable_drop

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

SIZES = (64, 128, 256, 512, 1000, 2000, 10_000)
CELLS = (1, 4, 10, 25, 50)
FLIPS = (0.01, 0.05)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def drops_table():
    titles = [f"{count} cell{'s' if count > 1 else ''}" for count in CELLS]
    titles += [f"10 cells, {100 * share:.0f} % flip each way" for share in FLIPS]
    rows = []
    for n in SIZES:
        drops = [smallest_detectable_drop(n, 0.01 / count, min_effect=0.01) for count in CELLS]
        drops += [smallest_detectable_drop(n, 0.01 / 10, noise=2 * share, min_effect=0.01) for share in FLIPS]
        rows.append(f"| {n} | {' | '.join(f'{100 * drop:.1f}' for drop in drops)} |")
    return "\n".join([f"| n | {' | '.join(titles)} |", "|" + "--:|" * (len(titles) + 1), *rows])


def test_the_table_of_drops_is_what_the_statistics_say():
    table = drops_table()

    assert f"<!-- smallest_detectable_drop -->\n{table}\n" in PAGE, f"put this into docs/ci.md:\n\n{table}\n"


def options_of(name):
    import typer

    from bench.cli.app import app

    command = typer.main.get_command(app)
    for word in name.split():
        command = command.commands[word]
    return {option for parameter in command.params for option in parameter.opts}


def test_every_option_of_the_gate_has_a_word_and_every_one_named_is_there():
    filters = {"--defenses", "--attacks", "--threat", "--dataset"}
    missing = (
        {each for each in options_of("gate") if each.startswith("--")} - filters - set(re.findall(r"--[\w-]+", PAGE))
    )
    known = {
        *options_of("gate"),
        *options_of("run"),
        *options_of("baseline update"),
        *options_of("table"),
        "--junitxml",
    }
    known |= set(re.findall(r'"(--bench-[\w-]+)"', (ROOT / "benchmark" / "api" / "pytest_plugin.py").read_text()))

    assert missing == set()
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", PAGE)) - known == set()


def test_every_exit_status_of_the_gate_has_a_row():
    assert re.findall(r"^\| (\d) \|", PAGE, re.M) == ["0", "1", "2", "3", "4"]


def test_every_snippet_can_be_read_by_what_it_is_for():
    (action, gitlab), (xml,), (markdown,), (badge,) = (blocks(each) for each in ("yaml", "xml", "markdown", "json"))
    (step,) = yaml.safe_load(action)
    job = yaml.safe_load(gitlab)["robustness"]
    workflow = yaml.safe_load((ROOT / "docs" / "examples" / "workflow.yml").read_text())["jobs"]["gate"]["steps"]
    copied = next(each for each in workflow if each.get("id") == "bench")

    assert step["with"] == {key: value for key, value in copied["with"].items() if key != "artifact"}
    assert step["uses"] == copied["uses"]
    assert job["artifacts"]["reports"]["junit"] in job["script"][-1]
    assert ET.fromstring(xml).find("failure").get("type") == "regression"  # noqa: S314  (a page of ours)
    assert markdown.startswith(MARKER)
    assert set(json.loads(badge)) == {"schemaVersion", "label", "message", "color", "isError"}


@pytest.mark.parametrize("title", re.findall(r"^## (.+)$", PAGE, re.M))
def test_no_section_is_empty(title):
    assert len(PAGE.split(f"## {title}\n")[1].split("\n## ")[0]) > 100


def test_the_readme_leads_here():
    assert "docs/ci.md" in README.split("## In CI")[1].split("\n## ")[0]
