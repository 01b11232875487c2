"""Code that nobody typed, names that are commands, and folders whose links lead elsewhere: none of it does anything.

Files that hold code themselves are in `test_malicious.py`.
"""

import html
import json
import os
import platform
import re
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bench.catalogue.options import settled
from bench.cli import main
from bench.errors import BenchError, one_line, shown
from bench.report.ci.annotations import commands
from bench.report.ci.escaping import for_command, for_markdown, for_xml
from bench.report.gate_report import mistaken
from bench.report.live.bars import colored
from bench.report.plain import flat, json_text
from bench.results import csv_file, documents
from bench.results.store import Store

# What a terminal obeys, what Unicode hides, what turns around what follows.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\b\u202e\u2066\u200b\ufeff\u2028\x85"
VISIBLE = re.compile(r"[\n\t]|[^\W_]|[ -~]|[²-⁹×·≤≥–—…]")
MINE = """
import torch
from pathlib import Path

def build():
    with Path({marker!r}).open("a") as file:
        file.write("x")
    layer = torch.nn.Linear(64, 10)
    torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return torch.nn.Sequential(torch.nn.Flatten(), layer)
"""
# The name of the machine, of the user, and what else the environment may hold.
PRIVATE = "nobody-is-to-know-this"
SMALL = ("--attacks", "fgsm", "--threat", "Linf:0.2", "--n", "8", "--checks", "none")


def written(path, marker):
    path.write_text(MINE.format(marker=str(marker)))
    return path


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A results folder of a user's defense, whose file was replaced since; this process has forgotten it."""
    folder = tmp_path_factory.mktemp("stored")
    mine = written(folder / "mine.py", folder / "first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: PRIVATE)
        patch.setattr(platform, "node", lambda: PRIVATE)
        for name in ("USER", "LOGNAME", "HOSTNAME"):
            patch.setenv(name, PRIVATE)
        patch.setenv("SECRET_TOKEN", PRIVATE)
        assert main(["run", "--defenses", f"{mine}:build,at", *SMALL, "--results", str(folder / "a")]) == 0
    shutil.copytree(folder / "a", folder / "b")
    assert (folder / "first").exists()
    written(mine, folder / "executed")
    for name in [name for name in sys.modules if name.startswith("_bench_custom_")]:
        del sys.modules[name]
    return folder


READING = {
    "table": ("table",),
    "leaderboard": ("leaderboard",),
    "measures": ("leaderboard", "--measures"),
    "curve": ("curve",),
    "compare": ("compare", "mine", "at"),
    "gate": ("gate", "--baseline", "{b}", "--allow-underpowered"),
    "history": ("history", "{b}"),
    "runs": ("results", "list"),
    "verify": ("results", "verify"),
    "page": ("report", "--html", "{out}/page.html"),
    "images": ("images", "mine", "fgsm", "--out", "{out}"),
    "list": ("list",),
    "baseline": ("baseline", "show", "--baseline", "{b}"),
}


@pytest.mark.malicious("X05")
@pytest.mark.parametrize("command", READING)
def test_reading_a_results_folder_runs_no_code_that_it_names(stored, tmp_path, command, capsys):
    words = [word.format(b=stored / "b", out=tmp_path) for word in READING[command]]
    where = [] if command in ("list", "baseline") else ["--results", str(stored / "a")]

    status = main([*words, *where])

    told = capsys.readouterr()
    assert status in (0, 1, 2, 3), told.err
    assert status != 2 or command in ("curve", "images", "history", "baseline"), told.err
    assert not (stored / "executed").exists()


@pytest.fixture
def study(tmp_path):
    """A study of somebody else, which names a file beside it."""
    mine = written(tmp_path / "theirs.py", tmp_path / "executed")

    def write(**options):
        lines = [f"{key} = {value!r}\n" for key, value in {"threat": "Linf:0.2", "n": 8, **options}.items()]
        (tmp_path / "theirs.toml").write_text("".join(lines))
        return str(tmp_path / "theirs.toml")

    return mine, write


@pytest.mark.malicious("X05")
@pytest.mark.parametrize("option", ["defenses", "attacks"])
def test_a_study_that_names_code_is_refused_before_it_runs(study, tmp_path, capsys, option):
    mine, write = study
    named = write(**{"defenses": "at", "attacks": "fgsm", option: f"{mine}:build"})

    for more in ([], ["--dry-run"]):
        status = main(["run", "--study", named, "--results", str(tmp_path / "r"), "--checks", "none", *more])
        said = capsys.readouterr().err
        assert status == 2
        assert said.startswith(f"bench: study '{named}' names '{mine}', which is code and was not run: read it, then ")
        assert said.count("\n") == 1
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "r").exists()


