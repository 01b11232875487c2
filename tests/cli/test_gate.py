"""`bench gate` as CI runs it: every exit status and every format, from folders that real runs have filled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.catalogue.weights import shipped
from bench.cli import main

RUN = ["run", "--attacks", "fgsm", "--threat", "Linf:0.2", "--checks", "none", "--executor", "local"]


def bench(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The shipped `at`; the same with the weights of `standard`; the same on few images, without a cell, and failed."""
    root = tmp_path_factory.mktemp("gate")
    weights = root / "weights" / "digits"
    shutil.copytree(shipped() / "digits", weights)
    shutil.copy(weights / "standard.safetensors", weights / "at.safetensors")
    for name, more in {
        "good": ["--defenses", "at", "--n", 128],
        "weak": ["--defenses", "at", "--n", 128, "--weights", root / "weights"],
        "few": ["--defenses", "at", "--n", 16],
        "seeded": ["--defenses", "at", "--n", 128, "--seed", 1],
    }.items():
        assert bench(*RUN, *more, "--results", root / name) == 0
    shutil.copytree(root / "good", root / "same")
    shutil.copytree(root / "good", root / "lost")
    next((root / "lost").rglob("fgsm.*.json")).unlink()
    return root


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "BENCH_RESULTS"):
        monkeypatch.delenv(name, raising=False)


STORIES = {
    0: ("same", "gate: no regression in 2 cells"),
    1: ("weak", "gate: 1 of 2 cells regressed"),
    2: ("seeded", "gate: refused, baseline and candidate are not comparable"),
    3: ("lost", "gate: refused, cells failed or are missing"),
    4: ("few", "gate: UNDERPOWERED"),
}


@pytest.mark.parametrize("status", STORIES)
def test_every_status_in_every_format(folders, status, capsys):
    """One report: what the screen says, JUnit, Markdown, the badge and JSON say."""
    candidate, conclusion = STORIES[status]
    gate = ["gate", "--baseline", folders / "good", "--results", folders / candidate]
    files = ["--junit", "gate.xml", "--markdown", "gate.md", "--summary", "summary.md"]

    assert bench(*gate, *files, "--badge", "badge.svg") == status
    out = capsys.readouterr().out
    assert bench(*gate, "--json", "--badge", "badge.json") == status
    told = json.loads(capsys.readouterr().out)
    suite = ET.parse("gate.xml").getroot()[0]  # noqa: S314  (made here)

    # The terminal is as wide as a page, so the last line may be wrapped.
    assert conclusion in out.replace("\n  ", " ")
    assert told["exit_code"] == status
    assert told["conclusion"].startswith(conclusion)
    assert (int(suite.get("failures")) + int(suite.get("errors")) > 0) == (status != 0)
    assert suite.find("properties/property[@name='exit_code']").get("value") == str(status)
    assert Path("gate.md").read_text() == Path("summary.md").read_text()
    assert conclusion in Path("gate.md").read_text()
    message = json.loads(Path("badge.json").read_text())["message"]
    assert message in ET.parse("badge.svg").getroot().get("aria-label")  # noqa: S314  (made here)
    assert ("no regression" in message) == (status == 0)
    for row in told["rows"]:
        assert row["title"] in out
        assert f"<code>{row['title']}</code>" in Path("gate.md").read_text()
        assert row["title"] in {case.get("name") for case in suite.iter("testcase")}
    assert "::" not in out


