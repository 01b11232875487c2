"""A guest whose functions do what users' code has been seen to do, and a process for it."""

import os
import sys

import pytest

from bench.machine.isolation import Call, Workers

collect_ignore_glob = [] if os.name == "posix" else ["test_*.py"]

GUEST = """
import ctypes, os, signal, sys, threading, time
from bench.errors import BenchError

def add(a, b):
    return a + b

def nothing():
    return None

def pid():
    return os.getpid()

def mistaken():
    raise BenchError("no such thing: give another")

def raising():
    raise ValueError("two\\nlines")

def exiting():
    sys.exit(0)

def leaving():
    print("last words", flush=True)
    os._exit(0)

def crashing():
    ctypes.string_at(0)

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def alarmed():
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(60)

def hanging():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass

def flooding(lines):
    for _ in range(lines):
        sys.stdout.write("x" * 99_999 + "\\n")
    return lines

def mute():
    os.close(1), os.close(2), sys.stdout.close()

def forking():
    return os.fork()

def threading_():
    threading.Thread(target=time.sleep, args=(600,)).start()

def elsewhere():
    os.chdir("/")

def here():
    return os.getcwd()

def child():
    return os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")

def local():
    return lambda: 0

def alone():
    os.closerange(3, 256)
    time.sleep(60)

def much():
    return len(bytearray(2**50))

def _pipe():
    return next(fd for fd in range(3, 64) if _leads_to(fd).startswith("socket"))

def _leads_to(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""

def half():
    os.write(_pipe(), bytes([0, 0, 4, 0]) + b"x")
    time.sleep(600)

def shapeless():
    import pickle
    content = pickle.dumps(3.5)
    os.write(_pipe(), len(content).to_bytes(4, "big") + content)
    time.sleep(600)

def theirs():
    return type(sys)("nowhere"), Theirs()

class Theirs:
    pass

def wordless():
    raise BenchError("")

def hostile():
    class Hostile(Exception):
        def __str__(self):
            raise RuntimeError
    raise Hostile

def _soon(does):
    threading.Thread(target=lambda: (time.sleep(0.2), does()), daemon=True).start()

def stopping_soon():
    _soon(lambda: os.kill(os.getpid(), signal.SIGSTOP))

def leaving_soon():
    child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
    _soon(lambda: os._exit(0))
    return child, os.getpid()

def asked_on(tell):
    def on():
        while True:
            tell(1)
            time.sleep(0.01)
    threading.Thread(target=on, daemon=True).start()

def large():
    time.sleep(0.3)
    return b"x" * (1 << 24)

def size(content):
    return len(content)

def workers():
    import multiprocessing
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0,))
    process.start(), process.join()
    return process.exitcode

def counting(tell):
    for _ in range(5):
        tell(3)
        time.sleep(0.25)
"""


@pytest.fixture(scope="session")
def guest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guest")
    (folder / "odd_guest.py").write_text(GUEST)
    sys.path.insert(0, str(folder))
    yield "odd_guest"
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def workers(guest):
    """One process at a time, kept for the next test where a guest leaves it alive."""
    with Workers(1, limit=20) as found:
        yield found


@pytest.fixture
def answer(workers):
    """Call a function of the guest, and return the answer."""

    def asked(name, *args, limit=None):
        return workers.each([Call(f"odd_guest:{name}", args, "odd", limit)])[0]

    return asked
