"""In a pipe no minute passes without a line, and a line that somebody else printed counts."""

import io
import itertools

import pytest

from bench.report.live.heartbeat import EVERY, Heartbeat, still
from tests.report.live.clock import Clock


def test_the_default_leaves_no_minute_without_a_line():
    """It looks once a second."""
    assert EVERY + 2 < 60


def test_a_line_is_due_after_silence_and_not_before():
    clock, said = Clock(), []
    heart = Heartbeat(lambda: f"at {clock.now:.0f}", said.append, 60.0, clock)
    for clock.now in range(301):
        heart.beat()
    assert said == ["at 60", "at 120", "at 180", "at 240", "at 300"]


def test_what_others_say_puts_it_off():
    clock, said = Clock(), []
    heart = Heartbeat(lambda: f"at {clock.now:.0f}", said.append, 60.0, clock)
    for clock.now in range(121):
        if clock.now == 50:
            heart.heard()
        heart.beat()
    assert said == ["at 110"]


def test_it_beats_by_itself_while_something_works_and_no_longer():
    told, heard = itertools.count(), io.StringIO()
    with Heartbeat(lambda: f"line {next(told)}", heard.write, 0.01):
        while "line 2" not in heard.getvalue():
            pass
    before = heard.getvalue()
    assert heard.getvalue() == before


@pytest.mark.parametrize("seconds", [61, 600])
def test_a_step_without_progress_has_a_heartbeat_too(seconds, capsys):
    clock = Clock()
    with still("examining at", 60.0, clock) as heart:
        clock.now = seconds
        heart.beat()
    assert capsys.readouterr().err == f"still examining at, {'61 s' if seconds == 61 else '10 min'}\n"
