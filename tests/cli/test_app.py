"""The commands as a user types them: what they print, what they write, what they return."""

import csv
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from bench.catalogue import ATTACKS, DEFENSES
from bench.catalogue.weights import shipped
from bench.cli import main
from bench.report.live.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
FAST = ["--attacks", "fgsm,pgd-20[steps=3]", "--executor", "local"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Every command works from any folder, and writes nowhere but where it is told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


def bench(*words):
    return main([str(word) for word in words])


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def test_run_prints_the_table_writes_the_csv_and_resumes_byte_for_byte(tmp_path, capsys):
    command = ["run", "--defenses", "standard,atop", *FAST, "--n", 20, "--draws", 5, "--csv", "a.csv"]

    assert bench(*command) == 0
    first, before = capsys.readouterr(), files(tmp_path / "bench-results")
    assert bench(*command[:-1], "b.csv") == 0
    again = capsys.readouterr()

    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    assert files(tmp_path / "bench-results") == before
    assert "8 cells stored already, 0 to run" in again.err
    assert first.out.replace("a.csv", "b.csv") == again.out
    for word in ("standard", "atop", "fgsm", "Linf:0.2", "L2:1", "mean-of-5", "worst-of-5", "smoke numbers"):
        assert word in first.out


def test_the_csv_holds_what_the_verdicts_say(tmp_path):
    bench("run", "--defenses", "at", *FAST, "--n", 30, "--csv", "a.csv")

    with Path("a.csv").open(newline="") as stream:
        lines = {(row["attack"], row["threat"]): row for row in csv.DictReader(stream)}
    for path in Path("bench-results/digits/Linf-0.2/at").glob("[!c]*.json"):
        document = json.loads(path.read_text())
        robust = document["verdicts"]["adversarial"].count("1")
        row = lines[(document["cell"]["attack"]["label"], "Linf:0.2")]
        assert float(row["accuracy"]) == pytest.approx(100 * robust / 30, abs=0.01)
        assert float(row["low"]) < float(row["accuracy"]) < float(row["high"])


def test_dry_run_says_what_would_be_done_and_does_nothing(tmp_path, capsys):
    bench("run", "--defenses", "standard", *FAST, "--n", 10, "--threat", "Linf:0.2")
    before = files(tmp_path)
    capsys.readouterr()

    status = bench("run", "--defenses", "standard,at", "--attacks", "fgsm,pgd-eot-20", "--n", 10, "--dry-run")

    out = capsys.readouterr().out
    assert status == 0
    assert files(tmp_path) == before
    assert "stored  standard x fgsm (Linf:0.2)" in out
    assert "run     at x fgsm (Linf:0.2): at most 30 passes" in out
    assert "skip    at x pgd-eot-20" in out
    assert "8 cells on 10 images: 3 to run, 0 to derive, 1 stored, 4 skipped" in out


WRONG = {
    "run --defenses atpo": "did you mean",
    "run --attacks pgd20": "unknown attack 'pgd20': did you mean pgd-20",
    "run --threat Linf:8": "did you mean 8/255?",
    "run --threat Linv": "unknown threat family 'Linv': did you mean Linf?",
    "run --threat Linf:": "write a fraction such as 8/255",
    "run --dataset digitz": "digits",
    "run --n 0": "n",
    "run --n 513": "512",
    "run --n x": "--n",
    "run --draws 0": "--draws 0 is out of range",
    "run --batch 0": "--batch 0 is out of range",
    "run --jobs -1": "--jobs -1 is out of range",
    "run --seed -1": "--seed -1 is out of range",
    "run --device cuda:99": "--device 'cuda:99' is not here",
    "run --device mps": "--device 'mps' is not offered: give auto, cpu, cuda or cuda:N",
    "check at --device mps": "--device 'mps' is not offered: give auto, cpu, cuda or cuda:N",
    "train at --device mps": "--device 'mps' is not offered: give auto, cpu, cuda or cuda:N",
    "selftest --device mps": "--device 'mps' is not offered: give auto, cpu, cuda or cuda:N",
    "run --executor moon": "--executor 'moon' is unknown",
    "run --defenses ./nowhere.py:build": "no file './nowhere.py'",
    "run --results file": "'file' is a file; pass a folder",
    "run --results file/inside": "'file' is a file; pass a folder",
    "run --data nowhere --dataset cifar10": "nowhere",
    "run --weights empty --dataset imagefolder:nowhere": "nowhere",
    "table --results empty": "no results in 'empty'",
    "table --results nowhere": "does not exist",
    "table --format pdf": "--format 'pdf' is unknown",
    "table --best": "--best needs bold letters: add --format latex or markdown",
    "table --rotate": "--rotate is for papers: add --format latex",
    "table --format latex --fit wide": "--fit 'wide' is no width",
    "table --columns standard --cost": "--columns is for the table of accuracies: leave out --cost",
    "compare at": "'at' cannot be compared with itself: bench compare A B, or bench compare A --with FOLDER",
    "compare at at": "'at' cannot be compared with itself",
    "compare at ap --format pdf": "--format 'pdf' is unknown",
    "compare-attacks --format pdf": "--format 'pdf' is unknown",
    "compare at --with nowhere --results empty": "no results in 'empty'",
    "leaderboard --results empty": "no results in 'empty'",
    "leaderboard --csv file/a.csv": "--csv 'file/a.csv': 'file' is a file: name another folder",
    "leaderboard --csv empty": "--csv 'empty' is a folder: name a file, such as 'empty/NAME.csv'",
    "leaderboard --csv ''": "--csv '' is no path",
    "leaderboard --csv /dev/null": "--csv '/dev/null' is a device or a pipe, no file",
    "leaderboard --csv a.csv --json": "--json prints and --csv writes the leaderboard instead",
    "leaderboard --robustbench new --measures": "--measures prints and --robustbench writes",
    "leaderboard --robustbench file": "--robustbench 'file': 'file' is a file: name another folder",
    "leaderboard --results empty --robustbench empty/new": "lies in the results folder 'empty'",
    "curve --csv file/a.csv": "'file' is a file: name another folder",
    "run --csv empty --defenses at": "--csv 'empty' is a folder",
    "report --html empty": "--html 'empty' is a folder: name a file, such as 'empty/NAME.html'",
    "report --html file": "--html 'file' is no name for a page: end it in .html",
    "report --html a.html --results nowhere": "does not exist",
    "report": "Missing option '--html'. Try 'bench report --help'.",
    "images at fgsm --out file": "--out 'file': 'file' is a file: name another folder",
    "plot matrix --out file/a.pdf": "'file' is a file: name another folder",
    "plot matrix": "Missing option '--out'. Try 'bench plot --help'.",
    "history empty --csv empty": "--csv 'empty' is a folder",
    "history empty --plot a.jpg": "--plot 'a.jpg' is no file for a figure",
    "history empty --plot a.svg --csv a.svg": "--csv and --plot name the same file 'a.svg': name two",
    "history --git empty --by-time": "--by-time is for results folders",
    "history empty --last x": "not 'x'. Try 'bench history --help'.",
    "baseline update --baseline file --results empty": "--baseline 'file': 'file' is a file: name a folder",
    "baseline update --baseline file/a --results empty": "'file' is a file: name a folder",
    "table --checks --cost": "--checks and --cost are two answers",
    "table --checks --json": "--checks prints no JSON",
    "table --study ladder --format latex": "is for the tables of accuracies and costs: leave out --study",
    "table --study ladder --columns standard": "--columns is for the table of accuracies: leave out --study",
    "compare at --with empty --results empty": "--with and --results are both 'empty'",
    "gate --baseline empty --results empty/../empty": "--baseline and --results are both",
    "gate --floor at/fgsm=0 --json --annotations": "leave out --json or --annotations",
    "gate --floor at/fgsm=0 --junit a --markdown ./a": "--junit and --markdown name the same file",
    "gate --floor at/fgsm=0 --markdown empty": "--markdown 'empty' is a folder",
    "gate --floor at/fgsm=0 --results empty --badge empty/a.json": "lies in the results folder 'empty'",
    "gate --baseline nowhere": "does not exist",
    "gate --baseline empty --alpha 2": "--alpha 2.0 is out of range",
    "list studys": "did you mean studies",
    "show pgd20": "did you mean pgd-20",
    "train atpo": "did you mean",
    "train at --set epochs": "is not key=value",
    "train at --set epoch=3": "epochs",
    "nonsense": "No such command",
    "run --nonsense": "No such option",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_is_one_line_with_its_remedy_status_2_and_nothing_written(tmp_path, capsys, line):
    Path("file").write_text("mine")
    Path("empty").mkdir()
    before = files(tmp_path)

    status = bench(*shlex.split(line))

    printed = capsys.readouterr()
    assert status == 2
    assert printed.out == ""
    assert printed.err.startswith("bench: ")
    assert printed.err.count("\n") == 1
    assert WRONG[line] in printed.err
    assert files(tmp_path) == before
    assert not Path("bench-results").exists()


_LINEAR = """
import torch
def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
"""


@pytest.mark.parametrize(
    "command",
    [
        "run --defenses ./linear.py --attacks fgsm --threat Linf:0.2 --n 4 --executor local",
        "run --defenses ./linear.py --attacks fgsm --threat Linf:0.2 --n 4 --dry-run",
        "check ./linear.py --n 4",
        "train standard --set epochs=1 --set network=small-cnn",
    ],
)
@pytest.mark.parametrize(("ten", "notes"), [("10", 1), ("3", 0)])
def test_numbered_classes_are_noted_once_where_text_sorts_them_otherwise(tmp_path, capsys, command, ten, notes):
    """A run reads three splits of them, and says once which order it takes."""
    Path("linear.py").write_text(_LINEAR)
    for split, name, index in itertools.product(("train", "test"), ("1", "2", ten), range(12)):
        folder = tmp_path / "img" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 60 * (int(name) % 4) + index).save(folder / f"{index}.png")

    bench(*shlex.split(command), "--dataset", "imagefolder:img")

    printed = capsys.readouterr()
    assert printed.err.count("note: labels of img follow the names") == notes
    assert "follow the names" not in printed.out


def test_a_file_of_the_system_that_cannot_be_used_is_named_by_its_own_name(tmp_path, capsys):
    """Here a name that is too long; with folders of others and full quotas it is the same."""
    (tmp_path / "results").mkdir()
    before = files(tmp_path)

    status = bench("run", *FAST, "--defenses", "at", "--n", 4, "--label", "L" * 300, "--results", "results")

    said = capsys.readouterr().err.splitlines()[-1]
    assert status == 2
    assert said.startswith("bench: cannot use 'results/")
    assert said.endswith("(File name too long): name another file or folder")
    assert ".tmp-" not in said
    assert {name for name in files(tmp_path) if ".tmp-" in str(name)} == set()
    assert set(before) <= set(files(tmp_path))


@pytest.mark.parametrize("group", ["baseline", "results"])
def test_a_group_without_a_command_shows_its_help_line_by_line(group, capsys):
    assert bench(group) == 2

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"Usage: bench {group} [OPTIONS] COMMAND [ARGS]..."
    assert "Commands:" in lines


def test_a_note_that_nobody_reads_stops_no_command(tmp_path, monkeypatch):
    """As in `bench run ... 2>&1 | head -1`."""

    class Closed:
        def write(self, text):
            raise BrokenPipeError

    for name in ("1", "2", "10"):
        (tmp_path / "img" / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "stderr", Closed())

    Progress().say("note: labels of img follow the names")


def test_missing_and_damaged_weights_are_named(tmp_path, capsys):
    shutil.copytree(shipped() / "digits", tmp_path / "w" / "digits")
    weights = tmp_path / "w" / "digits" / "at.safetensors"
    weights.write_bytes(b"<html>not found</html>")
    card = json.loads(weights.with_suffix(".json").read_text())
    card.pop("sha256")
    weights.with_suffix(".json").write_text(json.dumps(card))
    for label in "ab":
        (tmp_path / "img" / label).mkdir(parents=True)
        for index in range(80):
            Image.new("L", (8, 8), 3 * index).save(tmp_path / "img" / label / f"{label}{index}.png")

    damaged = bench("run", "--defenses", "standard,at", *FAST, "--n", 10, "--weights", "w")
    says = capsys.readouterr().err
    missing = bench("run", "--defenses", "at", *FAST, "--n", 10, "--dataset", "imagefolder:img")

    assert (damaged, missing) == (2, 2)
    assert "HTML" in says
    assert says.count("\n") == 1
    assert "bench train at --dataset imagefolder:PATH" in capsys.readouterr().err
    assert not Path("bench-results").exists()


def gate(*words):
    return bench("gate", "--baseline", "base", "--results", "new", *words)


def test_the_gate_tells_a_regression_from_an_unchanged_rerun(tmp_path, capsys):
    """The four stories of a pull request: nothing changed, weights swapped, a cell lost, too few images."""
    run = ["run", "--defenses", "standard,at", "--attacks", "fgsm,pgd-20", "--executor", "local"]
    weights = tmp_path / "w" / "digits"
    shutil.copytree(shipped() / "digits", weights)
    assert bench(*run, "--n", 128, "--results", "base") == 0

    assert bench(*run, "--n", 128, "--results", "new") == 0
    assert gate() == 0

    (lost,) = Path("new/digits/Linf-0.2/at").glob("pgd-20.*.json")
    lost.unlink()
    assert gate() == 3

    shutil.copy(weights / "standard.safetensors", weights / "at.safetensors")
    shutil.rmtree("new")
    assert bench(*run, "--n", 128, "--results", "new", "--weights", "w") == 0
    assert "at.safetensors is not the file its card describes" in capsys.readouterr().err
    assert gate() == 1
    assert "REGRESSION at x pgd-20 (Linf:0.2)" in capsys.readouterr().out

    assert bench("gate", "--baseline", "nothing", "--results", "new") == 2
    shutil.rmtree("new")
    assert bench(*run, "--n", 16, "--results", "new") == 0
    assert gate() == 4
    assert gate("--allow-underpowered") == 0


def test_a_failed_cell_stands_as_fail_is_not_counted_and_is_tried_again(tmp_path, capsys):
    Path("mine.py").write_text(
        "import torch\nfrom pathlib import Path\n"
        "class Flaky(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        if len(x) > 8 and not Path('mended').exists():\n"
        "            raise RuntimeError('out of luck')\n"
        "        return x.flatten(1)[:, 20:30]\n"
        "def build():\n    return Flaky()\n"
    )
    command = ["run", "--defenses", "./mine.py:build", *FAST, "--n", 20, "--threat", "Linf:0.1", "--csv", "a.csv"]
    command += ["--checks", "none"]  # they would not let it come so far

    assert bench(*command) == 3
    printed = capsys.readouterr()
    assert printed.out.count("FAIL") >= 2
    assert "RuntimeError: out of luck" in printed.err
    assert bench("table") == 3
    Path("mended").touch()
    capsys.readouterr()
    assert bench(*command) == 0
    assert bench("table") == 0
    assert "FAIL" not in capsys.readouterr().out


@pytest.mark.parametrize("style", ["screen", "grid", "markdown", "latex"])
def test_the_table_comes_in_four_looks(capsys, style):
    bench("run", "--defenses", "standard", *FAST, "--n", 10)
    capsys.readouterr()

    assert bench("table", "--format", style) == 0

    out = capsys.readouterr().out
    assert "fgsm" in out
    assert {"markdown": "| ", "latex": r"\toprule", "grid": "+-", "screen": "---"}[style] in out


def test_two_vintages_of_a_defense_share_no_row_and_stand_beside_each_other_under_a_label(tmp_path, capsys):
    """Other weights under the same name: of the half that was not run again nobody knows whose it is."""
    other = tmp_path / "weights" / "digits"
    other.mkdir(parents=True)
    for suffix in ("safetensors", "json"):
        shutil.copy(ROOT / f"defenses/weights/digits/trades.{suffix}", other / f"at.{suffix}")
    command = ["run", "--defenses", "at", "--threat", "Linf:0.2", "--n", 8, "--checks", "none", "--executor", "local"]
    assert bench(*command, "--attacks", "fgsm,pgd-20[steps=3]") == 0
    again = [*command, "--attacks", "fgsm", "--weights", "weights"]

    assert bench(*again, "--label", "of trades") == 2
    assert "--label 'of trades': give letters" in capsys.readouterr().err
    assert bench(*again, "--label", "of-trades") == 0
    assert bench("table") == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines() if line.startswith("at")] == [
        "at#of-trades",
        "at",
        "at#of-trades",
    ]
    assert bench(*again) == 0
    assert bench("table") == 2
    assert "run all of its attacks again, or one of them with --label NAME" in capsys.readouterr().err


