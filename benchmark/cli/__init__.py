"""The command line, `bench run`, `bench table` and the others: it parses and prints, nothing else."""

from __future__ import annotations

import contextlib
import errno
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from bench.cli.interruption import HUNG_UP, INTERRUPTED, NO_SPACE, TERMINATED, Stopped, is_full, status_of, terminable
from bench.cli.reader import unread
from bench.cli.words import require_named
from bench.errors import BenchError, NondeterminismError
from bench.machine.threads import wait_briefly

__all__ = ["HUNG_UP", "INTERRUPTED", "TERMINATED", "main"]

# Exit statuses besides 0 and those of signals; the gate's own are in bench.report.gate.
MISTAKE, INCOMPLETE, NONDETERMINISM = 2, 3, 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    0 done, 1 a regression or a finding, 2 a mistake in the request, 3 cells failed or missing,
    4 underpowered, 5 nondeterminism, 6 no space left, 129/130/143 stopped by a signal.
    """
    wait_briefly()
    with unread():
        return _answered(list(sys.argv[1:] if argv is None else argv))


def _answered(words: list[str]) -> int:
    from bench.cli.app import app

    try:
        require_named(words, app)
        with terminable():
            status = app(args=words, prog_name="bench", standalone_mode=False)
    except Stopped as stopped:
        return _stop(stopped, words)
    except SystemExit as error:
        stopped_with = status_of(error)
        if stopped_with is None:
            raise
        return _stop(Stopped(stopped_with), words)
    except BenchError as error:
        return _say(str(error), MISTAKE)
    except KeyboardInterrupt:
        return _stop(Stopped(INTERRUPTED), words)
    except Exception as error:  # noqa: BLE001  (a bug is raised again)
        return _known(error, words)
    if status == INTERRUPTED:  # some versions of Typer make this of Ctrl-C, without a word
        return _stop(Stopped(INTERRUPTED), words)
    return status if isinstance(status, int) else 0


_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{8}-")
# What the file system refuses because of the name that it was given.
_PLACES = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)


def _known(error: Exception, words: Sequence[str]) -> int:
    """Print an error that is not a bug and return its status; raise a bug again, with its traceback."""
    if isinstance(error, NondeterminismError):
        return _say(str(error), NONDETERMINISM)
    if is_full(error):
        return _say("no space left on the device: free some, then the same command resumes", NO_SPACE)
    if isinstance(error, OSError) and error.errno in _PLACES and error.filename is not None:
        # What is being written has a temporary name, in the folder of the file.
        name = _TEMPORARY.sub("", str(error.filename))
        return _say(f"cannot use {name!r} ({error.strerror}): name another file or folder", MISTAKE)
    # Typer's own errors, whichever click it brings: a wrong option or value, or an abort.
    if type(error).__name__ == "Abort":
        return _stop(Stopped(INTERRUPTED), words)
    if hasattr(error, "format_message"):
        return _misread(error, words)
    raise error


def _misread(error: Any, words: Sequence[str]) -> int:  # noqa: ANN401  (no class name fits all clicks)
    """Print what is wrong with the words of a command, or the help of one that is named without any."""
    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help(), file=sys.stderr)
        return MISTAKE
    message = str(error.format_message()).rstrip(".")
    # One of the clicks says what it expected, but not what it got.
    options = [*getattr(getattr(error, "param", None), "opts", ())]
    given = next((after for word, after in pairwise(words) if word in options), None)
    if message.startswith("Invalid value") and given is not None and repr(given) not in message:
        message = f"{message}, not {given!r}"
    return _say(f"{message}. Try '{context.command_path if context else 'bench'} --help'.", MISTAKE)


def _stop(stopped: Stopped, words: Sequence[str]) -> int:
    # Not by `_say`, which joins words by single spaces: the user pastes this command as it is.
    with contextlib.suppress(OSError):  # where the terminal has gone, SIGHUP comes and nobody reads
        print(f"bench: {stopped.line(words)}", file=sys.stderr)
    return stopped.status


def _say(message: str, status: int) -> int:
    print(f"bench: {' '.join(message.split())}", file=sys.stderr)
    return status
