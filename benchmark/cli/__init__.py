"""The command line: `bench run`, `bench table` and the others. It parses and prints, nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from bench.errors import BenchError

__all__ = ["main"]

# Exit statuses beside 0; the gate's own are in bench.gate.
MISTAKE, INCOMPLETE, NONDETERMINISM, NO_SPACE, INTERRUPTED, TERMINATED = 2, 3, 5, 6, 130, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status.

    0 done, 1 a regression or a finding, 2 a mistake in the request, 3 cells failed or missing,
    4 underpowered, 5 nondeterminism, 6 no space left, 130 and 143 interrupted.
    """
    from bench.cli.app import app

    try:
        status = app(args=list(sys.argv[1:] if argv is None else argv), prog_name="bench", standalone_mode=False)
    except BenchError as error:
        return _say(str(error), MISTAKE)
    except KeyboardInterrupt:
        return _say("interrupted: everything finished is stored; the same command resumes", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone, as in `bench list | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  (a bug is raised again)
        return _known(error)
    return status if isinstance(status, int) else 0


def _known(error: Exception) -> int:
    """The status of an error that is not a bug; a bug is raised again, with its traceback."""
    import errno

    from bench.documents import NondeterminismError

    if isinstance(error, NondeterminismError):
        return _say(str(error), NONDETERMINISM)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return _say("no space left on the device: free some, then the same command resumes", NO_SPACE)
    # Typer's own errors, whichever click it brings: a wrong option or value, or an abort.
    if type(error).__name__ == "Abort":
        return _say("interrupted: everything finished is stored; the same command resumes", INTERRUPTED)
    if hasattr(error, "format_message"):
        return _say(f"{error.format_message()} Try 'bench --help'.", MISTAKE)
    raise error


def _say(message: str, status: int) -> int:
    print(f"bench: {' '.join(message.split())}", file=sys.stderr)
    return status