@pytest.mark.malicious("X05")
def test_the_option_that_the_refusal_names_is_enough_until_the_code_changes(study, tmp_path, capsys):
    mine, write = study
    named = write(defenses=f"{mine}:build", attacks="fgsm")
    assert main(["run", "--study", named]) == 2
    option, digest = re.search(r"add --(trust) ([0-9a-f]{64})\n", capsys.readouterr().err).groups()

    assert settled({"study": named, option: digest}).defenses == f"{mine}:build"
    mine.write_text(mine.read_text() + "# changed\n")
    with pytest.raises(BenchError, match="was not run"):
        settled({"study": named, option: digest})


@pytest.mark.malicious("X05")
def test_a_variable_that_names_code_is_refused_and_cannot_trust_it(study, tmp_path, capsys, monkeypatch):
    mine, _ = study
    monkeypatch.setenv("BENCH_DEFENSES", f"{mine}:build")
    monkeypatch.setenv("BENCH_TRUST", "0" * 64)

    status = main(["run", *SMALL, "--results", str(tmp_path / "r")])

    assert status == 2
    assert capsys.readouterr().err.startswith(f"bench: BENCH_DEFENSES names '{mine}', which is code")
    assert not (tmp_path / "executed").exists()


@pytest.mark.malicious("X05")
def test_a_dry_run_executes_no_file_that_was_typed(tmp_path):
    mine = written(tmp_path / "mine.py", tmp_path / "executed")

    assert main(["run", "--defenses", f"{mine}:build", *SMALL, "--results", str(tmp_path / "r"), "--dry-run"]) == 0
    assert not (tmp_path / "executed").exists()


# Of the standard library, of what everything is made of, and of ours; `python -m bench` itself would be `bench.py`.
SHADOWS = (
    *(
        "abc_",
        "argparse",
        "ast",
        "base64",
        "bisect",
        "collections_",
        "contextlib",
        "copy",
        "csv",
        "ctypes",
        "dataclasses",
    ),
    *(
        "decimal",
        "difflib",
        "email",
        "enum",
        "errno_",
        "fractions",
        "functools_",
        "gettext",
        "hashlib",
        "heapq",
        "http",
    ),
    *("inspect", "json", "logging", "math_", "multiprocessing", "numbers", "numpy", "pathlib", "pickle", "platform"),
    *("queue", "random", "re_", "scipy", "select", "selectors", "shlex", "shutil", "signal", "sklearn", "socket"),
    *("statistics", "string", "struct", "subprocess", "tempfile", "textwrap", "threading", "token", "tokenize"),
    *("tomllib", "torch", "torchvision", "traceback", "typer", "typing", "unicodedata", "urllib", "uuid", "rich"),
    *("warnings_", "weakref_", "xml", "zipfile", "filelock", "safetensors", "pandas", "tabulate", "PIL", "attacks"),
    *("defenses", "benchmark", "sitecustomize_", "click", "resource", "secrets", "locale", "calendar", "datetime"),
)


