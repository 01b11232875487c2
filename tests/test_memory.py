"""Freed memory stays with the process: counted in page faults, in a process of its own."""

import json
import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource
from bench import memory

def faults():
    def batch():
        return [b"x" * (8 << 20) for _ in range(4)]
    batch(), batch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        batch()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 5

usual = faults()
print(json.dumps([memory.keep_freed(), usual, faults()]))
"""


def measured(**environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**{name: value for name, value in os.environ.items() if "MALLOC" not in name}, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such thresholds")
def test_memory_that_was_freed_takes_no_page_faults_again():
    kept, usual, after = measured()

    assert kept
    assert usual > 1000
    assert after < usual / 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such thresholds")
@pytest.mark.parametrize(
    "theirs", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_thresholds_that_the_user_has_set_are_left_alone(theirs):
    kept, usual, after = measured(**theirs)

    assert not kept
    assert after == pytest.approx(usual, rel=0.1)


def test_another_c_library_is_left_alone(monkeypatch):
    from bench import memory

    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)

    assert memory.keep_freed() is False
