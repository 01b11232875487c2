"""The gate as tests: what pytest collects, chooses, distributes and reports, each in a pytest of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

import bench
from bench.api.pytest_plugin import NAME
from tests.api.nets import Templates, Watcher, own

PLUGIN = "bench.api.pytest_plugin"


def evaluated(root, network, n=160, **more):
    # Labelled as `Templates()` answers: another network of this name is nearly always wrong.
    return bench.evaluate(
        {"net": Templates(seed=network)},
        "fgsm,noise",
        "Linf:0.01",
        dataset=own(n),
        checks="none",
        watcher=Watcher(),
        results=root,
        **more,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("plugin")
    evaluated(root / "good", 0)
    evaluated(root / "weak", 1)
    evaluated(root / "few", 0, n=12)
    evaluated(root / "seeded", 0, seed=3)
    shutil.copytree(root / "good", root / "lost")
    next((root / "lost").rglob("fgsm.*.json")).unlink()
    return root


@pytest.fixture
def run(folders, tmp_path):
    """Run pytest beside one test of the user's; returns the status, the output and the outcome of each test."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    pass\n")

    def ran(*words, candidate="good", baseline="good"):
        given = [f"--bench-baseline={folders / baseline}"] if baseline else []
        given += [f"--bench-results={folders / candidate}"] if candidate else []
        command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-rA", *given, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        outcomes = {
            name.partition(" - ")[0]: outcome
            for outcome, name in re.findall(r"^(PASSED|FAILED|SKIPPED|ERROR) (.+)$", done.stdout, re.M)
        }
        return done.returncode, done.stdout + done.stderr, outcomes

    return ran


CELLS = ["net, standard accuracy", "net x fgsm (Linf:0.01)", "net x noise (Linf:0.01)"]


def test_each_cell_is_a_test_beside_those_of_the_user(run):
    status, out, outcomes = run()

    assert status == 0, out
    assert outcomes == dict.fromkeys(
        ["test_mine.py::test_mine", *(f"{NAME}::{each}" for each in [*CELLS, "power"])], "PASSED"
    )


def test_the_names_are_whole_however_much_pytest_says(run, folders):
    """A point in a size is a point: pytest takes the end of a node id for the path of a function."""
    if not (folders / "tenth").exists():
        model = {"net": Templates(seed=0)}
        bench.evaluate(
            model, "noise", "Linf:0.1", dataset=own(160), checks="none", watcher=Watcher(), results=folders / "tenth"
        )

    for words in (["-v"], ["-vv"]):
        _, out, outcomes = run(*words, candidate="tenth", baseline="tenth")

        assert f"{NAME}::net x noise (Linf:0.1)" in outcomes
        assert re.search(rf"^{NAME}::net x noise \(Linf:0\.1\)( <- \.)? PASSED", out, re.M), out
        assert "0::1" not in out


def test_a_regression_fails_with_the_line_of_the_gate_and_nothing_else(run, tmp_path):
    status, out, outcomes = run("--junitxml=out.xml", candidate="weak")

    assert status == 1
    assert outcomes["test_mine.py::test_mine"] == outcomes[f"{NAME}::power"] == "PASSED"
    assert {outcomes[f"{NAME}::{each}"] for each in CELLS} == {"FAILED"}
    assert re.search(r"^REGRESSION net x fgsm \(Linf:0.01\): \d+\.\d % -> \d+\.\d % \(drop", out, re.M)
    assert "Traceback" not in out
    assert "pytest_plugin.py" not in out
    suite = ET.parse(tmp_path / "out.xml").getroot()[0]  # noqa: S314  (made here)
    failed = {case.get("name"): case for case in suite.iter("testcase") if case.find("failure") is not None}
    assert set(failed) == set(CELLS)
    assert failed[CELLS[1]].find("failure").get("message").startswith("REGRESSION net x fgsm")
    assert "baseline: " in failed[CELLS[1]].find("properties/property").get("value")


@pytest.mark.parametrize(
    ("candidate", "failing", "message"),
    [
        ("lost", "net x fgsm (Linf:0.01)", "absent: missing in the candidate"),
        ("few", "power", "a drop of 15.0 points could pass unseen"),
        ("seeded", "net x noise (Linf:0.01)", "not comparable: seed 0 -> 3"),
    ],
)
def test_what_says_nothing_fails_with_its_message(run, candidate, failing, message):
    status, out, outcomes = run(candidate=candidate)

    assert status == 1
    assert outcomes[f"{NAME}::{failing}"] == "FAILED"
    assert message in out


