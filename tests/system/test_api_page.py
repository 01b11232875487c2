"""docs/api.md and the notebook of the README: what they show runs, and what they list is what there is."""

import dataclasses
import gc
import inspect
import re
import sys
from pathlib import Path

import pytest

import bench
from bench.catalogue.options import BY_NAME, RunOptions, variable
from bench.results.frame import COLUMNS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


# `evaluate` keeps a temporary folder as long as its results; that it goes with them is no leak.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")


def blocks(page):
    """The Python of a page, block by block, in order."""
    return re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)


def run(block, names, where):
    exec(compile(block, where, "exec"), names)  # noqa: S102  (pages of ours)


@pytest.fixture
def names():
    """The names of a page; its results go with them, before the filter above does."""
    found = {"__name__": "page"}
    yield found
    found.clear()
    gc.collect()


@pytest.fixture
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    for name in BY_NAME:
        monkeypatch.delenv(variable(name), raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("_elsewhere")
def test_every_block_of_the_page_runs_after_those_before_it(names):
    found = blocks(PAGE)

    assert len(found) >= 10
    for index, block in enumerate(found):
        run(block, names, f"docs/api.md, block {index + 1}")


@pytest.mark.slow
@pytest.mark.usefixtures("_elsewhere")
def test_the_notebook_of_the_readme_ends_with_a_plot_of_autoattack_on_64_digits(names):
    """matplotlib is no requirement: where it is missing everything but the plot has run."""
    (block,) = blocks(README)
    plots = [line for line in block.splitlines() if ".plot" in line]
    rest = "\n".join(line for line in block.splitlines() if line not in plots)

    run(rest, names, "README.md")

    frame = names["frame"]
    attacked = frame[frame["column"] == "attack"]
    assert len(plots) == 1
    assert set(attacked["attack"]) == {"autoattack"}
    assert set(frame["n"]) == {64}
    assert attacked["accuracy"].is_monotonic_decreasing
    pytest.importorskip("matplotlib")
    run(plots[0], names, "README.md")
    figure = sys.modules["matplotlib.pyplot"].gcf()
    assert [bar.get_height() for bar in figure.axes[0].patches] == attacked["accuracy"].tolist()
    sys.modules["matplotlib.pyplot"].close("all")


def options_table():
    """The options as the page shows them, a row for each field of the record."""
    rows = []
    for name, each in BY_NAME.items():
        default = each.metadata["short"] or ("" if each.default in ("", None) else f"`{each.default}`")
        help_ = each.metadata["help"].replace("|", "\\|")
        where = f"`{variable(name)}`" if variable(name) else "must be typed"
        rows.append(f"| `{name}` | {default} | {where} | {help_} |")
    return "\n".join(["| option | default | environment | |", "|---|---|---|---|", *rows])


def test_the_table_of_options_is_the_one_of_the_record():
    assert options_table() in PAGE, f"put this into docs/api.md:\n\n{options_table()}\n"
    assert len(BY_NAME) == len(dataclasses.fields(RunOptions))


@pytest.mark.parametrize("name", bench.__all__)
def test_the_page_says_what_every_public_name_is(name):
    assert f"bench.{name}" in PAGE


def public(of):
    """What a class has of ours, its bases included."""
    own = {name for each in of.__mro__ if each.__module__.partition(".")[0] == "bench" for name in vars(each)}
    return sorted(name for name in {*own, *getattr(of, "__dataclass_fields__", ())} if not name.startswith("_"))


@pytest.mark.parametrize("name", public(bench.Results))
def test_the_page_says_what_every_part_of_results_returns(name):
    """In the table: with its parameters where it is a method."""
    member = inspect.getattr_static(bench.Results, name, None)
    section = PAGE.split("\n## Results\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    said = [row for row in rows if re.search(rf"`{name}\b", row)]

    assert len(said) == 1
    assert (f"`{name}(" in said[0]) == inspect.isfunction(member)


@pytest.mark.parametrize("name", [*public(bench.Defense)])
def test_the_page_says_what_every_field_of_a_defense_holds(name):
    assert re.search(rf"^\| .*`{name}`.* \| ", PAGE, re.M)


def test_the_page_names_every_column_of_the_data_frame():
    section = PAGE.split("Columns of `to_pandas()`")[1].split("\n\n")[0]

    assert set(COLUMNS) <= set(re.findall(r"`([\w-]+)`", section))


def test_every_argument_of_evaluate_has_a_row():
    section = PAGE.split("## Evaluate a model in memory")[1].split("\n### ")[0]
    parameters = inspect.signature(bench.evaluate).parameters.values()
    named = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]

    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == named
