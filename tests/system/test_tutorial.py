"""docs/tutorial.md: every command and Python block on it runs, in order, and prints what stands there."""

import gc
import re
import shlex
from pathlib import Path

import pytest

from bench.catalogue.options import BY_NAME, variable
from bench.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)

# What another processor or version of torch may move a number of the page by: six of 64 images.
TOLERANCE = 10.0
# Commands whose exit status is not 0, with the reason on the page.
STATUS = {"bench gate --baseline bench-results --results new --defenses at --attacks pgd-20": 4}

pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def agrees(said, printed):
    """Whether two lines have the same words and about the same numbers; spaces and rules do not count."""
    words = [" ".join(_NUMBER.sub("#", re.sub(r"-{3,}", "-", line)).split()) for line in (said, printed)]
    numbers = [[float(number) for number in _NUMBER.findall(line)] for line in (said, printed)]
    return words[0].replace("# ", "#") == words[1].replace("# ", "#") and all(
        abs(one - other) <= TOLERANCE for one, other in zip(*numbers, strict=True)
    )


def missing(said, printed):
    """The first line of a block that the output does not have, below those before it; `None` if it has them all."""
    rest = iter(printed.splitlines())
    return next(
        (line for line in said.splitlines() if line.strip() and not any(agrees(line, each) for each in rest)), None
    )


def run(line, capsys):
    """Run a command of the page in this process, with its output in a file where it says so."""
    words = shlex.split(line)
    words, target = (words[:-2], words[-1]) if ">" in words else (words, None)
    status = main(words[1:])
    printed = capsys.readouterr().out
    assert status == STATUS.get(line, 0), line
    if target:
        Path(target).write_text(printed, encoding="utf-8")
    return printed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_block_of_the_page_runs_and_prints_what_stands_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", *(variable(name) for name in BY_NAME)):
        monkeypatch.delenv(name, raising=False)
    names, printed = {"__name__": "page"}, ""

    for kind, text in BLOCKS:
        if kind == "sh":
            printed = "".join(run(line, capsys) for line in text.splitlines())
        elif kind == "python":
            exec(compile(text, "docs/tutorial.md", "exec"), names)  # noqa: S102  (a page of ours)
            printed = capsys.readouterr().out
        else:
            assert missing(text, printed) is None, f"{missing(text, printed)!r} is not in\n{printed}"
    names.clear()
    gc.collect()


def test_the_page_has_a_block_of_every_kind_and_shows_what_they_print():
    kinds = [kind for kind, _ in BLOCKS]

    assert set(kinds) == {"sh", "python", "text"}
    assert kinds.count("sh") >= 9
    assert kinds.count("text") >= 9


def test_what_is_compared_is_words_and_numbers():
    """The comparison itself: it forgives layout and a few images, and nothing else."""
    assert agrees("at    71.9*   [59.9, 81.4]", "at  70.3* [58.2, 80.1]")
    assert not agrees("at    71.9*   [59.9, 81.4]", "at  71.9 [59.9, 81.4]")
    assert not agrees("at    71.9*", "at  51.9*")
    assert not agrees("at    71.9*", "ap  71.9*")
    assert missing("one 1\ntwo 2", "zero\none 1\ntwo 2") is None
    assert missing("two 2\none 1", "one 1\ntwo 2") == "one 1"


def test_the_installation_is_the_one_of_the_readme():
    """It is not run here; the README's lines are run by CI through the Makefile."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (venv, pip) = re.findall(r"^    (.+)$", PAGE.split("## 1. Install")[1].split("\n## ")[0], re.M)

    assert venv in readme
    assert pip.replace("-e ", "").replace("report", "test") in readme
