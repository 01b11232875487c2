"""`bench check`: examine one defense before anything is attacked."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import matrix
from bench.catalogue import DEFAULT_DEFENSES, DEFENSES
from bench.checks.advice import explained
from bench.checks.finding import Finding
from bench.cli.notes import say_order_of_classes
from bench.datasets.examples import Examples
from bench.datasets.load import HEADLINE, beyond, load, threat
from bench.errors import BenchError, one_line
from bench.executors import pick_device
from bench.executors.task import load_defense
from bench.request import parse_list
from bench.soundness import HELD_OUT, Images, examine, noise_of
from bench.types import Defense


def check(
    name: str,
    dataset: str,
    data: Path | None,
    n: int,
    device: str,
    weights: Path | None,
    as_json: bool,
    explain: bool = False,
) -> int:
    """Print a line per finding, more where it is to be explained, or all rows as JSON; 1 when one flags or blocks."""
    matrix.check_names(name, "all")
    examples = load(dataset, "test", n=n, data=data)
    say_order_of_classes(dataset)
    defense = _loaded(name, examples, weights)
    images = Images(examples, beyond(dataset, n, HELD_OUT, data=data))
    findings = examine(defense, images, noise_of([threat(family, dataset) for family in HEADLINE]), pick_device(device))
    if as_json:
        print(_as_json(name, dataset, findings))
    elif explain:
        run = shlex.join(["bench", "run", "--defenses", name, "--dataset", dataset, *_given(data, weights)])
        print(_as_text(findings, lambda finding: explained(finding, run, stochastic=defense.stochastic)))
    else:
        print(_as_text(findings))
    return 1 if any(finding.alarming for finding in findings) else 0


def _given(data: Path | None, weights: Path | None) -> list[str]:
    options = {"--data": data, "--weights": weights}
    return [word for name, path in options.items() if path is not None for word in (name, str(path))]


def _loaded(name: str, examples: Examples, weights: Path | None) -> Defense:
    requests = parse_list(name, "defense", {"default": DEFAULT_DEFENSES, "all": DEFENSES.names()})
    if len(requests) != 1:
        raise BenchError(f"bench check examines one defense, {name!r} names {len(requests)}: name one of them")
    if requests[0].is_file:
        from bench import custom

        return custom.to_be_examined(requests[0], examples.spec)
    (ref,) = matrix.defenses(name, examples, weights)
    try:
        return load_defense(ref, examples.spec)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"defense {name!r} does not load: {one_line(error)}; see bench doctor") from error


def _as_json(name: str, dataset: str, findings: Sequence[Finding]) -> str:
    rows = [finding.to_json() for finding in findings]
    return json.dumps({"defense": name, "dataset": dataset, "findings": rows}, indent=1)


def _as_text(findings: Sequence[Finding], told: Callable[[Finding], Sequence[str]] = lambda _: ()) -> str:
    lines = []
    for finding in findings:
        if not finding.passed and not finding.idle:
            lines += [f"{finding.message}  [{finding.verdict}]", *told(finding)]
    for what, ids in (
        ("passed", [finding.id for finding in findings if finding.passed]),
        ("not checked", [finding.id for finding in findings if finding.idle]),
    ):
        lines += [f"{what}: {' '.join(ids)}"] if ids else []
    return "\n".join(lines)