def test_on_github_the_run_is_annotated_and_its_summary_written(folders, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    gate = ["gate", "--baseline", folders / "good", "--results", folders / "weak"]

    assert bench(*gate) == 1
    lines = capsys.readouterr().out.splitlines()
    assert bench(*gate, "--no-annotations") == 1
    without = capsys.readouterr().out

    errors = [line for line in lines if line.startswith("::error ")]
    assert [line.partition("::REGRESSION ")[2].partition(":")[0] for line in errors] == ["at x fgsm (Linf"]
    assert lines[0].startswith("::stop-commands::")
    assert lines.index(f"::{lines[0].removeprefix('::stop-commands::')}::") < lines.index(errors[0])
    assert "::error" not in without
    assert Path("summary.md").read_text().count("<!-- atop-bench gate -->") == 2


def test_annotations_can_be_asked_for_anywhere(folders, capsys):
    bench("gate", "--baseline", folders / "good", "--results", folders / "weak", "--annotations")

    assert "::error title=bench gate%3A regression::" in capsys.readouterr().out


def test_quietly_a_gate_that_passes_says_nothing(folders, capsys):
    assert bench("gate", "--quiet", "--baseline", folders / "good", "--results", folders / "same") == 0
    assert capsys.readouterr().out == ""
    assert bench("gate", "-q", "--baseline", folders / "good", "--results", folders / "weak") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("REGRESSION at x fgsm (Linf:0.2)")
    assert said[-1] == "gate: 1 of 2 cells regressed"


@pytest.mark.parametrize(
    ("floor", "candidate", "status"),
    [
        ("at/fgsm=0.7", "good", 0),
        ("at/fgsm@Linf:0.2=0.7", "weak", 1),
        ("at/worst-all=0.7", "weak", 1),
        ("at/standard=0.9", "weak", 0),
        ("at/fgsm=0", "lost", 3),
        ("at/standard=0", "lost", 3),
        ("at/fgsm=0.7", "few", 0),
    ],
)
def test_floors_need_no_baseline(folders, floor, candidate, status, capsys):
    assert bench("gate", "--floor", floor, "--results", folders / candidate) == status
    assert floor.partition("=")[0].partition("@")[0] in capsys.readouterr().out


def test_a_floor_and_a_baseline_fail_together(folders, capsys):
    gate = ["gate", "--baseline", folders / "good", "--results", folders / "same"]

    assert bench(*gate, "--floor", "at/fgsm=0.1", "--floor", "at/standard=0.9") == 0
    assert bench(*gate, "--floor", "at/fgsm=0.1", "--floor", "at/standard=0.999") == 1
    assert "BELOW THE FLOOR at/standard: 97.7 % < 99.9 %" in capsys.readouterr().out


def test_a_failed_cell_is_status_3_with_its_error(capsys):
    Path("flaky.py").write_text(
        "import torch\n\n\nclass Flaky(torch.nn.Module):\n    def forward(self, x):\n"
        "        if len(x) > 8:\n            raise RuntimeError('out of luck')\n"
        "        return x.flatten(1)[:, 20:30]\n\n\ndef build():\n    return Flaky()\n"
    )
    assert bench(*RUN, "--n", 20, "--defenses", "./flaky.py:build", "--results", "failed") == 3
    document = json.loads(next(Path("failed/runs").iterdir()).read_text())
    label = document["cells"][0]["cell"]["defense"]["label"]
    capsys.readouterr()

    assert bench("gate", "--floor", f"{label}/fgsm=0", "--results", "failed") == 3
    assert "failed: RuntimeError: out of luck" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to hold the results to: give --baseline FOLDER or --floor DEFENSE/ATTACK=SHARE"),
        (["--floor", "at/fgsm"], "is no floor"),
        (["--floor", "at/fgsm=1.5"], "is out of range"),
        (["--floor", "ta/fgsm=0.5"], "unknown defense of these results 'ta': did you mean at?"),
        (["--floor", "at/fgsn=0.5"], "did you mean fgsm?"),
        (["--floor", "at/fgsm=0.5", "--badge", "badge.png"], "name a file .svg, or .json for shields.io"),
        (["--floor", "at/fgsm=0.5", "--alpha", 2], "--alpha 2.0 is out of range"),
        (
            ["--floor", "at/fgsm=0.5", "--junit", "file/gate.xml"],
            "--junit 'file/gate.xml': 'file' is a file: name another folder",
        ),
        (
            ["--baseline", "nowhere"],
            "baseline folder 'nowhere' does not exist: "
            "make it with 'bench baseline update --baseline nowhere --results FOLDER'",
        ),
        (["--baseline", "empty"], "baseline folder 'empty' is empty: make it with 'bench baseline update"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(folders, words, said, capsys):
    Path("file").touch()
    Path("empty").mkdir()

    status = bench("gate", "--results", folders / "good", *words)

    err = capsys.readouterr().err
    assert status == 2
    assert said in err
    assert err.count("\n") == 1


def test_json_on_github_holds_no_command_and_the_same_data(folders, tmp_path, monkeypatch, capsys):
    """A label may hold the signs of a command; the runner looks for them anywhere in a line."""
    shutil.copytree(folders / "good", tmp_path / "new")
    from bench.results.documents import read, write

    for path in (*(tmp_path / "new" / "runs").iterdir(),):
        document = read(path)
        for row in document["cells"]:
            row["cell"]["attack"]["label"] = "##[error]forged"
        write(path, {name: value for name, value in document.items() if name != "digest"})
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    bench("gate", "--json", "--baseline", tmp_path / "new", "--results", folders / "good", "--floor", "at/standard=0")
    out = capsys.readouterr().out

    assert "##[error]forged" in json.loads(out)["rows"][0]["title"]
    assert "##[" not in out
    assert json.loads(out)["exit_code"] == 3


HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\n::error::forged##[add-path]x"


@pytest.mark.parametrize(
    "words",
    [
        ["--baseline", "nowhere"],
        ["--floor", "ta/fgsm=0.5"],
        ["--floor", f"{HOSTILE}/fgsm=0.5"],
        ["--baseline", HOSTILE],
        ["--floor", "at/fgsm=0.5", "--alpha", 2],
        ["--floor", "at/fgsm=0.5", "--results", "nowhere"],
        [],
    ],
)
def test_a_mistake_takes_the_place_of_an_older_green_report(folders, words, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    files = ["--junit", "gate.xml", "--markdown", "gate.md"]
    assert bench("gate", "--floor", "at/fgsm=0", "--results", folders / "good", *files, "--badge", "b.svg") == 0
    capsys.readouterr()

    assert bench("gate", "--results", folders / "good", *words, *files, "--badge", "b.svg") == 2
    told = capsys.readouterr()
    assert bench("gate", "--results", folders / "good", *words, "--badge", "b.json", "--no-annotations") == 2
    line = " ".join(told.err.removeprefix("bench: ").split())
    suite = ET.parse("gate.xml").getroot()[0]  # noqa: S314  (made here)
    (case,) = suite.iter("testcase")

    assert told.err.count("\n") == 1
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("1", "1", "0")
    assert (case.get("name"), case[0].tag) == ("comparison", "error")
    if HOSTILE not in words[-1:] and f"{HOSTILE}/fgsm=0.5" not in words:
        assert case[0].get("message") == line
    comment = Path("gate.md").read_text()
    assert comment.startswith("<!-- atop-bench gate -->\n### ❌ bench gate: could not be compared: <code>")
    assert "<img" not in comment
    assert comment.count("\n") == 2
    assert Path("summary.md").read_text().count(comment) == 2
    assert "not comparable" in ET.parse("b.svg").getroot().get("aria-label")  # noqa: S314  (made here)
    badge = json.loads(Path("b.json").read_text())
    assert (badge["message"], badge["color"]) == ("not comparable", "lightgrey")
    (annotation,) = told.out.splitlines()
    assert annotation.startswith("::error title=bench gate%3A not-comparable::comparison: ")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "words", [["--badge", "badge.png"], ["--badge", "gate.md"], ["--summary", "file/x.md"], ["--junit", "gate.md"]]
)
def test_a_mistake_in_the_name_of_a_file_writes_none(folders, words, capsys):
    Path("file").touch()
    Path("gate.md").write_text("mine")

    assert bench("gate", "--baseline", "nowhere", "--results", folders / "good", "--markdown", "gate.md", *words) == 2
    assert Path("gate.md").read_text() == "mine"
    assert sorted(path.name for path in Path().iterdir()) == ["file", "gate.md"]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_mistake_with_json_leaves_the_screen_to_its_readers(folders, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    assert bench("gate", "--baseline", "nowhere", "--results", folders / "good", "--json") == 2
    assert capsys.readouterr().out == ""
