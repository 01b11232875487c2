"""What the documentation says can be typed, and what it links to is there."""

import re
import shlex
from pathlib import Path

import pytest

from bench.catalogue import borrowed
from bench.catalogue.request import parse_list
from bench.cli import main
from bench.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "performance/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "results").glob("*/README.md")),
]


def commands(text):
    """The commands of a page: in backticks, or on lines of their own."""
    text = text.replace("\\\n", " ")
    found = re.findall(r"`((?:bench|python -m bench) [^`\n]+)`", text)
    found += re.findall(r"^(?: {4})?((?:bench|python -m bench) .+)$", text, re.M)
    # What may be left out stands in brackets after a space, a name's parameters right after the name.
    return sorted({re.sub(r" \[[^\]]*\](\.\.\.)?", "", each) for each in found})


COMMANDS = commands(README)
EVERYWHERE = sorted({each for page in PAGES for each in commands(page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("line", EVERYWHERE)
def test_every_command_of_the_documentation_parses(line):
    """Name, options, and how many arguments there are; what stands for the reader's own is not looked up."""
    import typer

    words = shlex.split(line.removeprefix("python -m "), comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    command, context = typer.main.get_command(app), None
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    if words not in ([], ["--help"]):
        context = command.context_class(command)
        command.make_parser(context).parse_args(words)


LISTS = sorted(
    {(option, names) for line in EVERYWHERE for option, names in re.findall(r"--(defenses|attacks) (\S+)", line)}
)


@pytest.mark.parametrize(("option", "names"), LISTS)
def test_every_list_of_names_in_a_command_can_be_split(option, names):
    (names,) = shlex.split(names)

    assert parse_list(names, option.removesuffix("s"))


def test_the_readme_shows_enough_commands_to_be_worth_checking():
    assert len(COMMANDS) >= 12


def test_the_two_commands_of_the_readme_are_targets_that_ci_runs_as_printed():
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text()

    for command in ("make run", "make test"):
        assert re.search(rf"^{command}$", README, re.M)
        assert re.search(rf"^{command.split()[1]}:", makefile, re.M)
        assert re.search(rf"^{command}$", ci, re.M)


def test_every_command_has_help_that_says_what_it_does(capsys):
    import typer

    for name, command in typer.main.get_command(app).commands.items():
        assert command.help, name
        assert main([name, "--help"]) == 0
        assert command.help.split()[0] in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def anchors(page):
    """The headings of a page as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_into_a_page_leads_to_a_heading(page):
    for target, anchor in re.findall(r"\]\(([\w./-]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        assert anchor in anchors(page.parent / target if target else page), f"{target}#{anchor}"


def test_the_example_defense_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    """A new user copies it: it has to work, and to be found out as stochastic."""
    monkeypatch.chdir(tmp_path)
    example = ROOT / "docs" / "examples" / "mine.py"

    status = main(["run", "--defenses", f"{example}:build", "--attacks", "fgsm", "--n", "20", "--threat", "Linf:0.2"])

    assert status == 0
    assert "mean-of-10" in capsys.readouterr().out


PAGE = (ROOT / "docs" / "defenses.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"^    (bench .+)$", PAGE, re.M))
def test_every_command_of_the_page_on_defenses_names_what_exists(line):
    """Options, names and parameters; the files and repositories are the reader's."""
    import typer

    from bench.cli.app import app

    words = shlex.split(line)
    given = {word: words[index + 1] for index, word in enumerate(words[:-1]) if word.startswith("--")}
    command = typer.main.get_command(app).commands[words[1]]

    assert set(given) <= {option for parameter in command.params for option in parameter.opts}
    for request in parse_list(given.get("--defenses", words[-1]), "defense"):
        if request.is_peer:
            borrowed.check(request)
