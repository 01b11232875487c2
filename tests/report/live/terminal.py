"""A real terminal for a program, and what the program wrote to it."""

import os
import subprocess
import sys

import pytest

pty = pytest.importorskip("pty", reason="terminals of POSIX")

ROWS = 50


def in_a_terminal(source):
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": str(ROWS)},
    )
    os.close(inside)
    written = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            break
        if not chunk:
            break
        written += chunk
    os.close(terminal)
    assert process.wait() == 0, written.decode()
    return written.decode()
