"""One share of a run, from Python and from the command line: what it computes, says and refuses."""

import re

import pytest

from bench import api
from bench.catalogue.options import BY_NAME, variable
from bench.cli import main
from bench.cli.run import _without_share
from bench.errors import BenchError

FAST = {"defenses": "standard", "attacks": "fgsm,noise", "threat": "Linf:0.2", "n": 16, "batch": 4}
FAST |= {"checks": "none", "executor": "local"}
WORDS = [word for name, value in FAST.items() for word in (f"--{name}", str(value))]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in BY_NAME:
        monkeypatch.delenv(variable(name), raising=False)


def test_a_share_says_what_is_stored_of_it_and_resumes():
    first = api.run_share(shard="1/2", **FAST)
    again = api.run_share(shard="1/2", **FAST)

    assert (first.share, first.tasks, first.stored, first.finished, first.open) == ("1/2", 4, 4, 0, 2)
    assert (first.done, first.failed, first.blocked) == (True, (), 0)
    assert (again.tasks, again.stored) == (4, 4)
    assert len(first.results.missing) == 2, "half of a cell has no number"


def test_a_cell_of_a_single_shard_is_finished_by_the_share_that_computes_it():
    one = api.run_share(shard="1/2", **{**FAST, "batch": 16})

    assert (one.tasks, one.finished, one.open) == (1, 1, 0)


def test_the_last_share_of_one_folder_finishes_the_cells():
    api.run_share(shard="1/2", **FAST)
    last = api.run_share(shard="2/2", **FAST)

    assert (last.finished, last.open) == (2, 0)
    assert not last.results.missing
    # A finished cell has the passes of both shares: one backward of FGSM for each image that is right without attack.
    done = last.results[0].outcome
    assert done.cost.backwards == (done.verdicts.clean > 0).sum()


def test_a_share_without_tasks_does_nothing_and_is_done(capsys):
    assert main(["run", *WORDS, "--batch", "16", "--shard", "7/7"]) == 0

    assert "0 of its 0 tasks" in capsys.readouterr().out


def test_the_command_that_comes_next_is_printed(capsys, monkeypatch):
    assert main(["run", *WORDS, "--shard", "1/2", "--results", "my results"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r"    \S*bench run ", line), "a line of its own, which can be copied"
    assert "--shard" not in line
    assert "--results 'my results'" in line
    assert "--attacks fgsm,noise" in line

    monkeypatch.setenv("BENCH_SHARD", "2/2")
    assert main(["run", *WORDS, "--results", "my results"]) == 0
    told = capsys.readouterr().out
    assert "share 2/2" in told
    assert re.search(r"^    env -u BENCH_SHARD \S*bench run", told, re.MULTILINE)


def test_the_command_that_comes_next_is_whole_and_has_options_that_exist(capsys, monkeypatch):
    """Narrow screens break prose, but not a command; `--ray_address` is no option."""
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["run", *WORDS, "--shard", "7/7"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "--threat Linf:0.2 --n 16 --batch 4 --executor local" in last

    printed = _without_share({"executor": "ray", "ray_address": "head:6379", "shard": "1/2", "n": None})
    assert printed.endswith("bench run --executor ray --ray-address head:6379")


def test_a_failed_cell_is_named_and_the_status_is_3(tmp_path, capsys):
    (tmp_path / "bad.py").write_text(
        "import torch\nclass Bad(torch.nn.Module):\n    def forward(self, x):\n"
        "        if len(x) > 8: raise ValueError('cannot\\nwork')\n        return x.flatten(1)[:, :10]\n"
        "def build():\n    return Bad()\n"
    )
    words = [*WORDS[2:], "--defenses", "./bad.py:build", "--n", "32", "--batch", "16"]

    assert main(["run", *words, "--shard", "1/2"]) == 3

    told = capsys.readouterr()
    assert "FAIL" in told.err
    assert "2 failed" in told.out


def test_a_dry_run_forecasts_the_share_alone(tmp_path, capsys):
    whole = api.plan(**FAST)
    parts = [api.plan(shard=f"{index}/3", **FAST) for index in (1, 2, 3)]

    assert sum(part.passes for part in parts) == whole.passes
    assert not list(tmp_path.iterdir()), "nothing was written"
    assert main(["run", *WORDS, "--shard", "2/3", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "share 2/3: 2 cells" in told
    assert re.search(r"standard x fgsm .*: [12] of 4 shards, at most", told)
    api.run_share(shard="2/3", **FAST)
    assert api.plan(shard="2/3", **FAST).passes == 0


MISTAKES = {
    **{f"--shard {text}": f"--shard '{text}': give I/N" for text in ("5/4", "0/4", "1/0", "1-4", "a/b")},
    "--shard 1/2 --precision auto": "each machine would choose its own format",
    "--shard 1/2 --csv a.csv": "one share has no table",
}


@pytest.mark.bad_input("B12")
@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "forecast"])
def test_a_mistake_is_one_line_and_nothing_is_written(words, dry, tmp_path, capsys):
    if dry and "csv" in words:
        return
    assert main(["run", *WORDS, *words.split(), *dry]) == 2

    error = capsys.readouterr().err
    assert MISTAKES[words] in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_share_is_named_and_belongs_to_runs_alone(monkeypatch):
    with pytest.raises(BenchError, match="no share is named"):
        api.run_share(**FAST)
    with pytest.raises(BenchError, match="shard"):
        api.evaluate("standard", "fgsm", "Linf:0.2", dataset="digits", shard="1/2")
    monkeypatch.setenv("BENCH_SHARD", "1/2")
    whole = api.evaluate("standard", "fgsm", "Linf:0.2", dataset="digits", n=8, batch=4, checks="none")
    assert not whole.missing
