"""action.yml and the example workflow, run step by step on a real model: unchanged, and weakened under its name."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.system.runner import EXPRESSION, base_environment, outputs_in, run_action, run_steps, value_of

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / "docs" / "examples" / "workflow.yml").read_text(encoding="utf-8"))
CI = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the steps are bash")

MODEL = """
from bench.catalogue.weights import locate
from bench.defenses.{name} import load
from bench.types import ImageSpec


def build():
    return load(checkpoints={{"{name}": locate("{name}", "digits", None)}}, spec=ImageSpec((1, 8, 8), 10)).model
"""


def program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def workspace(tmp_path):
    """A repository with a model, and the programs that a runner has."""
    programs = tmp_path / "bin"
    programs.mkdir()
    # Never pip: nothing is installed by a test.
    program(programs, "python", f'case "$*" in *pip*) printf "<%s>" "$@" ;; *) exec "{sys.executable}" "$@" ;; esac')
    program(programs, "bench", f'exec "{sys.executable}" -P -m bench "$@"')
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "model.py").write_text(MODEL.format(name="at"))
    return tmp_path


def environment(workspace):
    return base_environment(workspace, workspace / "bin")


GIVEN = {
    "defenses": "./model.py:build",
    "attacks": "fgsm",
    "threat": "Linf:0.2",
    "n": "128",
    "results": "new",
    "baseline": "baseline",
    "run-args": "--checks none --executor local",
    "source": "none",
    "artifact": "robustness",
}


def gate(workspace, **more):
    return run_action(ROOT, {**GIVEN, **more}, workspace / "work", environment(workspace))


def measured(workspace, folder="baseline", **more):
    """Measure the model as it stands, and keep it as the baseline."""
    run, _ = gate(workspace, baseline="", floor="model/standard=0", results=folder, **more)
    assert run.ok, run.log


@pytest.mark.slow
def test_an_unchanged_model_passes_and_a_weakened_one_fails_by_the_action(workspace):
    """The weights of `standard` under the name of `at`: a drop of more than sixty points under FGSM."""
    work = workspace / "work"
    measured(workspace)

    run, outputs = gate(workspace)
    assert run.ok, run.log
    assert outputs["exit-code"] == "0"
    assert "gate: no regression in 2 cells" in run.summary
    assert "::error" not in run.log
    shutil.rmtree(work / "new")
    (work / "model.py").write_text(MODEL.format(name="standard"))
    run, outputs = gate(workspace, floor="model/fgsm=0.5\nmodel/standard=0.9")

    assert not run.ok
    assert outputs["exit-code"] == "1"
    suite = ET.parse(work / outputs["junit"]).getroot()[0]  # noqa: S314  (made here)
    failures = {
        case.get("name"): case.find("failure") for case in suite.iter("testcase") if case.find("failure") is not None
    }
    assert set(failures) == {"model x fgsm (Linf:0.2)", "floor model/fgsm (Linf:0.2)"}
    drop = re.search(r"drop ([\d.]+) points", failures["model x fgsm (Linf:0.2)"].get("message"))
    assert float(drop[1]) > 60
    assert (work / outputs["markdown"]).read_text() == run.summary
    assert "❌ **regression**" in run.summary
    errors = re.findall(r"^::error title=(.+?)::", run.log, re.M)
    assert errors == ["bench gate%3A regression", "bench gate%3A below-floor"]
    assert "1 regression" in (work / outputs["badge"]).read_text()
    # The reports are kept even though the gate failed.
    assert [used for used, _ in run.used] == ["actions/setup-python@v5", "actions/upload-artifact@v4"]
    assert run.used[1][1] == {"name": "robustness", "path": "bench-gate\nnew\n", "if-no-files-found": "ignore"}


# As much of `gh api` as the workflow needs: the comments that are there, and a line for each that is written.
GH = r"""
cd "$(dirname "$0")"
case " $* " in
*" --method "*)
    while [ $# -gt 0 ]; do
        case "$1" in
        --method) method="$2"; shift ;;
        --field) body="${2#body=@}"; shift ;;
        repos/*) place="$1" ;;
        esac
        shift
    done
    case "$body" in /*) ;; *) body="../work/$body" ;; esac
    jq -c -n --arg method "$method" --arg place "$place" --rawfile body "$body" '[$method, $place, $body]' >> written
    ;;
*)
    while [ "$1" != --jq ]; do shift; done
    jq -r "$2" comments
    ;;
esac
"""


def github(workspace, comments):
    """A `gh` that knows these comments, as pairs of who wrote it and what."""
    program(workspace / "bin", "gh", GH)
    told = [{"id": 100 + i, "user": {"login": who}, "body": body} for i, (who, body) in enumerate(comments)]
    (workspace / "bin" / "comments").write_text(json.dumps(told))
    (workspace / "bin" / "written").touch()


def written(workspace):
    return [json.loads(line) for line in (workspace / "bin" / "written").read_text().splitlines()]


BOT, MARK = "github-actions[bot]", "<!-- atop-bench gate -->\n"


@pytest.mark.skipif(shutil.which("jq") is None, reason="gh has it inside")
@pytest.mark.parametrize(
    ("comments", "request_"),
    [
        ([], ("POST", "repos/me/mine/issues/7/comments")),
        (
            [(BOT, "coverage 93 %"), ("somebody", f"{MARK}mine"), (BOT, f"> {MARK}quoted")],
            ("POST", "repos/me/mine/issues/7/comments"),
        ),
        ([(BOT, f"{MARK}old"), (BOT, "coverage 93 %")], ("PATCH", "repos/me/mine/issues/comments/100")),
    ],
)
@pytest.mark.parametrize("report", [True, False])
def test_the_comment_of_the_example_replaces_its_own_and_no_other(workspace, comments, request_, report):
    """Other bots and people write comments, too; and where nothing could be measured, an old verdict must not stay."""
    step = WORKFLOW["jobs"]["gate"]["steps"][-1]
    context = {"github.event_name": "pull_request", "github.event.pull_request.number": "7", "github.token": "x"}
    if report:
        (workspace / "work" / "comment.md").write_text(f"{MARK}### new `$(touch stolen)`\n")
        context["steps.bench.outputs.markdown"] = "comment.md"
    github(workspace, comments)

    run = run_steps([step], context, workspace / "work", {**environment(workspace), "GITHUB_REPOSITORY": "me/mine"})

    ((method, place, body),) = written(workspace)
    assert run.logs == [""]
    assert (method, place) == request_
    assert body.startswith(f"{MARK}### {'new `$(touch stolen)`' if report else '❌ bench run ended before'}")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("jq") is None, reason="gh has it inside")
def test_the_example_workflow_comments_on_the_pull_request_whatever_the_verdict(workspace):
    """With the model that its first lines tell the reader to make a baseline of."""
    work = workspace / "work"
    github(workspace, [])
    (step,) = [step for step in WORKFLOW["jobs"]["gate"]["steps"] if "atop-bench" in step.get("uses", "")]
    given = {"source": "none", "run-args": "--checks none --executor local"}
    measured(workspace, attacks=step["with"]["attacks"], n=step["with"]["n"])
    (work / "model.py").write_text(MODEL.format(name="standard"))
    context = {"github.event_name": "pull_request", "github.event.pull_request.number": "7", "github.token": "x"}

    def ours(inputs, run):
        inner, outputs = run_action(ROOT, {**inputs, **given}, work, environment(workspace))
        run.logs += inner.logs
        return inner.ok, outputs

    there = {**environment(workspace), "GITHUB_REPOSITORY": "me/mine"}
    run = run_steps(WORKFLOW["jobs"]["gate"]["steps"], context, work, there, [("OWNER/atop-bench", ours)])

    assert not run.ok
    assert run.outputs["bench"]["exit-code"] == "1"
    ((method, place, body),) = written(workspace)
    assert (method, place) == ("POST", "repos/me/mine/issues/7/comments")
    assert body == (work / "bench-gate" / "comment.md").read_text()
    assert "BELOW THE FLOOR" in run.log


def test_a_mistake_stops_before_the_gate_and_is_the_exit_code(workspace):
    run, outputs = gate(workspace, defenses="nobody", artifact="")

    assert not run.ok
    assert outputs["exit-code"] == "2"
    assert "unknown defense 'nobody'" in run.log
    assert not (workspace / "work" / "bench-gate").exists()


HOSTILE = "x'; touch stolen; $(touch stolen) `touch stolen` \" && touch stolen #\n::set-output name=a::b"


@pytest.mark.parametrize("name", [name for name in ACTION["inputs"] if name not in ("python-version", "artifact")])
def test_no_input_is_read_as_a_command(workspace, name):
    """Each in turn holds one for the shell, for Python and for the runner: it is a wrong value and nothing more."""
    program(workspace / "bin", "bench", 'printf "<%s>" "$@"')
    work = workspace / "work"

    run, _ = run_action(
        ROOT, {**GIVEN, name: HOSTILE, **({} if name == "source" else {"source": "none"})}, work, environment(workspace)
    )

    assert not list(workspace.rglob("stolen"))
    assert "Traceback" not in run.log or name in ("run-args", "gate-args")  # quotes that are not closed


@pytest.mark.parametrize("source", ["", "atop-bench[report]==0.2", "-r evil.txt"])
def test_one_thing_is_installed_by_one_word(workspace, source):
    program(workspace / "bin", "python", 'printf "<%s>" "$@"; printf "<index %s>" "$PIP_EXTRA_INDEX_URL"')
    program(workspace / "bin", "bench", "true")
    (step,) = [step for step in ACTION["runs"]["steps"] if step.get("name") == "Install"]
    context = {"inputs.source": source, "inputs.torch-index": ACTION["inputs"]["torch-index"]["default"]}

    run = run_steps([step], context, workspace, {**environment(workspace), "GITHUB_ACTION_PATH": str(ROOT)})

    assert run.ok
    assert run.log.strip() == (
        f"<-m><pip><install><--quiet><--><{source or ROOT}><index https://download.pytorch.org/whl/cpu>"
    )


def test_more_words_are_split_as_by_a_shell_and_floors_by_lines(workspace):
    program(workspace / "bin", "bench", 'printf "<%s>" "$@"; echo')

    run, _ = gate(
        workspace,
        **{"run-args": "--draws 5 --label 'a b' ''", "gate-args": '--alpha "0.05"', "floor": "a/b=0.5\n\nc/d=1"},
    )
    _, measure, judge = run.logs

    assert measure.strip().endswith("<--threat=Linf:0.2><--draws><5><--label><a b><>")
    assert judge.strip().endswith("<--baseline=baseline><--floor=a/b=0.5><--floor=c/d=1><--alpha><0.05>")


def test_cells_that_failed_are_for_the_gate_to_tell(workspace):
    """`bench run` ends with 3: the gate is run, and its status is the action's."""
    program(workspace / "bin", "bench", 'case "$1" in run) exit 3 ;; gate) exit 1 ;; esac')

    run, outputs = gate(workspace)

    assert not run.ok
    assert outputs["exit-code"] == "1"


@pytest.mark.parametrize("measured", [0, 3])
def test_cells_that_failed_and_that_nobody_is_held_to_are_no_green_check(workspace, measured):
    """Floors and baselines name cells; one beside them that crashed must not vanish behind their status 0."""
    failing = f"exit {measured}"
    program(
        workspace / "bin",
        "bench",
        f'case "$1" in run) {failing} ;; gate) case " $* " in *" --no-failed "*) {failing} ;; esac ;; esac',
    )

    run, outputs = gate(workspace)

    assert run.ok == (measured == 0)
    assert outputs["exit-code"] == str(measured)


@pytest.mark.slow
def test_a_cell_that_failed_is_in_the_report_and_the_check_is_of_the_same_color(workspace):
    """A floor holds `standard`; the model beside it crashes under attack, and nobody is held to that."""
    work = workspace / "work"
    (work / "flaky.py").write_text(
        "import torch\n\n\nclass Flaky(torch.nn.Module):\n    def forward(self, x):\n"
        "        if len(x) > 8:\n            raise RuntimeError('out of luck')\n"
        "        return x.flatten(1)[:, 20:30]\n\n\ndef build():\n    return Flaky()\n"
    )
    both = f"{GIVEN['defenses']},./flaky.py:build"

    run, outputs = gate(workspace, defenses=both, baseline="", floor="model/standard=0.5")

    assert not run.ok
    assert outputs["exit-code"] == "3"
    assert "flaky x fgsm (Linf:0.2)" in (work / outputs["markdown"]).read_text()
    assert (work / outputs["markdown"]).read_text().splitlines()[1].startswith("### ❌")
    suite = ET.parse(work / outputs["junit"]).getroot()[0]  # noqa: S314  (made here)
    assert [case.get("name") for case in suite.iter("testcase") if case.find("error") is not None] == [
        "flaky x fgsm (Linf:0.2)"
    ]
    assert "cells missing" in (work / outputs["badge"]).read_text()
    assert "out of luck" in run.log


def scripts(document):
    """Every step below a node of a workflow or an action."""
    if isinstance(document, dict):
        if "run" in document or "uses" in document:
            yield document
        for each in document.values():
            yield from scripts(each)
    elif isinstance(document, list):
        for each in document:
            yield from scripts(each)


@pytest.mark.parametrize("document", [ACTION, WORKFLOW, CI], ids=["action", "workflow", "ci"])
def test_no_script_holds_an_expression(document):
    steps = list(scripts(document))

    assert len(steps) >= 3
    assert [step for step in steps if EXPRESSION.search(step.get("run", ""))] == []


def test_every_input_is_used_documented_and_every_one_that_is_used_is_there():
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    used = set(re.findall(r"inputs\.([\w-]+)", text))

    assert used == set(ACTION["inputs"])
    assert all(each["description"] for each in (*ACTION["inputs"].values(), *ACTION["outputs"].values()))
    for name in (*ACTION["inputs"], *ACTION["outputs"]):
        assert f"`{name}`" in page


def test_our_own_ci_uses_the_action_with_inputs_that_it_has():
    (step,) = [step for step in scripts(CI) if step.get("uses") == "./"]

    assert set(step["with"]) <= set(ACTION["inputs"])
    assert (ROOT / step["with"]["baseline"]).is_dir()


def test_the_scripts_have_no_mistake_that_shellcheck_would_find(tmp_path):
    """At least that bash can read them."""
    for index, step in enumerate(each for each in scripts([ACTION, WORKFLOW]) if "run" in each):
        script = tmp_path / f"{index}.sh"
        script.write_text(step["run"])
        subprocess.run(["bash", "-n", script], check=True)
        if shutil.which("shellcheck"):
            subprocess.run(["shellcheck", "--shell=bash", script], check=True)


def test_the_runner_of_these_tests_reads_expressions_and_outputs():
    context = {"inputs.a": "x", "inputs.b": "", "steps.s.outputs.t": "1"}

    assert value_of("inputs.b || steps.s.outputs.t", context) == "1"
    assert value_of("always() && inputs.a != ''", context)
    assert not value_of("inputs.a == 'y'", context)
    assert outputs_in("a=b=c\nd<<EOF\n1\n2\nEOF\ne=") == {"a": "b=c", "d": "1\n2", "e": ""}
