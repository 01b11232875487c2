"""As much of the runner of GitHub Actions as a composite action and a workflow of ours need.

It evaluates expressions, gives each `run:` step a script of its own under `bash --noprofile --norc -eo pipefail`, reads
what the step wrote to GITHUB_OUTPUT, and skips steps after one that failed unless their condition says `always()`.
Steps that use an action of others are recorded, not run.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.S)
_NAME = re.compile(r"'[^']*'|\b(?:inputs|steps|github|runner)(?:\.[\w-]+)+")


@dataclass
class Run:
    """What came of the steps: of each `run:` its output, of all the outputs, and whether all went well."""

    ok: bool = True
    logs: list[str] = field(default_factory=list)
    used: list[tuple[str, dict]] = field(default_factory=list)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    summary: str = ""

    @property
    def log(self):
        return "\n".join(self.logs)


def value_of(expression, context):
    """The value of an expression of names, texts, `==`, `!=`, `&&`, `||` and `always()`."""
    names = {}

    def named(match):
        key = f"v{len(names)}"
        names[key] = match[0][1:-1] if match[0].startswith("'") else context.get(match[0], "")
        return key

    code = _NAME.sub(named, expression.strip()).replace("&&", " and ").replace("||", " or ").replace("always()", "True")
    return eval(code, {"__builtins__": {}}, names)  # noqa: S307  (files of ours)


def filled(text, context):
    return EXPRESSION.sub(lambda match: str(value_of(match[1], context)), str(text))


def run_action(folder, given, workspace, environment):
    """Run the composite action in a folder; returns the run and its outputs."""
    action = yaml.safe_load((folder / "action.yml").read_text(encoding="utf-8"))
    assert action["runs"]["using"] == "composite"
    unknown = set(given) - set(action["inputs"])
    assert not unknown, unknown
    inputs = {name: each.get("default", "") for name, each in action["inputs"].items()} | given
    assert all(inputs[name] for name, each in action["inputs"].items() if each.get("required"))
    context = {f"inputs.{name}": str(value) for name, value in inputs.items()}
    run = run_steps(action["runs"]["steps"], context, workspace, {**environment, "GITHUB_ACTION_PATH": str(folder)})
    return run, {name: filled(each["value"], context) for name, each in action["outputs"].items()}


def run_steps(steps, context, workspace, environment, actions=()):
    """Run steps in order; `actions` are pairs of the beginning of a name and what runs it instead."""
    run = Run()
    for index, step in enumerate(steps):
        condition = EXPRESSION.sub(lambda match: match[1], str(step.get("if", "")))
        if not (run.ok or "always()" in condition) or not (not condition or value_of(condition, context)):
            continue
        name = step.get("id", f"step-{index}")
        if "uses" in step:
            given = {key: filled(text, context) for key, text in step.get("with", {}).items()}
            run.used.append((step["uses"], given))
            mine = next((each for start, each in actions if step["uses"].startswith(start)), None)
            ok, outputs = mine(given, run) if mine else (True, {})
        else:
            ok, outputs = _bash(step, context, workspace, environment, run)
        run.outputs[name] = outputs
        context.update({f"steps.{name}.outputs.{key}": text for key, text in outputs.items()})
        run.ok = run.ok and (ok or step.get("continue-on-error", False))
    return run


def _bash(step, context, workspace, environment, run):
    assert step["shell"] == "bash", step
    assert not EXPRESSION.search(step["run"]), "an expression in a script is read by the shell"
    temporary = Path(environment["RUNNER_TEMP"])
    files = {name: temporary / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "script.sh")}
    for path in files.values():
        path.write_text("")
    files["script.sh"].write_text(step["run"])
    own = {key: filled(text, context) for key, text in step.get("env", {}).items()}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", files["script.sh"]],
        cwd=workspace,
        env={**environment, **own, **{name: str(path) for name, path in files.items() if name.isupper()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    run.logs.append(done.stdout)
    run.summary += files["GITHUB_STEP_SUMMARY"].read_text()
    return done.returncode == 0, outputs_in(files["GITHUB_OUTPUT"].read_text())


def outputs_in(text):
    """What a step wrote to GITHUB_OUTPUT: `name=value` lines, and `name<<mark` up to the mark."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, heredoc, mark = line.partition("<<")
        if heredoc and "=" not in name:
            value = []
            for each in lines:
                if each == mark:
                    break
                value.append(each)
            found[name] = "\n".join(value)
        else:
            name, _, value = line.partition("=")
            found[name] = value
    return found


def base_environment(folder, programs):
    """The variables of a step, with nothing of ours but where Python finds packages; `programs` come first in PATH."""
    temporary = folder / "runner-temp"
    temporary.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "LANG", "HOME") if name in os.environ}
    return {
        **kept,
        "PATH": f"{programs}:/usr/bin:/bin",
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(folder),
        "RUNNER_TEMP": str(temporary),
    }
