"""Bars on a real terminal: gone at the end, and every line that was written meanwhile is there."""

import re

import pytest

from tests.report.live.terminal import in_a_terminal

RUN = """
import os, subprocess, sys, time
from bench.report.live.bars import Bars

print("before")
bars = Bars()
tasks = [bars.shown.add_task(f"cell {i}", total=20) for i in range(3)]
bars.start()
for step in range(20):
    for task in tasks:
        bars.shown.advance(task)
    if step == 3:
        print("printed to stdout")
    if step == 5:
        print("printed to stderr", file=sys.stderr)
    if step == 7:
        os.write(2, b"from below Python\\n")
    if step == 9:
        subprocess.run([sys.executable, "-c", "import sys; print('a worker'); print('its warning', file=sys.stderr)"])
    if step == 11:
        bars.say("a cell has finished")
    if step == 13:
        os.write(2, b"a bar of its own 1 %\\ra bar of its own 2 %\\n")
    time.sleep(0.05)
os.write(1, b"written last\\n")
bars.stop()
print("the table")
"""


def _screen(written):
    """What a terminal of 80 columns shows: enough of one for what rich writes."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[([?0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)", written):
        number, command, control, text = token
        if command == "A":
            row = max(0, row - int(number or 1))
        elif command == "K":
            lines[row] = ""
        elif control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return [line.rstrip() for line in lines if line.strip()]


def test_nothing_stays_of_them_and_no_line_is_lost():
    written = in_a_terminal(RUN)
    assert "cell 0" in written

    shown = _screen(written)
    assert sorted(shown) == sorted(
        [
            "before",
            "printed to stdout",
            "printed to stderr",
            "from below Python",
            "a worker",
            "its warning",
            "a cell has finished",
            "a bar of its own 2 %",
            "written last",
            "the table",
        ]
    )
    assert [shown[0], *shown[-2:]] == ["before", "written last", "the table"]


def test_stopped_half_way_they_go_too():
    """As at Ctrl-C."""
    source = RUN.replace('bars.say("a cell has finished")', "break")
    shown = _screen(in_a_terminal(source))
    assert shown[-2:] == ["written last", "the table"]
    assert not [line for line in shown if "cell" in line]


def test_where_there_is_no_terminal_there_are_no_bars(capfd):
    from bench.report.live.bars import Bars

    bars = Bars()
    bars.shown.add_task("cell 0", total=20)
    bars.start()
    bars.say("a cell has finished")
    bars.stop()
    assert capfd.readouterr().err == "a cell has finished\n"


@pytest.mark.parametrize("colors", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_colors_in_a_log_do_not_make_it_a_terminal(colors, monkeypatch):
    from bench.report.live.bars import Bars

    monkeypatch.setenv(colors, "1")
    assert not Bars().live
