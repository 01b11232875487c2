"""A run that is stopped: how much is kept, where, and the exact command that goes on."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cli import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

BENCH = [sys.executable, "-c", "import sys; from bench.cli import main; sys.exit(main())"]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.mark.fault("F05")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "executor"), [(signal.SIGINT, "local"), (signal.SIGTERM, "processes")], ids=["ctrl-c", "sigterm"]
)
def test_a_run_says_how_many_cells_are_kept_where_and_the_command_that_resumes(number, executor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["run", "--defenses", "at", "--threat", "Linf:0.2", "--n", "128", "--batch", "16", "--checks", "none"]
    words += ["--results", "my results", "--executor", executor, "--jobs", "2", "--attacks"]
    assert main([*words, "fgsm"]) == 0
    process = subprocess.Popen(
        [*BENCH, *words, "fgsm,pgd-20[n_restarts=20]"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(Path("my results").rglob("pgd-20*shard*")) and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(number)
    _, error = process.communicate(timeout=60)

    assert process.returncode == STATUS[number]
    assert "Traceback" not in error
    kept = "1 of 2 cells finished and the finished shards of 1 more: stored in my results/"
    line = error.splitlines()[-1]
    assert re.match(rf"bench: \w+: {kept}; resume with: ", line), error
    assert shlex.split(line.partition("resume with: ")[2])[1:] == [*words, "fgsm,pgd-20[n_restarts=20]"]
