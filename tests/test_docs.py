"""What the documentation says can be typed, and what it links to is there."""

import re
import shlex
from pathlib import Path

import pytest

from bench.cli import main
from bench.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted(set(re.findall(r"`(bench [^`\n]+)`", README)) | set(re.findall(r"^(bench .+)$", README, re.M)))


def options(words):
    """The options of a command, which may be one of a group: `bench results prune`."""
    import typer

    found = typer.main.get_command(app)
    for word in words:
        if word not in getattr(found, "commands", {}):
            break
        found = found.commands[word]
    return {option for parameter in found.params for option in parameter.opts}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_the_readme_exists_with_its_options(line):
    words = shlex.split(line)

    given = {word for word in words[2:] if word.startswith("--")}

    assert given <= options(words[1:]) | {"--help"}


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


def test_the_example_defense_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    """A new user copies it: it has to work, and to be found out as stochastic."""
    monkeypatch.chdir(tmp_path)
    example = ROOT / "docs" / "examples" / "mine.py"

    status = main(["run", "--defenses", f"{example}:build", "--attacks", "fgsm", "--n", "20", "--threat", "Linf:0.2"])

    assert status == 0
    assert "mean-of-10" in capsys.readouterr().out
