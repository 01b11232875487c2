"""One run spread over machines without any engine: the table, the CSV and the documents are those of one machine."""

import json
import os
import re
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from bench.catalogue.options import BY_NAME, variable
from bench.cli import main
from bench.harness.executors.local import Local

ROOT = Path(__file__).resolve().parents[2]
STUDY = [
    "--defenses",
    "at,atop",
    "--attacks",
    "fgsm,pgd-20,screen",
    "--threat",
    "Linf:0.2",
    "--n",
    "32",
    "--batch",
    "8",
]
STUDY += ["--executor", "local"]


def documents(root):
    """Every document without its provenance, and what files of images hold, by place; runs are named for their time."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        if path.is_file() and path.parent.name not in ("runs", "locks"):
            content = path.read_bytes()
            if path.suffix == ".json":
                content = {name: value for name, value in json.loads(content).items() if name != "provenance"}
            else:  # safetensors writes the facts in its header in any order
                size = 8 + int.from_bytes(content[:8], "little")
                content = json.loads(content[8:size]), content[size:]
            found[str(path.relative_to(root))] = content
    return found


def bench(*words):
    return main([str(word) for word in words])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in BY_NAME:
        monkeypatch.delenv(variable(name), raising=False)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder and the CSV file of a run on one machine."""
    root = tmp_path_factory.mktemp("one")
    assert bench("run", *STUDY, "--checks", "none", "--results", root / "one", "--csv", root / "one.csv") == 0
    return root / "one", root / "one.csv"


def assert_same(folder, one, *more):
    """The last step: a run without a share, which computes nothing anew."""
    before = documents(folder)
    assert bench("run", *STUDY, *more, "--results", folder, "--csv", "again.csv") == 0
    assert before.items() <= documents(folder).items()
    assert documents(folder) == documents(one[0])
    assert Path("again.csv").read_bytes() == one[1].read_bytes()


def test_three_shares_that_are_merged_are_one_run(one, capsys):
    for index in (1, 2, 3):
        assert bench("run", *STUDY, "--checks", "none", "--results", f"part-{index}", "--shard", f"{index}/3") == 0
        told = capsys.readouterr().out
        assert f"share {index}/3" in told
        assert "bench results merge" in told
        assert not list(Path().rglob("checks.*")), "nothing is complete, so nothing is checked"
    assert not any(path.exists() for path in Path("part-1").rglob("pgd-20.????????????????.json"))

    assert bench("results", "merge", "part-1", "part-2", "part-3", "--into", "all") == 0

    assert "6 finished, 6 of them now, from shards" in capsys.readouterr().out
    assert documents("all") == documents(one[0])
    assert_same(Path("all"), one, "--checks", "none")


def test_seven_shares_in_one_folder_are_one_run(one):
    """As on a network file system; two of them have nothing to wait for, and no reservation is left."""
    for index in (5, 1, 7, 3, 2, 6, 4):
        assert bench("run", *STUDY, "--checks", "none", "--results", "all", "--shard", f"{index}/7") == 0
        assert not Path("all/locks").exists()

    assert_same(Path("all"), one, "--checks", "none")


@pytest.mark.slow
def test_the_checks_of_shares_are_those_of_one_run():
    """Each share examines the defenses of its tasks, and computes its part of the probes."""
    few = ("--defenses", "at")
    assert bench("run", *STUDY, *few, "--results", "one", "--csv", "one.csv") == 0
    for index in (1, 2, 3):
        assert bench("run", *STUDY, *few, "--results", f"part-{index}", "--shard", f"{index}/3") == 0
    assert bench("results", "merge", "part-1", "part-2", "part-3", "--into", "all") == 0
    assert any(place.startswith("checks/") for place in documents("all"))

    assert_same(Path("all"), (Path("one"), Path("one.csv")), *few)


class Stopped(Exception):
    """The end of a call in the middle."""


@pytest.fixture
def counted(monkeypatch):
    """Returns a function that makes calls end after so many tasks, and a list of the tasks that were stored."""
    run, done = Local.run, []

    def stops(most):
        def stopping(self, agenda, on_pass):
            for count, report in enumerate(run(self, agenda, on_pass)):
                if count == most:
                    raise Stopped
                yield report
                done.append((report.task.cell.title, report.task.index))

        monkeypatch.setattr(Local, "run", stopping)

    return stops, done


@pytest.mark.fault("F20")
def test_a_run_moves_from_one_machine_to_three_to_seven(one, counted, record_property):
    """Stopped in the middle each time, in folders of their own: no verdict is lost, none is computed twice."""
    stops, done = counted
    record_property("injections", 2)
    stops(3)
    with pytest.raises(Stopped):
        bench("run", *STUDY, "--checks", "none", "--results", "whole")
    for of, most in ((3, 2), (7, 99)):
        stops(most)
        for index in range(1, of + 1):
            shutil.copytree("whole", f"{of}-{index}")
            words = ("run", *STUDY, "--checks", "none", "--results", f"{of}-{index}", "--shard", f"{index}/{of}")
            with pytest.raises(Stopped) if of == 3 else nullcontext():
                assert bench(*words) == 0
        shutil.rmtree("whole")
        assert bench("results", "merge", *(f"{of}-{index}" for index in range(1, of + 1)), "--into", "whole") == 0
        if of == 3:
            assert len(done) == 3 + 3 * 2

    assert len(done) == len(set(done)) == 6 * 4
    record_property("lost", 0)
    assert_same(Path("whole"), one, "--checks", "none")


SCRIPT = ROOT / "docs" / "scale.md"


def array_script():
    """The lines of the SLURM script in the documentation."""
    section = SCRIPT.read_text(encoding="utf-8").split("## Without any engine: `--shard`")[1].split("\n## ")[0]
    (block,) = [each for each in section.split("```")[1::2] if each.startswith("bash\n#!")]
    return block.removeprefix("bash\n")


def test_the_array_script_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    """As sbatch would run it, once for each number of the array; what it asks of bench is then run here."""
    script = array_script()
    lines = script.strip().splitlines()
    assert len(lines) <= 5
    (array,) = [line for line in lines if line.startswith("#SBATCH --array")]
    first, last = map(int, array.partition("=")[2].split("-"))
    Path("array.sh").write_text(script)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "bench").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (tools / "bench").chmod(0o755)
    for name, value in (
        ("N", "8"),
        ("CHECKS", "none"),
        ("ATTACKS", "fgsm,noise"),
        ("EXECUTOR", "local"),
        ("BATCH", "4"),
    ):
        monkeypatch.setenv(f"BENCH_{name}", value)
    tasks = 0
    for number in range(first, last + 1):
        env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(number)}
        asked = subprocess.run(["bash", "array.sh"], env=env, capture_output=True, text=True, timeout=60, check=True)
        assert bench(*asked.stdout.splitlines()) == 0
        found = re.search(rf"share {number}/{last} +(\d+) of its (\d+) tasks", capsys.readouterr().out)
        assert found[1] == found[2]
        tasks += int(found[1])

    folders = sorted(Path().glob("results-*"))
    assert len(folders) == last
    assert bench("results", "merge", *folders, "--into", "results-all") == 0
    finished = [path for path in Path("results-all").rglob("*.json") if re.search(r"\.[0-9a-f]{16}\.json$", path.name)]
    assert tasks == 2 * len([path for path in finished if path.parent.parent.parent.name == "digits"])
