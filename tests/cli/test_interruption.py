"""Ctrl-C and SIGTERM: one line that says what is kept and how to go on, and the status of the signal."""

import os
import signal
import time
from contextlib import contextmanager

import pytest

from bench.cli import main
from bench.cli.interruption import Stopped, keeping, typed

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
SIGNALS = pytest.mark.parametrize("number", list(STATUS), ids=lambda number: number.name)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@SIGNALS
@pytest.mark.parametrize("command", ["leaderboard", "run"])
def test_every_command_ends_with_one_line_and_the_status_of_the_signal(number, command, monkeypatch, capsys):
    """However early it comes; only a command that goes on says how."""

    def killed(*_, **__):
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr("bench.api.load", killed)
    monkeypatch.setattr("bench.cli.run.run", killed)

    assert main([command, "--results", "a  b"]) == STATUS[number]

    how = {130: "interrupted", 143: "terminated"}[STATUS[number]]
    resume = f"; resume with: {typed('run', '--results', 'a  b')}" if command == "run" else ""
    assert capsys.readouterr().err == f"bench: {how}{resume}\n"


def test_the_handler_is_gone_when_the_command_is_over():
    before = signal.getsignal(signal.SIGTERM)
    main(["list", "datasets"])
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)], ids=["ctrl-c", "sigterm"])
def test_what_is_kept_is_asked_for_after_everything_inside_has_ended(error):
    order = []

    def kept():
        order.append("asked")
        return "all of it"

    @contextmanager
    def worker():
        try:
            yield
        finally:
            order.append("ended")

    with pytest.raises(Stopped, match="all of it"), keeping(kept), worker():
        raise error
    assert order == ["ended", "asked"]


def test_other_exits_pass():
    with pytest.raises(SystemExit), keeping(lambda: "never asked"):
        raise SystemExit(2)
