"""Ctrl-C and SIGTERM: one line that says what is kept and how to go on, and the status of the signal."""

import contextlib
import errno
import os
import signal
import time
from contextlib import contextmanager

import pytest

from bench.cli import main
from bench.cli.interruption import Stopped, keeping, terminable, typed
from bench.cli.run import _kept
from bench.report.live.progress import Progress

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
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

    how = "interrupted" if number == signal.SIGINT else "terminated"
    resume = f"; resume with: {typed('run', '--results', 'a  b')}" if command == "run" else ""
    assert capsys.readouterr().err == f"bench: {how}{resume}\n"


@SIGNALS
def test_the_handler_is_gone_when_the_command_is_over(number):
    before = signal.getsignal(number)
    main(["list", "datasets"])
    assert signal.getsignal(number) is before


@SIGNALS
def test_a_signal_that_somebody_ignores_is_ignored(number, monkeypatch):
    """As nohup does with SIGHUP, and a shell script with Ctrl-C for what it runs in the background."""
    monkeypatch.setattr("bench.cli.results.list_", lambda *_: os.kill(os.getpid(), number) or 0)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert main(["results", "list"]) == 0
    finally:
        signal.signal(number, before)


@SIGNALS
def test_a_second_signal_ends_the_process_at_once(number):
    """After the first one nothing of ours answers any more, whatever hangs in the cleaning up."""
    answered = []
    with contextlib.suppress(KeyboardInterrupt, SystemExit), terminable():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            answered += [signal.getsignal(each) for each in STATUS]
    assert answered == [signal.SIG_DFL] * len(STATUS)


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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=["disk", "quota"])
def test_a_full_disk_says_what_is_kept_and_how_to_go_on(number, monkeypatch, capsys):
    monkeypatch.setattr("bench.cli.run._kept", lambda *_: "1 of 2 cells finished")

    def full(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("bench.api.run", full)

    assert main(["run"]) == 6

    how = "no space left on the device: 1 of 2 cells finished; free some, then resume with"
    assert capsys.readouterr().err == f"bench: {how}: {typed('run')}\n"


def test_other_exits_pass():
    with pytest.raises(SystemExit), keeping(lambda: "never asked"):
        raise SystemExit(2)


def test_a_run_that_is_stopped_while_it_plans_counts_no_cells_of_nothing(tmp_path):
    """`0 of 0 cells finished` reads as if what earlier runs stored were gone."""
    assert _kept(Progress(), tmp_path) == f"no new cells finished, and what is stored in {tmp_path}{os.sep} stays"


def test_debug_can_be_added_to_a_command_for_a_cluster(tmp_path, monkeypatch, capsys):
    """It computes here, and asks for no cluster: the address is of no use then."""
    asked = {}
    monkeypatch.setattr("bench.api.plan", lambda _, **options: asked.update(options) or "planned")

    assert main(["run", "--executor", "ray", "--ray-address", "head:6379", "--debug", "--dry-run"]) == 0

    assert (asked["executor"], asked["ray_address"]) == ("local", None)
    assert capsys.readouterr().out == "planned\n"