def test_few_images_are_skipped_if_that_is_allowed(run):
    status, out, outcomes = run("--bench-allow-underpowered", candidate="few")

    assert status == 0
    assert "1 skipped" in out
    assert f"{NAME}::power" not in outcomes  # a skipped test is told by its place


def test_k_chooses_cells_like_tests(run):
    status, _, outcomes = run("-k", "fgsm")

    assert (status, set(outcomes)) == (0, {f"{NAME}::net x fgsm (Linf:0.01)"})


@pytest.mark.slow
def test_workers_share_the_cells(run):
    """Two of them, each with the same list: every test runs once."""
    pytest.importorskip("xdist")

    status, out, outcomes = run("-n", "2", candidate="weak")

    assert status == 1
    assert len(outcomes) == 5
    assert re.search(r"3 failed, 2 passed", out)
    assert "Different tests were collected" not in out
    status, out, outcomes = run("-n", "2", "--bench-floor=nett/fgsm=0.5")
    assert status == 1
    assert "unknown defense of these results 'nett': did you mean net?" in out


def test_floors_are_tests_without_a_baseline(run):
    status, _, outcomes = run("--bench-floor=net/standard=0.9", "--bench-floor=net/fgsm=0.99", baseline="")

    assert status == 1
    assert outcomes[f"{NAME}::floor net/standard"] == "PASSED"
    assert outcomes[f"{NAME}::floor net/fgsm (Linf:0.01)"] == "FAILED"
    assert f"{NAME}::power" not in outcomes


def test_the_promises_are_options(run):
    """A drop that no option lets through, unless none is worth failing for or none could be seen."""
    assert run("--bench-must-detect=0.01")[0] == 1
    assert run("--bench-min-effect=1", "--bench-allow-underpowered", candidate="weak")[0] == 0
    assert run("--bench-alpha=1e-60", "--bench-allow-underpowered", candidate="weak")[0] == 0


@pytest.mark.parametrize(
    ("words", "more", "said"),
    [
        ([], {"baseline": ""}, "--bench-results needs --bench-baseline FOLDER or --bench-floor"),
        ([], {"baseline": "nowhere"}, "does not exist: make it with 'bench baseline update --baseline"),
        (["--bench-baseline="], {"baseline": "", "candidate": ""}, "--bench-baseline is empty: name a folder"),
        (["--bench-results="], {"candidate": ""}, "--bench-results is empty: name a folder"),
        (["--bench-alpha=2"], {}, "--alpha 2.0 is out of range"),
        (["--bench-floor=x"], {}, "is no floor"),
        (["--bench-floor=nett/fgsm=0.5"], {}, "unknown defense of these results 'nett': did you mean net?"),
    ],
)
def test_a_mistake_is_one_line_and_pytests_status_for_it(run, words, more, said):
    status, out, outcomes = run(*words, **more)

    assert status == pytest.ExitCode.USAGE_ERROR
    assert said in out
    assert outcomes == {}
    assert "Traceback" not in out


def test_it_costs_nothing_until_it_is_asked(tmp_path):
    """Every pytest of every user imports it."""
    script = (
        f"import sys, pytest, {PLUGIN}\n"
        "print([name for name in ('torch', 'pandas', 'numpy', 'scipy', 'bench.api.stored') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    (tmp_path / "test_mine.py").write_text(
        "import sys\n\ndef test_mine():\n    assert not {'torch', 'numpy', 'bench.report'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:hypothesispytest", "test_mine.py"]
    quiet = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.stdout.strip() == "[]"
    assert quiet.returncode == 0, quiet.stdout
    assert "bench-gate" not in quiet.stdout


def test_the_entry_point_has_the_name_of_the_module():
    """Or `-p bench.api.pytest_plugin` would register it twice where it is installed."""
    import configparser
    from pathlib import Path

    parser = configparser.ConfigParser()
    parser.read(Path(__file__).resolve().parents[2] / "setup.cfg", encoding="utf-8")

    assert parser["options.entry_points"]["pytest11"].strip() == f"{PLUGIN} = {PLUGIN}"
