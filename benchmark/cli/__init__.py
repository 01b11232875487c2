"""The command line, `bench run`, `bench table` and the others: it parses and prints, nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from bench.cli.interruption import INTERRUPTED, TERMINATED, Stopped, terminable
from bench.errors import BenchError, NondeterminismError

__all__ = ["INTERRUPTED", "TERMINATED", "main"]

# Exit statuses besides 0 and those of signals; the gate's own are in bench.report.gate.
MISTAKE, INCOMPLETE, NONDETERMINISM, NO_SPACE = 2, 3, 5, 6


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    0 done, 1 a regression or a finding, 2 a mistake in the request, 3 cells failed or missing,
    4 underpowered, 5 nondeterminism, 6 no space left, 130 and 143 interrupted.
    """
    from bench.cli.app import app

    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with terminable():
            status = app(args=words, prog_name="bench", standalone_mode=False)
    except Stopped as stopped:
        return _stop(stopped, words)
    except SystemExit as error:
        if error.code != TERMINATED:
            raise
        return _stop(Stopped(TERMINATED), words)
    except BenchError as error:
        return _say(str(error), MISTAKE)
    except KeyboardInterrupt:
        return _stop(Stopped(INTERRUPTED), words)
    except BrokenPipeError:
        # The reader of our output has gone, as in `bench list | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  (a bug is raised again)
        return _known(error, words)
    if status == INTERRUPTED:  # some versions of Typer make this of Ctrl-C, without a word
        return _stop(Stopped(INTERRUPTED), words)
    return status if isinstance(status, int) else 0


def _known(error: Exception, words: Sequence[str]) -> int:
    """Print an error that is not a bug and return its status; raise a bug again, with its traceback."""
    import errno

    if isinstance(error, NondeterminismError):
        return _say(str(error), NONDETERMINISM)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return _say("no space left on the device: free some, then the same command resumes", NO_SPACE)
    # Typer's own errors, whichever click it brings: a wrong option or value, or an abort.
    if type(error).__name__ == "Abort":
        return _stop(Stopped(INTERRUPTED), words)
    if hasattr(error, "format_message"):
        return _say(f"{error.format_message()} Try 'bench --help'.", MISTAKE)
    raise error


def _stop(stopped: Stopped, words: Sequence[str]) -> int:
    # Not by `_say`, which joins words by single spaces: the user pastes this command as it is.
    print(f"bench: {stopped.line(words)}", file=sys.stderr)
    return stopped.status


def _say(message: str, status: int) -> int:
    print(f"bench: {' '.join(message.split())}", file=sys.stderr)
    return status
