"""What a digest covers: everything that can change a verdict, and little else."""

import importlib
import shutil
from pathlib import Path

import pytest

from bench import fingerprint
from bench.catalogue import ATTACKS, DEFENSES

TARGETS = sorted({entry.target for entry in (*ATTACKS, *DEFENSES) if entry.target})


@pytest.mark.parametrize("target", TARGETS)
def test_a_digest_covers_every_module_the_code_takes_something_from(target):
    """Held against the modules that Python really resolved the names from."""
    name = target.partition(":")[0]
    room = ".".join(name.split(".")[:2])
    root = fingerprint.package_folder(room)
    module = importlib.import_module(name)
    homes = {getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in vars(module).values()}
    expected = {
        Path(importlib.import_module(home).__file__)
        for home in homes
        if isinstance(home, str) and home.startswith(f"{room}.") and "training" not in home
    }

    covered = {path.resolve() for path in fingerprint._closure(name, room, root)}

    assert Path(module.__file__).resolve() in covered
    assert {path.resolve() for path in expected} <= covered


def test_an_attack_does_not_depend_on_its_neighbors():
    """Adding an attack must not make the stored verdicts of all the others stale."""
    root = fingerprint.package_folder("bench.attacks")

    covered = {path.name for path in fingerprint._closure("bench.attacks.pgd", "bench.attacks", root)}

    assert {"pgd.py", "trajectory.py", "losses.py"} <= covered
    assert not {"square.py", "stadv.py", "apgd.py"} & covered


def test_a_change_anywhere_in_the_closure_changes_the_digest(tmp_path, monkeypatch):
    """The helper of a helper counts."""
    room = tmp_path / "attacks"
    room.mkdir()
    for name, text in {
        "__init__": "",
        "one": "from bench.attacks import two\n",
        "two": "def f():\n    from bench.attacks.three import g\n",
        "three": "g = 1\n",
        "four": "h = 1\n",
    }.items():
        (room / f"{name}.py").write_text(text)
    monkeypatch.setattr(fingerprint, "package_folder", lambda package: room)
    digest = fingerprint.of_code.__wrapped__
    before = digest("bench.attacks.one:One")

    (room / "four.py").write_text("h = 2\n")
    unrelated = digest("bench.attacks.one:One")
    (room / "three.py").write_text("g = 2\n")
    related = digest("bench.attacks.one:One")

    assert unrelated == before
    assert related != before


# What the code that makes verdicts imports, too, and that cannot change one.
HARMLESS = {
    "behaviour": "recognizes what a user brought: it can refuse, not judge",
    "cell": "plain data, and the keys themselves",
    "checks/finding": "plain data of the checks",
    "datasets/examples": "images, whose digest is in the key",
    "errors": "messages",
    "fingerprint": "digests",
    "registry": "looks up what a string names",
    "request": "reads what was typed",
}


def closure(*modules):
    """The modules of the harness that these import, directly or not, as paths below the package."""
    root, found, waiting = fingerprint.package_folder("bench"), set(), list(modules)
    while waiting:
        name = waiting.pop()
        path = root.joinpath(*name.split(".")[1:])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name.startswith(("bench.attacks", "bench.defenses")) or not path.is_file() or path in found:
            continue
        found.add(path)
        waiting += [other for other in fingerprint.imported(path) if other.startswith("bench.")]
    return {path.relative_to(root).with_suffix("").as_posix() for path in found}


def test_every_module_that_verdicts_pass_through_is_in_the_harness_digest_or_known_to_be_harmless():
    """`features` is the ruler of a threat model and was in no digest: 83.3 % stood where 45.8 % was true."""
    reached = closure("bench.evaluate", "bench.executors.task")

    assert {"features", "families", "outcome", "executors/task"} <= reached
    assert reached - set(fingerprint._HARNESS) == set(HARMLESS)


@pytest.mark.parametrize("module", ["features", "outcome", "executors/task", "families"])
def test_an_edit_of_what_decides_a_verdict_makes_other_keys(module, tmp_path, monkeypatch):
    """As MOST_LAYERS = 1, another number of queries per look, or a maximum for a minimum."""
    copied = tmp_path / "benchmark"
    shutil.copytree(fingerprint.package_folder("bench"), copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "package_folder", lambda _package: copied)
    before = fingerprint.of_harness.__wrapped__()
    path = copied / f"{module}.py"

    path.write_text(path.read_text() + "\nEDITED = 1\n")

    assert fingerprint.of_harness.__wrapped__() != before
