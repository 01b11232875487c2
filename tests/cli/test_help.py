"""The help: as wide as the terminal, whole sentences, nothing cut."""

import re

import pytest
import typer

from bench.cli import main
from bench.cli.app import app

COMMANDS = typer.main.get_command(app).commands


def shown(capsys, *words):
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True, params=[60, 80, 120, 200])
def width(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


@pytest.mark.parametrize("words", [[], ["results"], *([name] for name in COMMANDS)], ids=" ".join)
def test_nothing_is_cut_and_nothing_is_wider_than_the_terminal(words, width, capsys):
    text = shown(capsys, *words)
    # Click's own usage line and FAMILY:EPS,... of an option are meant so.
    assert not [
        word for word in re.findall(r"\S+\.\.\.", text) if word not in ("[ARGS]...", "[FOLDER]...", "FAMILY:EPS,...")
    ]
    assert max(map(len, text.split("\n"))) <= width


def test_every_command_is_listed_with_its_whole_summary(capsys):
    text = " ".join(shown(capsys).split())
    for name, command in COMMANDS.items():
        assert f" {name} {' '.join(command.help.split())}" in text


def test_a_wider_terminal_takes_fewer_lines(width, capsys):
    lines = shown(capsys, "run").split("\n")
    assert max(map(len, lines)) > min(width, 90) - 15


def test_every_command_stands_below_the_title_of_what_it_is_for(capsys):
    from bench.cli import main

    assert main(["--help"]) == 0

    printed = capsys.readouterr().out
    titles = [line for line in printed.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == [
        "Options:",
        "Measure:",
        "Read what was measured:",
        "Hold it against what was measured before:",
        "Look around:",
    ]
    assert printed.index("Measure:") < printed.index("  run ") < printed.index("Read what was measured:")


def test_the_commands_of_a_group_stand_below_one_title(capsys):
    from bench.cli import main

    assert main(["results", "--help"]) == 0

    assert "\nCommands:\n  list " in capsys.readouterr().out
