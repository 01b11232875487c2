"""The line that sums up a session: a failed test lowers the first number, on one process and on several."""

from types import SimpleNamespace

import pytest

from tests.faults.summary import line, summed

pytest_plugins = ["pytester"]


def report(name, *properties):
    return SimpleNamespace(nodeid=f"tests/faults/test_kill.py::{name}", user_properties=list(properties))


def test_injections_are_counted_by_outcome():
    told = line(
        summed(
            {
                "passed": [
                    report("a", ("fault", "F01"), ("injections", 20), ("lost", 0), ("digests", "20/20")),
                    report("b", ("fault", "F02"), ("digests", "3/3")),
                    report("c", ("bad_input", "B07"), ("injections", 5)),
                    report("d", ("malicious", "X01")),
                ],
                "failed": [report("e", ("fault", "F05"), ("lost", 2), ("digests", "1/4"))],
                "": [report("a", ("fault", "F01"))],
            }
        )
    )

    assert told == (
        "faults survived 21/22 over 3 kinds (F01-F02 F05), acknowledged rows lost 2, digests equal 24/27; "
        "bad inputs 5/5; malicious files harmless 1/1"
    )


def test_what_is_expected_to_fail_or_skipped_is_said_and_never_survived():
    told = line(
        summed(
            {
                "xfailed": [report("a", ("fault", "F15"), ("injections", 4))],
                "skipped": [report("b", ("fault", "F07"))],
                "passed": [report("c", ("fault", "F01"))],
            }
        )
    )

    assert told.startswith("faults survived 1/5 over 2 kinds (F01 F15)")
    assert told.endswith("; expected to fail: F15; not injected here: F07")


def test_an_error_after_a_test_that_passed_counts():
    both = {"passed": [report("a", ("fault", "F01"))], "error": [report("a", ("fault", "F01"))]}

    assert "survived 0/1" in line(summed(both))


@pytest.mark.parametrize("outcome", ["failed", "error"])
def test_a_worker_that_died_and_a_file_without_tests_count_as_one(outcome):
    assert "survived 0/1 over 1 kinds (?)" in line(summed({outcome: [report("a")]}))


def test_a_session_without_injections_says_nothing():
    elsewhere = SimpleNamespace(nodeid="tests/test_errors.py::a", user_properties=[])

    assert line(summed({"passed": [elsewhere], "failed": [elsewhere]})) == ""


TESTS = """
import os, pytest

@pytest.mark.fault("F01")
@pytest.mark.parametrize("times", [1, 2, 3])
def test_survived(times, record_property):
    record_property("injections", times)
    record_property("digests", f"{times}/{times}")

@pytest.mark.fault("F02")
def test_lost(record_property):
    record_property("injections", 4)
    record_property("lost", 1)
    assert False

@pytest.mark.bad_input("B01")
def test_bad(): ...

@pytest.mark.malicious("X01")
def test_bad_file(): ...
"""
HOOKS = """
from summary import line, of_markers, summed

def pytest_itemcollected(item):
    item.user_properties += of_markers(item)

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(line(summed(terminalreporter.stats)))
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_the_line_ends_a_session_on_any_number_of_workers(pytester, workers, pytestconfig):
    pytester.makepyfile(TESTS)
    pytester.makeconftest(HOOKS)
    marks = "\n    ".join(f"{name}(id)" for name in ("fault", "bad_input", "malicious"))
    pytester.makeini(f"[pytest]\npythonpath = .\nmarkers =\n    {marks}")
    pytester.makepyfile(summary=(pytestconfig.rootpath / "tests" / "faults" / "summary.py").read_text(encoding="utf-8"))

    session = pytester.runpytest_subprocess("-n", str(workers), "-p", "no:cacheprovider")

    session.stdout.fnmatch_lines(
        [
            "faults survived 6/10 over 2 kinds (F01-F02), acknowledged rows lost 1, digests equal 6/6; "
            "bad inputs 1/1; malicious files harmless 1/1"
        ]
    )
