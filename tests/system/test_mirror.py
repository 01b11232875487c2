"""Tests are where the modules are: `benchmark/oracle/ledger.py` is tested by `tests/oracle/test_ledger.py`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
# `import bench` is tests/ itself, the two plug-in folders are below it.
MIRRORED = {ROOT / "benchmark": Path(), ROOT / "attacks": Path("attacks"), ROOT / "defenses": Path("defenses")}
# What is about several modules at once, or about none: everything registered, broken defenses, data, GPUs.
OF_NO_MODULE = ("system", "contracts", "canaries", "faults", "golden", "gpu")

# Modules without a test of their own, each with the reason; a package's face, `__init__.py`, needs none.
NO_TEST = {
    "harness/watcher.py": "an interface, and a watcher that does nothing",
    "__main__.py": "starts the command line and nothing else",
    "catalogue/defenses.py": "data: the contracts and test_registry.py read it",
    **dict.fromkeys(
        ["catalogue/examples/attack.py", "catalogue/examples/defense.py"],
        "test_example.py runs both as a user would",
    ),
    **dict.fromkeys(
        [f"catalogue/attacks/{name}.py" for name in ("decision", "ensembles", "lp", "minimum_norm", "perceptual")]
        + [f"catalogue/attacks/{name}.py" for name in ("purifiers", "score", "sparse", "unforeseen")],
        "data: the contracts run over every entry",
    ),
}
# The commands are tested together, as a user types them; so are the contracts.
TESTED_TOGETHER = ("cli/", "checks/contracts/")


def modules():
    """Every module with code of its own, by its place in the mirror: `oracle/ledger.py`."""
    for folder, place in MIRRORED.items():
        for path in sorted(folder.rglob("*.py")):
            if path.name != "__init__.py":
                yield (place / path.relative_to(folder)).as_posix()


def mirror(module):
    """Where the test of a module is, below tests/."""
    path = Path(module)
    return path.with_name(f"test_{path.name}")


def faces():
    """The packages, by the module that they would be: `harness/executors.py`."""
    for folder, place in MIRRORED.items():
        for path in folder.rglob("__init__.py"):
            if path.parent != folder:
                yield (place / path.parent.relative_to(folder)).as_posix() + ".py"


def test_every_module_has_a_test_in_its_place():
    wanted = {module for module in modules() if not module.startswith(TESTED_TOGETHER)} - set(NO_TEST)

    missing = sorted(
        f"tests/{mirror(module).as_posix()}" for module in wanted if not (TESTS / mirror(module)).is_file()
    )

    assert missing == []


def test_every_test_is_in_the_place_of_a_module():
    """One that is about several goes to tests/system/, with a line that says which."""
    known = {mirror(module).as_posix() for module in (*modules(), *faces())}
    found = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}

    strays = {path.as_posix() for path in found if path.parts[0] not in OF_NO_MODULE} - known

    assert sorted(strays) == []


def test_what_needs_no_test_is_there_and_has_none():
    """An exception that is none any more is taken off the list."""
    assert set(NO_TEST) <= set(modules())
    assert [module for module in NO_TEST if (TESTS / mirror(module)).exists()] == []
    assert all(NO_TEST.values())
