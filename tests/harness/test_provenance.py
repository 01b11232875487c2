"""Who made a number, told beside it."""

from importlib.metadata import version

from bench import __version__
from bench.catalogue import versions
from bench.harness.provenance import provenance
from tests.harness.test_agenda import task


def test_it_names_versions_code_and_seconds():
    made = provenance(task("at", 1).cell, 1.23456)

    assert made["torch"] == version("torch")
    assert made["atop-bench"] == __version__
    assert made["seconds"] == 1.23
    assert made["code"]["harness"] == versions.code_of_harness()
    assert made["code"]["attack"] != made["code"]["defense"]
