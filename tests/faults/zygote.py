"""Starts `bench` processes in a hundredth of the time that one takes: each is forked from this one, which has imported.

Reads an order a line and answers a line, both JSON: `{"start": {...}}` with the process id, `{"wait": pid, "seconds":
s}` with the status (negative for a signal, null where it still runs). A child is a `bench` as its user starts it: a
session of its own, no terminal, and the hooks of its order.

    argv         what is typed after `bench`
    out, err     files for what it prints
    cwd, env     where it runs; variables to set, or to unset where they are null
    journal      a file that gets a line for each shard and cell after it was stored, brought to the disk
    operations   a file that gets a line for each operation on the file system below `within`
    die          kill it before this operation, counted from 0; `torn`: cut the file in two that was to be synced
    refuse       let this operation, and all that follow, fail for want of space
    prelude      Python to execute before the command
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path


def main() -> None:
    # What a run imports, before the first fork; nothing that starts a thread, which a fork would lose.
    import torch

    torch.set_num_threads(1)
    for name in _imported_by(sys.argv[1:]):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _answer("ready")
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            pid = os.fork()
            if pid == 0:
                _be_bench(order["start"])
            _answer(pid)
        else:
            _answer(_status(order["wait"], order["seconds"]))


def _imported_by(argv: list[str]) -> list[str]:
    """What a command imports, found out by a child that runs it: forks stay cheap whatever is imported one day."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.close(ours)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        from bench.cli import main as bench

        bench(argv)
        os.write(theirs, " ".join(sys.modules).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as told:
        names = told.read().split()
    os.wait()
    return [name for name in names if name.isidentifier() or name.replace(".", "").isidentifier()]


def _answer(value: object) -> None:
    os.write(1, json.dumps(value).encode() + b"\n")


def _status(pid: int, seconds: float) -> int | None:
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.002)


def _be_bench(order: dict) -> None:
    os.setsid()
    empty = os.open(os.devnull, os.O_RDONLY)
    for number, path in ((1, order["out"]), (2, order["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.dup2(empty, 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.chdir(order["cwd"])
    for name, value in order["env"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    sys.argv = ["bench", *order["argv"]]
    if order.get("journal"):
        _keep_journal(order["journal"])
    if order.get("within"):
        _Operations(order)
    from bench.cli import main as bench

    status = 1
    try:
        exec(order.get("prelude", ""), {"__name__": "prelude"})  # noqa: S102
        status = bench(order["argv"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  (told as the interpreter would)
        traceback.print_exc()
    # As the interpreter ends, without half a second of clearing up memory page by page.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _keep_journal(path: str) -> None:
    """Write down what is acknowledged: after the store has returned, and before anybody else hears of it."""
    from bench.results.store import Store

    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sync, add, finish = os.fsync, Store.add_shard, Store.finish

    def acknowledge(cell, first, done):
        verdicts = done.verdicts
        told = {
            "key": cell.key,
            "first": first,
            "clean": verdicts.clean.tolist(),
            "adversarial": verdicts.adversarial.tolist(),
        }
        os.write(journal, json.dumps(told).encode() + b"\n")
        sync(journal)

    def add_shard(self, cell, index, done, provenance):
        add(self, cell, index, done, provenance)
        acknowledge(cell, cell.shards[index][0], done)

    def finish_cell(self, cell, shards, provenance):
        done = finish(self, cell, shards, provenance)
        acknowledge(cell, -1, done)
        return done

    Store.add_shard, Store.finish = add_shard, finish_cell


class _Operations:
    """Count what is done to files below a folder, and stop it at one of them.

    Audit events come before what they tell of, whichever function was called. Syncs and writes have none.
    """

    _EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")

    def __init__(self, order: dict) -> None:
        self.within = order["within"]
        self.die, self.torn, self.refuse = order.get("die"), order.get("torn"), order.get("refuse")
        self.count = 0
        self.told = None
        self.busy = False
        if order.get("operations"):
            self.told = os.open(order["operations"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        sync = os.fsync

        def fsync(descriptor):
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            self.before("fsync", str(Path(f"/proc/self/fd/{number}").readlink()), number)
            sync(descriptor)

        os.fsync = fsync
        sys.addaudithook(self.hear)

    def hear(self, event: str, given: tuple) -> None:
        if event not in self._EVENTS or self.busy:
            return
        if event == "open":
            path, _mode, flags = given
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        else:
            path = given[0]
        if isinstance(path, (str, bytes, os.PathLike)):
            self.before(event, os.fsdecode(path))

    def before(self, event: str, path: str, descriptor: int | None = None) -> None:
        path = str(Path(path).absolute())
        if not path.startswith(self.within):
            return
        self.busy = True
        try:
            if self.told is not None:
                os.write(self.told, f"{event} {os.path.relpath(path, self.within)}\n".encode())
            if self.count == self.die:
                if self.torn and descriptor is not None and Path(path).is_file():
                    os.truncate(path, Path(path).stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1
            if self.refuse is not None and self.count > self.refuse and event in ("open", "fsync", "os.mkdir"):
                raise OSError(errno.ENOSPC, "No space left on device", path)
        finally:
            self.busy = False


if __name__ == "__main__":
    main()
