"""A reader that goes away changes neither what a command does nor what it answers."""

import io
import os
import subprocess
import sys

from bench.cli.reader import unread


class Gone(io.StringIO):
    """A stream without a descriptor, whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


def test_what_nobody_reads_is_lost_and_the_command_goes_on(monkeypatch):
    gone = Gone()
    monkeypatch.setattr(sys, "stdout", gone)
    monkeypatch.setattr(sys, "stderr", Gone())
    done = []

    with unread():
        print("a table")
        print("a note", file=sys.stderr)
        done.append("the file that is written next")

    assert done
    assert sys.stdout is gone


def test_streams_that_are_closed_from_the_beginning_are_nowhere(monkeypatch):
    """As Python has them under `>&- 2>&-`: there is no stream at all."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)

    with unread():
        print("a table")
        sys.stderr.write("a note")

    assert (sys.stdout, sys.stderr) == (None, None)


_PROGRAM = """
import sys
from bench.cli import app, main
from bench.cli.root import app

@app.command()
def talk() -> int:
    for line in range(100_000):
        print(line)
    open(sys.argv[2], "w").close()
    return 3

sys.argv[:] = ["bench", "talk", *sys.argv[1:]]
sys.exit(main(["talk"]))
"""


def test_the_status_and_the_files_of_a_command_are_those_without_head(tmp_path):
    """`bench gate | head -1` must not turn a regression into anything else."""
    read, write = os.pipe()
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path / "written")]
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True) as process:
        os.close(write)
        with os.fdopen(read) as stream:
            assert stream.readline() == "0\n"
        said = process.stderr.read()

    assert process.returncode == 3
    assert said == ""
    assert (tmp_path / "written").exists()


def test_no_file_of_a_command_takes_the_place_of_a_closed_stream(tmp_path):
    """What code of others prints would be written into it."""
    program = "import os, sys; from bench.cli.reader import unread\nwith unread():\n file = open(sys.argv[1], 'w')\n"
    program += " os.write(1, b'printed'); file.write('whole'); file.flush(); sys.exit(file.fileno() < 3)"
    path = tmp_path / "written"

    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", sys.executable, "-c", program, path], check=False)

    assert done.returncode == 0
    assert path.read_text() == "whole"
