"""The processes that faults are injected into, and the run that they are compared with."""

import os
from pathlib import Path

import pytest

from tests.faults.kit import MANY, Place, Survey, Zygote

# In these modules a process has to die, hang or run for each injection.
_COSTLY = ("test_kills", "test_storage", "test_code_of_others", "test_inputs_and_surroundings", "test_ray")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Keep one costly test of each kind: every kind is injected in every test run, all with BENCH_FAULTS=many."""
    if MANY:
        return
    seen, kept, left = set(), [], []
    for item in items:
        module = item.path.stem
        kind = next((str(marker.args[0]) for marker in item.iter_markers("fault")), item.nodeid)
        if module in _COSTLY and item.path.parent == Path(__file__).parent and (module, kind) in seen:
            left.append(item)
        else:
            seen.add((module, kind))
            kept.append(item)
    # Named on the command line, one test is wanted whatever its kind.
    if left and not any("::" in str(argument) for argument in config.args):
        config.hook.pytest_deselected(items=left)
        items[:] = kept


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
