"""`bench.run`: the same call resumes, a mistake is said before anything is computed, and no script runs twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bench
from tests.api.nets import Watcher

OPTIONS = {"defenses": "at", "attacks": "fgsm", "threat": "Linf:0.2", "n": 16, "checks": "none", "executor": "local"}
SCRIPT = """
import bench

print("once")
found = bench.run(
    defenses="at,standard", attacks="fgsm", threat="Linf:0.2", n=16, checks="none", executor="processes", jobs=2,
    results="kept",
)
print(len(found), len(found.failed), len(found.missing))
"""


def test_the_same_call_resumes(tmp_path):
    """And one that asks for more computes only that."""
    watchers = [Watcher() for _ in range(3)]
    first = bench.run(watchers[0], results=tmp_path, **OPTIONS)

    second = bench.run(watchers[1], results=str(tmp_path), **OPTIONS)
    bench.run(watchers[2], results=tmp_path, **{**OPTIONS, "attacks": ["fgsm", "noise"]})

    assert [(each.begun, each.stored) for each in watchers] == [(1, 0), (0, 1), (1, 1)]
    assert second.to_json() == first.to_json()
    assert second.examples().equals(first.examples())


def test_what_is_stored_is_read_without_torch(tmp_path):
    """It takes a second and more to import, and nothing is computed."""
    options = {**OPTIONS, "attacks": "fgsm,pgd-20[steps=2]"}
    first = bench.run(Watcher(), results=tmp_path, **options)
    code = f"import sys; sys.modules['torch'] = None\nimport bench\nprint(bench.run(results=sys.argv[1], **{options}))"

    again = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)

    assert again.stdout.strip() == str(first), again.stderr


def test_without_a_watcher_a_stored_run_says_that_there_is_nothing_to_run(tmp_path, capfd):
    for _ in range(2):
        bench.run(results=tmp_path, **OPTIONS)

    told = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert len(told) == 2
    assert told[0].startswith("[1/1] at x fgsm (Linf:0.2): ")
    assert told[1] == "1 cell stored already, 0 to run"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"attacks": "fsgm"}, "unknown attack 'fsgm': did you mean fgsm"),
        ({"defences": "at"}, "unknown option 'defences': did you mean defenses"),
        ({"checks": "some"}, "--checks 'some' is unknown: give auto, all or none"),
        ({"precision": "float8"}, "--precision 'float8' is unknown"),
        ({"jobs": -1}, "--jobs -1 is out of range"),
        ({"ray_address": "head:1"}, "--ray-address 'head:1' needs --executor ray"),
        ({"executor": "ray", "ray_address": "127.0.0.1:9"}, "--ray-address '127.0.0.1:9' does not answer"),
        ({"attacks": "none"}, "--attacks none leaves nothing to do"),
        ({"n": 10**6}, "n=1000000 is out of range"),
        ({"study": "lader"}, "did you mean ladder"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(wrong, said, tmp_path):
    with pytest.raises(bench.BenchError, match=said) as error:
        bench.run(Watcher(), results=tmp_path / "kept", **{**OPTIONS, **wrong})

    assert "\n" not in str(error.value)
    assert not (tmp_path / "kept").exists()


@pytest.mark.slow
def test_a_script_without_a_guard_does_not_run_itself_in_its_workers(tmp_path):
    """Nobody writes `if __name__ == "__main__"` in a notebook's first draft."""
    script = Path(tmp_path, "mine.py")
    script.write_text(SCRIPT)

    done = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["once", "2 0 0"]