def test_what_is_printed_comes_as_json_too(tmp_path, capsys):
    """The same numbers, for whatever reads them next."""
    assert bench("run", "--defenses", "at,atop", *FAST, "--n", 20, "--draws", 5, "--csv", "a.csv") == 0
    capsys.readouterr()

    assert bench("table", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    with Path("a.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [row["key"] for row in told["rows"]] == [line["key"] for line in lines]
    assert [row["accuracy"] for row in told["rows"] if row["accuracy"] is not None] == [
        float(line["accuracy"]) for line in lines if line["accuracy"]
    ]
    assert "n=20 < 500: smoke numbers, not comparable with a leaderboard" in told["notes"]

    assert bench("leaderboard", "--json") == 0
    ranks = json.loads(capsys.readouterr().out)
    assert {item["defense"]: item["rank"] for item in ranks}.keys() == {"at", "atop"}
    assert all(item["low"] <= item["accuracy"] <= item["high"] for item in ranks)

    shutil.copytree("bench-results", "before")
    status = bench("gate", "--json", "--baseline", "before")
    told = json.loads(capsys.readouterr().out)
    assert (status, told["exit_code"], told["underpowered"]) == (4, 4, True)
    assert {row["verdict"] for row in told["rows"]} == {"ok"}


def test_list_and_show_know_everything_registered(capsys):

    assert bench("list") == 0
    listed = capsys.readouterr().out
    for name in [*ATTACKS.names(), *DEFENSES.names()]:
        assert re.search(rf"^ *{name} ", listed, re.M)
        assert bench("show", name) == 0
        assert name in capsys.readouterr().out
    assert bench("list", "attacks", "--json") == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == ATTACKS.names()


def test_show_knows_a_file_of_attacks(tmp_path, capsys):
    """L1 balls are defined for PGD and not for RayS, so both in turn are not either."""
    file = tmp_path / "found.toml"
    file.write_text('attacks = ["pgd-20[steps=50]", "rays"]')

    assert bench("show", str(file)) == 0
    told = capsys.readouterr().out
    assert "found: one after the other: pgd-20[steps=50], rays" in told
    assert re.findall(r"threat +(\w+):", told) == ["Linf"]

    file.unlink()
    assert bench("show", str(file)) == 2
    assert "bench search-attack writes one" in capsys.readouterr().err


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_leaves_does_not_stop_the_run(stream):
    """As in `bench run ... | head -1`: every verdict and the CSV are there all the same."""
    command = [
        *(sys.executable, "-c", "import sys; from bench.cli import main; sys.exit(main())", "run"),
        *("--defenses", "standard", *FAST, "--n", "10", "--csv", "a.csv"),
    ]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: subprocess.PIPE}
    process = subprocess.Popen(command, **streams)
    getattr(process, stream).close()

    process.wait(timeout=60)

    assert len(Path("a.csv").read_text().splitlines()) == 9
    assert len(list(Path("bench-results").rglob("standard/[!c]*.json"))) == 4  # two more are of the checks


def _gone(group):
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_terminated_a_run_says_so_and_leaves_no_worker(tmp_path):
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "import sys; from bench.cli import main; sys.exit(main())", "run"),
            *("--defenses", "atop", "--attacks", "pgd-20", "--n", "512", "--batch", "16"),
            *("--executor", "processes", "--jobs", "2"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(Path("bench-results").rglob("*shard*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)

    process.terminate()
    _, error = process.communicate(timeout=60)

    assert process.returncode == 143
    assert b"Traceback" not in error
    assert _gone(process.pid)


NEAREST_MEAN = """
import torch
from bench.datasets.load import load

def build():
    images = load("cifar10", "test", n=1000)
    x, y = torch.from_numpy(images.x).flatten(1), torch.from_numpy(images.y)
    means = torch.stack([x[y == label].mean(0) for label in range(10)])
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))
    model[1].weight.data, model[1].bias.data = means, -means.square().sum(1) / 2
    return model
"""


def certain_and_possible(eps, n):
    """Shares of images a linear model is right on: surely (dual norm, no box), and without attack."""
    from bench.catalogue import user_file
    from bench.datasets.load import load

    images = load("cifar10", "test", n=n)
    linear = user_file.build("./nearest.py")[1]
    x, y = torch.from_numpy(images.x).flatten(1), torch.from_numpy(images.y)
    logits, weight = linear(x), linear.weight
    gap = logits.gather(1, y[:, None]) - logits
    reach = eps * (weight[y][:, None] - weight[None]).abs().sum(2)
    others = torch.nn.functional.one_hot(y, 10) == 0
    return (gap > reach)[others].view(n, 9).all(1).float().mean(), (gap > 0)[others].view(n, 9).all(1).float().mean()


@pytest.mark.data
def test_the_matrix_runs_on_real_cifar_images():
    """A nearest-mean classifier on a slice of CIFAR-10: PGD ends at what the dual norm says, give or take the box."""
    data = os.environ.get("BENCH_DATA")
    if not data or not list(Path(data).glob("cifar10/test/*/*")):
        pytest.skip("BENCH_DATA names no folder with cifar10/test")
    Path("nearest.py").write_text(NEAREST_MEAN)
    attacks = ("--attacks", "fgsm,pgd-20,stadv")

    status = bench("run", "--dataset", "cifar10", "--defenses", "./nearest.py", *attacks, "--n", 100, "--csv", "a.csv")

    with Path("a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    accuracy = {(row["attack"], row["threat"]): float(row["accuracy"]) / 100 for row in rows if row["attack"]}
    certain, possible = certain_and_possible(8 / 255, 100)
    assert status == 0
    assert certain < possible - 0.1
    assert certain - 1e-6 <= accuracy[("pgd-20", "Linf:8/255")] <= certain + 0.04
    assert all(value <= possible + 1e-6 for value in accuracy.values())


@pytest.mark.parametrize(("folder", "typed"), [(None, "table"), ("mine", "table --results mine")])
def test_a_run_ends_with_a_command_that_prints_its_table_again(folder, typed, tmp_path, monkeypatch, capsys):
    """As it can be pasted: by the path of a command that is not on the PATH, and for the folder that was filled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [".venv/bin/bench"])
    where = [] if folder is None else ["--results", folder]

    assert main(["run", "--defenses", "at", "--attacks", "fgsm", "--n", "4", *FAST, *where]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"the table    .venv/bin/bench {typed}"

    assert main(last.split()[3:]) == 0
    assert "fgsm" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", [["list"], ["--help"], ["show", "atop"], ["show", "pgd-20"], ["run", "--help"]])
def test_looking_around_imports_neither_torch_nor_pandas(command):
    code = f"""
import sys
from bench.cli import main
status = main({command!r})
heavy = {{"numpy", "torch", "torchvision", "pandas", "sklearn", "scipy", "robustbench"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy or status else 0)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
