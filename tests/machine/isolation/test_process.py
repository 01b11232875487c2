"""A process of ours from outside: whatever a guest does to it, the driver hears of it in one line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.machine.isolation import Call, Elsewhere, End, Workers
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
