"""What the fuzzers of this folder share: how many examples they try, and what counts as an answer."""

import contextlib
import io
import os
import traceback
from pathlib import Path

import hypothesis
from hypothesis import settings

from bench.cli import main

MANY = os.environ.get("BENCH_FAULTS") == "many"
# A regression, nothing to compare, a hole in a table, too few images: answers like any other.
ANSWERS = range(7)


def examples(few, many):
    """The settings of a fuzzer: the same examples every time, more of them where somebody waits for them."""
    return settings(
        max_examples=many if MANY else few,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def told(words):
    """Run a command in this process; return its status and its two streams, or fail with its traceback."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except BaseException as error:
            line = "".join(traceback.format_exception(error)[-3:])
            raise AssertionError(f"bench {' '.join(map(str, words))!r:.300} raised {line}") from error
    printed = out.getvalue(), err.getvalue()
    for text in printed:
        text.encode()  # a stream must be able to take it
    assert status in ANSWERS, (words, printed)
    mistakes = [line for line in printed[1].splitlines() if line.startswith("bench: ")]
    assert len(mistakes) <= 1, (words, printed[1])
    if mistakes:
        assert status == 2, (words, printed)
        assert printed[1].splitlines() == mistakes, (words, printed[1])
    return status, *printed


def files(root):
    return {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}
