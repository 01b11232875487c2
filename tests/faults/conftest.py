"""The processes that faults are injected into, and the run that they are compared with."""

import os
from pathlib import Path

import pytest

from tests.faults.kit import Place, Survey, Zygote


@pytest.fixture(scope="session")
def zygote():
    """Starts `bench` processes quickly."""
    if not (os.name == "posix" and Path("/proc/self/stat").exists()):
        pytest.skip("needs fork and /proc")
    process = Zygote()
    yield process
    process.close()


@pytest.fixture(scope="session")
def reference(zygote, tmp_path_factory):
    """The run that nothing happened to."""
    place = Place(zygote, tmp_path_factory.mktemp("reference"))
    place.run()
    return place


@pytest.fixture(scope="session")
def operations(zygote, tmp_path_factory):
    """What a run does to the file system, in order."""
    root = tmp_path_factory.mktemp("operations")
    place = Place(zygote, root / "place")
    place.run(within=str(place.root), operations=str(root / "told"))
    return (root / "told").read_text().splitlines()


@pytest.fixture
def place(zygote, tmp_path):
    """A folder of the test's own to run in."""
    return Place(zygote, tmp_path / "place")


@pytest.fixture
def survey(reference, record_property):
    """Holds what is left after a fault against the reference, and counts."""
    made = Survey(reference)
    yield made
    for name, value in made.properties().items():
        record_property(name, value)