@pytest.fixture
def shadowed(tmp_path):
    """A working directory with a file of the name of every module that matters."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'executed')!r}, 'a').write(__name__ + ' ')\nraise ImportError('shadowed')\n"
        )
    return folder


def started(words, folder):
    # Without the variable that would keep the folder out by itself.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = os.pathsep.join(
        str(Path(place).resolve()) for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place
    )
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.malicious("X06")
def test_python_m_bench_and_its_workers_import_nothing_from_the_working_directory(shadowed, tmp_path, record_property):
    """Nor does the process that judges images again; and the file that was typed imports its neighbour."""
    written(shadowed / "mine.py", tmp_path / "built")
    (shadowed / "mine.py").write_text("import neighbour_of_mine\n" + (shadowed / "mine.py").read_text())
    (shadowed / "neighbour_of_mine.py").write_text("a = 1\n")
    words = ["run", "--defenses", "at,./mine.py", "--attacks", "fgsm", "--threat", "Linf:0.2", "--n", "8"]

    done = started([sys.executable, "-m", "bench", *words, "--executor", "processes", "--jobs", "2"], shadowed)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "built").exists()
    assert not (tmp_path / "executed").exists(), (tmp_path / "executed").read_text()
    record_property("injections", len(SHADOWS))


@pytest.mark.malicious("X06")
def test_the_console_script_imports_nothing_from_the_working_directory(shadowed, tmp_path):
    script = Path(sys.executable).with_name("bench")
    if not script.is_file():
        pytest.skip("not installed")
    shutil.copy(shadowed / "json.py", shadowed / "bench.py")

    done = started([str(script), "list"], shadowed)

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "executed").exists(), (tmp_path / "executed").read_text()


@pytest.mark.malicious("X09")
def test_a_page_has_no_markup_of_others(stored, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("itables")
    root = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copytree(stored / "a", root)
    assert main(["report", "--results", str(root), "--html", str(tmp_path / "page.html")]) == 0

    page = (tmp_path / "page.html").read_text()
    assert "<img src=x" not in page
    assert "default-src 'none'" in html.unescape(page)


@pytest.mark.malicious("X10")
@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=1\n=2", "\u200b=1", "\x1b=1"]
)
def test_no_cell_of_a_csv_file_is_a_formula(text):
    (_, line) = csv_file.encoded([{"name": text}], ["name"], []).decode().splitlines()

    assert line.lstrip('"').startswith("'")


@pytest.mark.malicious("X11")
@pytest.mark.parametrize("level", ["[", '{"a":'])
@pytest.mark.parametrize("place", ["matrix.json", "runs/1.json"])
def test_a_document_of_200_000_levels_is_one_line(tmp_path, capsys, level, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(level * 200_000)

    assert main(["table", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.malicious("X11")
@pytest.mark.parametrize("text", ["n = " + "[" * 100_000, "n = " + "[" * 60 + "]" * 60, "a." * 1000 + "n = 1"])
@pytest.mark.parametrize("words", [["run", "--study"], ["audit"]])
def test_toml_of_any_depth_is_one_line(tmp_path, capsys, text, words):
    (tmp_path / "a.toml").write_text(text)

    assert main([*words, str(tmp_path / "a.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.malicious("X11")
@pytest.mark.parametrize("kind", ["size", "pipe", "device"])
def test_a_file_without_end_is_never_read(tmp_path, capsys, kind, record_property):
    """A study, a claim, a card and a document of five gigabytes, which take no room on the disk; or a pipe."""
    (tmp_path / "digits").mkdir()
    (tmp_path / "results").mkdir()
    shutil.copy(Path("defenses/weights/digits/at.safetensors"), tmp_path / "digits" / "at.safetensors")
    places = ("a.toml", "digits/at.json", "results/matrix.json")
    for place in (tmp_path / each for each in places):
        if kind == "size":
            with place.open("wb") as file:
                file.truncate(5 << 30)
        elif kind == "pipe":
            os.mkfifo(place)
        else:
            place.symlink_to("/dev/zero")

    for words in (
        ["run", "--study", str(tmp_path / "a.toml")],
        ["audit", str(tmp_path / "a.toml")],
        ["run", "--weights", str(tmp_path), "--defenses", "at", *SMALL, "--results", str(tmp_path / "r")],
        *([["table", "--results", str(tmp_path / "results")]] if kind == "size" else []),
    ):
        assert main(words) == 2, words
        assert capsys.readouterr().err.count("\n") == 1
    record_property("injections", 4 if kind == "size" else 3)


LINKS = {
    "a dataset": ("digits", True),
    "a threat model": ("digits/Linf-0.2", True),
    "runs": ("runs", True),
    "locks": ("locks", True),
    "the checks": ("checks", True),
    "recognized": ("recognized", True),
    "a document": ("digits/Linf-0.2/at/fgsm.0123456789abcdef.json", False),
    "a lock": ("locks/0123456789abcdef0123456789abcdef", False),
    "a temporary file": (f".tmp-{os.getpid()}", False),
}


@pytest.mark.malicious("X13")
@pytest.mark.parametrize("what", LINKS)
def test_nothing_is_written_through_a_link_in_a_results_folder(tmp_path, capsys, what):
    place, is_folder = LINKS[what]
    root, outside = tmp_path / "results", tmp_path / "outside"
    (root / place).parent.mkdir(parents=True)
    outside.mkdir() if is_folder else outside.write_text("mine")
    (root / place).symlink_to(outside, target_is_directory=is_folder)

    status = main(["run", "--defenses", "at", *SMALL, "--results", str(root)])

    assert status == 2
    assert "is a symbolic link, and nothing is written through one" in capsys.readouterr().err
    assert list(outside.iterdir()) == [] if is_folder else outside.read_text() == "mine"


@pytest.mark.malicious("X13")
def test_the_results_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "disk")

    store = Store(tmp_path / "results")
    store.require_writable()
    store.keep_answers("mine", "0" * 64, "mark", "answers")

    assert len(list((tmp_path / "disk" / "recognized").iterdir())) == 1


OUTPUTS = {
    "--csv": ("leaderboard",),
    "--html": ("report",),
    "--junit": ("gate", "--baseline", "{b}", "--allow-underpowered"),
    "--markdown": ("gate", "--baseline", "{b}", "--allow-underpowered"),
    "--badge": ("gate", "--baseline", "{b}", "--allow-underpowered"),
    "--out": ("plot", "matrix"),
}
SUFFIXES = {
    "--html": ".html",
    "--junit": ".xml",
    "--badge": ".svg",
    "--out": ".pdf",
    "--csv": ".csv",
    "--markdown": ".md",
}


@pytest.mark.malicious("X13")
@pytest.mark.parametrize("option", OUTPUTS)
def test_no_output_follows_a_link_or_replaces_one(stored, tmp_path, capsys, option):
    words = [word.format(b=stored / "b") for word in OUTPUTS[option]]
    target, link = tmp_path / "target", tmp_path / f"out{SUFFIXES[option]}"
    target.write_text("mine")
    link.symlink_to(target)

    assert main([*words, "--results", str(stored / "a"), option, str(link)]) == 2
    assert "is a link to" in capsys.readouterr().err
    assert link.is_symlink()
    assert target.read_text() == "mine"


@pytest.mark.malicious("X15")
@pytest.mark.malicious("X16")
def test_a_run_writes_no_pickle_and_names_neither_the_home_nor_the_machine(stored, tmp_path):
    """Everything that a run of a file with an absolute path wrote, a page and a CSV file besides."""
    main(["leaderboard", "--results", str(stored / "a"), "--csv", str(tmp_path / "a.csv")])
    main(["report", "--results", str(stored / "a"), "--html", str(tmp_path / "a.html")])
    files = [path for folder in (stored / "a", tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 6

    for path in files:
        content = path.read_bytes()
        assert not content.startswith((b"\x80", b"PK\x03\x04")), path
        assert str(stored).encode() not in content, path
        assert PRIVATE.encode() not in content, path
        assert f"{Path.home()}/".encode() not in content, path


@pytest.mark.malicious("X17")
def test_no_name_reaches_a_terminal_as_a_command(tmp_path, capsys, record_property):
    """Of a file of code that does not load, of a folder, a study, a dataset, an option, an output."""
    odd = tmp_path / f"mine{HOSTILE}.py"
    odd.write_text(f"raise ValueError({HOSTILE!r})\n")
    (tmp_path / f"s{HOSTILE}.toml").write_text("defenses = 1")
    name = f"x{HOSTILE}"
    asked = [
        ["run", "--defenses", f"{odd}:build", *SMALL, "--results", str(tmp_path / "r")],
        ["run", "--defenses", name, *SMALL],
        ["run", "--attacks", name],
        ["run", "--threat", name],
        ["run", "--study", str(tmp_path / f"s{HOSTILE}.toml")],
        ["run", "--dataset", name],
        ["run", "--device", name],
        ["run", name],
        [name],
        ["table", "--results", str(tmp_path / name)],
        ["import", str(tmp_path / f"{name}.pt"), "--defense", "at", "--threat", "Linf:0.2"],
        ["audit", str(tmp_path / name)],
        ["train", name],
        ["download", name],
        ["show", name],
        ["check", name],
    ]
    for words in asked:
        status = main(words)
        told = capsys.readouterr()
        assert status == 2, words
        assert told.err.count("\n") == 1, told.err
        assert shown(told.err) == told.err
        assert not set(HOSTILE) - {"2", "J", "[", "]", "0", ";", "o", "w", "n", "e", "d", "3", "1", "m"} & set(told.err)
    record_property("injections", len(asked))


@pytest.mark.malicious("X17")
def test_a_defense_of_a_hostile_name_is_shown_harmlessly_everywhere(tmp_path, capsys, record_property):
    """In the table of its run, in FAIL lines, in what is stored and printed again, in all formats."""
    odd = tmp_path / f"mine{HOSTILE.replace('[', '').replace(']', '')}.py"  # brackets would be parameters
    odd.write_text(
        "import torch\n"
        "class Odd(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        f"        if x.requires_grad: raise ValueError({HOSTILE!r})\n"
        "        return x.flatten(1)[:, :10]\n"
        "def build():\n    return Odd()\n"
    )
    where = ["--results", str(tmp_path / "r")]
    asked = [
        ["run", "--defenses", f"{odd}:build,at", *SMALL, *where],
        ["table", *where],
        ["table", "--json", *where],
        ["table", "--format", "latex", *where],
        ["table", "--format", "markdown", *where],
        ["leaderboard", *where],
        ["results", "list", *where],
        ["results", "list", "--json", *where],
        ["gate", "--floor", "at/fgsm=0", "--annotations", "--junit", str(tmp_path / "j.xml"), *where],
        ["leaderboard", "--csv", str(tmp_path / "a.csv"), *where],
        ["report", "--html", str(tmp_path / "a.html"), *where],
    ]
    for words in asked:
        main(words)
        told = capsys.readouterr()
        assert "mine" in told.out + told.err or words[0] == "gate" or words[0] == "report" or "--csv" in words, words
        assert shown(told.out + told.err) == told.out + told.err, words
    for path in (tmp_path / "j.xml", tmp_path / "a.csv", tmp_path / "a.html"):
        assert not set("\x1b\x07\x9b\u202e\x00") & set(path.read_text()), path
    record_property("injections", len(asked))


@pytest.mark.malicious("X17")
@pytest.mark.parametrize("border", [shown, flat, for_command, for_markdown, for_xml, json_text])
def test_every_border_takes_the_commands_out(border):
    found = border(f"a{HOSTILE}b")

    assert not set("\x1b\x07\r\b\x00") & set(found)
    assert border is for_xml or not set("\x9b\u202e\u2066\u200b\ufeff\u2028\x85") & set(found)
    assert border("pgd-20 é 漢字 α ≤ 1 %").replace("&#", "") != ""


@pytest.mark.malicious("X17")
def test_errors_of_users_code_their_output_and_mistakes_of_a_gate_are_plain():
    assert one_line(ValueError(f"a{HOSTILE}b")).isprintable()
    line = colored(f"\x1b[31mred\x1b[0m {HOSTILE}").plain
    assert line.startswith("red ")
    assert line.isprintable()
    for command in commands(mistaken(f"a\n::error::{HOSTILE}##[error]")):
        assert "\n" not in command
        assert not set("\x1b\u202e") & set(command)


@pytest.mark.malicious("X20")
@pytest.mark.skipif(os.name != "posix", reason="needs permissions of POSIX")
@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
def test_files_have_the_permissions_of_the_users_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        root = tmp_path / "r"
        documents.write(root / "runs" / "a.json", {"format": documents.FORMAT})
        csv_file.write([], ["a"], [], tmp_path / "a.csv")
    finally:
        os.umask(before)
    for path in (root, root / "runs", root / "runs" / "a.json", tmp_path / "a.csv"):
        usual = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == usual & ~mask
        assert not path.stat().st_mode & stat.S_IWOTH


@pytest.mark.malicious("X20")
def test_no_temporary_name_can_be_guessed(tmp_path, monkeypatch):
    """Whoever lays links there would have to know it; a name that is taken is not opened."""
    from bench.machine import system as _system

    names = set()
    for _ in range(20):
        with _system.whole(tmp_path / "a.json"):
            names |= {path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp-")}
    assert len(names) == 20
    monkeypatch.setattr(os, "urandom", bytes)
    (tmp_path / "outside").write_text("mine")
    (tmp_path / ".tmp-00000000-b.json").symlink_to(tmp_path / "outside")

    with pytest.raises(FileExistsError):
        _system.write_whole(tmp_path / "b.json", b"theirs")

    assert (tmp_path / "outside").read_text() == "mine"


@pytest.mark.malicious("X20")
def test_no_source_of_ours_names_a_file_in_a_folder_that_all_share():
    root = Path(__file__).parents[2]
    for folder in ("benchmark", "attacks", "defenses"):
        for path in (root / folder).rglob("*.py"):
            # The folders of a Ray cluster have names that are a secret of the run, and are refused if others made them.
            if not path.name.startswith("ray"):
                assert not re.search(r"[\"']/tmp/|gettempdir\(|mktemp\(", path.read_text(encoding="utf-8")), path


def test_what_is_stored_reads_as_what_it_is(stored):
    """The folder that these tests read has what they speak of."""
    texts = [path.read_text() for path in (stored / "a").rglob("*.json")]
    assert any(json.loads(text).get("verdicts") for text in texts)
    assert any("mine" in text for text in texts)
