"""`bench check`: examine one defense before anything is attacked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench import matrix
from bench.checks.finding import Finding
from bench.datasets.load import beyond, load, threats
from bench.errors import BenchError
from bench.executors import pick_device
from bench.executors.task import load_defense, one_line
from bench.soundness import HELD_OUT, Images, examine, noise_of


def check(name: str, dataset: str, data: Path | None, n: int, device: str, weights: Path | None, as_json: bool) -> int:
    """Print a line per finding, or all rows as JSON; 1 when one of them flags or blocks."""
    matrix.check_names(name, "all")
    examples = load(dataset, "test", n=n, data=data)
    defenses = matrix.defenses(name, examples, weights)
    if len(defenses) != 1:
        raise BenchError(f"bench check examines one defense, {name!r} names {len(defenses)}: name one of them")
    try:
        defense = load_defense(defenses[0], examples.spec)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"defense {name!r} does not load: {one_line(error)}; see bench doctor") from error
    images = Images(examples, beyond(dataset, n, HELD_OUT, data=data))
    findings = examine(defense, images, noise_of(threats(dataset)), pick_device(device))
    print(_as_json(name, dataset, findings) if as_json else _as_text(findings))
    return 1 if any(finding.alarming for finding in findings) else 0


def _as_json(name: str, dataset: str, findings: Sequence[Finding]) -> str:
    rows = [finding.to_json() for finding in findings]
    return json.dumps({"defense": name, "dataset": dataset, "findings": rows}, indent=1)


def _as_text(findings: Sequence[Finding]) -> str:
    lines = [f"{finding.message}  [{finding.verdict}]" for finding in findings if not finding.passed]
    passed = [finding.id for finding in findings if finding.passed]
    return "\n".join([*lines, f"passed: {' '.join(passed) or 'none'}"])
