"""A process of ours from outside: whatever a guest does to it, the driver hears of it in one line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.machine.isolation import Call, Elsewhere, End, Workers, process
from bench.machine.isolation.process import Worker


@pytest.mark.fault("F16")
@pytest.mark.parametrize(
    ("name", "end", "told"),
    [
        ("raising", None, "ValueError: two lines"),
        ("exiting", End.DIED, "it called sys.exit(0)"),
        ("leaving", End.DIED, "it ended its process with status 0; it printed last: last words"),
        ("crashing", End.DIED, "its process was ended by SIGSEGV"),
        (
            "killed",
            End.KILLED,
            "its process was ended by SIGKILL, which is how a system ends one where memory runs out",
        ),
        ("alarmed", End.DIED, "its process was ended by SIGALRM"),
        ("alone", End.DIED, "it closed its connection"),
        ("much", None, "MemoryError"),
        ("local", None, "AttributeError: Can't"),
        ("shapeless", End.DIED, "its answer cannot be read"),
        ("hostile", None, "Hostile: its message cannot be read"),
    ],
)
def test_what_a_guest_does_to_its_process_is_one_line(answer, name, end, told):
    found = answer(name)

    assert isinstance(found.error, Elsewhere)
    assert found.error.end is end
    assert str(found.error).startswith(told)
    assert "\n" not in str(found.error)
    assert answer("add", 1, 2).value == 3  # the next call works


@pytest.mark.fault("F16")
def test_a_guest_that_hangs_and_ignores_sigterm_is_killed_after_its_limit(workers, answer):
    began = time.monotonic()

    found = answer("hanging", limit=1.0)

    assert found.error.end is End.HUNG
    assert str(found.error) == "no answer after 1 s: it hangs, or --timeout is too short"
    assert 1 <= time.monotonic() - began < 8
    assert not workers._all or all(not worker.process.is_alive() for worker in workers._all)


@pytest.mark.fault("F16")
def test_half_a_message_holds_nobody_up(guest, monkeypatch):
    monkeypatch.setattr(process, "_STALLED", 1)
    began = time.monotonic()

    with Workers(1, limit=60) as workers:
        found = workers.each([Call("odd_guest:half")])[0]

    assert found.error.end is End.DIED
    assert str(found.error) == "it stopped for 1 s in the middle of its answer"
    assert time.monotonic() - began < 20


@pytest.mark.fault("F16")
def test_a_process_that_stops_before_it_gets_a_large_call_is_called_hung(guest):
    with Workers(1, limit=20) as workers:
        workers.each([Call("odd_guest:stopping_soon", guest="odd")])
        time.sleep(0.5)
        found = workers.each([Call("odd_guest:size", (b"x" * (1 << 24),), "odd", limit=1.0)])[0]
        assert found.error.end is End.HUNG

        assert workers.each([Call("odd_guest:size", (b"x" * (1 << 24),), "odd")])[0].value == 1 << 24


@pytest.mark.fault("F16")
def test_the_children_of_a_process_that_ends_between_two_calls_end_too(guest):
    with Workers(1, limit=20) as workers:
        child, parent = workers.each([Call("odd_guest:leaving_soon", guest="odd")])[0].value
        _wait_for_end(parent)

        assert workers.each([Call("odd_guest:add", (1, 2), "odd")])[0].value == 3
        _wait_for_end(child)


def test_ctrl_c_while_a_process_is_being_ended_does_not_leave_it_behind(guest, monkeypatch):
    workers = Workers(1, limit=20)
    workers.each([Call("odd_guest:stopping_soon", guest="odd")])
    time.sleep(0.5)  # it is stopped, so SIGTERM alone does not end it
    worker = workers._all[0]

    def interrupted(_seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(process.time, "sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            workers.stop()

    _wait_for_end(worker.process.pid)


def _wait_for_end(number):
    def there():
        path = Path(f"/proc/{number}/stat")
        return path.exists() and "Z" not in path.read_text().split(")")[1][:3]

    until = time.monotonic() + 5
    while there() and time.monotonic() < until:
        time.sleep(0.01)
    assert not there()


def test_what_a_guest_has_started_ends_with_its_process(guest):
    with Workers(1, limit=20) as workers:
        child = workers.each([Call("odd_guest:child")])[0].value
        os.kill(child, 0)

    until = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split(")")[1][:3]


ORPHAN = """
import sys
sys.path.insert(0, sys.argv[1])
from bench.machine.isolation import Call, Elsewhere, End, Workers
workers = Workers(1)
workers._hand_out(lambda guest, calls=[Call("odd_guest:" + sys.argv[2], guest="odd")]: calls.pop() if calls else None)
print(workers._all[0].process.pid, flush=True)
import time; time.sleep(600)
"""


def test_the_last_line_that_was_printed_has_no_control_characters():
    worker = Worker(None, None, None, printed=b"first\n\x1b[31mred\x07 \xe2\x80\xaealert\n\n")

    assert worker._last_line() == "[31mred alert"


@pytest.mark.fault("F01")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["hanging", "alarmed"])
def test_a_process_ends_with_its_driver(guest, name):
    """Also one whose guest holds the interpreter and ignores signals."""
    place = next(path for path in sys.path if Path(path, f"{guest}.py").is_file())
    driver = subprocess.Popen([sys.executable, "-c", ORPHAN, place, name], stdout=subprocess.PIPE, text=True)
    pid = int(driver.stdout.readline())
    time.sleep(1.0)

    driver.kill()
    driver.wait()
    driver.stdout.close()

    until = time.monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
