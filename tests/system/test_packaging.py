"""What is installed is what lies here, under one import root, for the Pythons that are tested."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import bench

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"benchmark": "bench", "attacks": "bench.attacks", "defenses": "bench.defenses"}


@pytest.fixture(scope="module")
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_folder_with_code_is_a_listed_package(setup_cfg):
    """A sub-package forgotten in setup.cfg works in a checkout and is missing in a wheel."""
    on_disk = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for folder, package in ROOMS.items()
        for path in (ROOT / folder).rglob("*.py")
        if path.parent.name != "examples"  # files for users to copy, which are data
    }
    listed = setup_cfg["options"]["packages"].split()

    assert len(listed) == len(set(listed))
    assert set(listed) == on_disk
    for package in listed:
        folder = next(each for each in ("attacks", "defenses", "") if package.startswith(f"bench.{each}".rstrip(".")))
        inside = package.split(".")[2 if folder else 1 :]
        assert (ROOT / (folder or "benchmark")).joinpath(*inside, "__init__.py").is_file(), package


def test_the_layers_name_every_room_and_module_of_the_first_floor(setup_cfg):
    """So that a new one stands somewhere: import-linter fails as long as it does not."""
    contract = setup_cfg["importlinter:contract:floors"]
    layers = {name.strip("() ") for name in re.split(r"[|\n]", contract["layers"]) if name.strip()}
    optional = {name.strip("() ") for name in re.findall(r"\(\w+\)", contract["layers"])}
    folder = ROOT / "benchmark"
    there = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/*.py")}
    there = (there | {"attacks", "defenses"}) - {"__init__"}

    assert (contract["type"], contract["containers"], contract["exhaustive"]) == ("layers", "bench", "true")
    assert layers - optional <= there <= layers


def test_a_newcomer_sees_at_most_sixteen_things_on_the_first_floor():
    """Rooms and modules of `benchmark/`; more are a room that nobody has named yet."""
    folder = ROOT / "benchmark"
    rooms = {path.parent.name for path in folder.glob("*/*.py")}
    modules = {path.name for path in folder.glob("*.py")}

    assert len(rooms | modules) <= 16, sorted(rooms | modules)


def test_the_pythons_of_the_metadata_are_those_that_ci_runs(setup_cfg):
    """Each is tested, and the oldest is what style and types are checked for."""
    classifiers = setup_cfg["metadata"]["classifiers"]
    minors = [int(minor) for minor in re.findall(r"^Programming Language :: Python :: 3\.(\d+)$", classifiers, re.M)]
    ci = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    matrix = re.search(r"^ +python: (\[.*\])$", ci, re.M)
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]

    assert minors == list(range(11, 15))
    assert re.findall(r"3\.(\d+)", matrix[1]) == [str(minor) for minor in minors]
    assert setup_cfg["options"]["python_requires"] == ">=3.11"
    assert setup_cfg["mypy"]["python_version"] == "3.11"
    assert ruff["target-version"] == "py311"
    assert "You need Python 3.11 or newer (tested up to 3.14) and make" in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )


def test_a_release_has_one_number_and_a_date():
    """That of the package, of its citation, and of the first dated section of the changelog."""
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    number, date = re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", changelog, re.M)[0]

    assert number == bench.__version__
    assert re.findall(r"^version: (.+)$", citation, re.M) == [number]
    assert re.findall(r"^date-released: (.+)$", citation, re.M) == [date]


def test_what_pins_outdated_packages_is_no_requirement(setup_cfg):
    """RobustBench 1.1.1 asks for `timm==1.0.9` and `gdown==5.1.0` alone; the tests need it, users choose it."""
    extras = setup_cfg["options.extras_require"]

    assert "robustbench" not in setup_cfg["options"]["install_requires"]
    assert {name for name in extras if "robustbench>=" in extras[name]} == {"robustbench", "test"}
    assert "==" not in setup_cfg["options"]["install_requires"]


@pytest.mark.parametrize("folder", ["attacks", "defenses"])
def test_a_plug_in_folder_refuses_to_be_imported_under_its_folder_name(folder):
    """Two copies of one class would fail every isinstance."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert f"this folder is the package 'bench.{folder}'" in done.stderr


@pytest.mark.slow
def test_a_wheel_holds_one_package_the_weights_and_the_recipes(tmp_path):
    """Every module and data file of the three folders, and nothing else."""
    sources = tmp_path / "sources"  # a copy: what an older build has left beside the real ones would be packed, too
    for folder in ROOMS:
        shutil.copytree(ROOT / folder, sources / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(sources)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    here = {
        "/".join([*package.split("."), *path.relative_to(ROOT / folder).parts])
        for folder, package in ROOMS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert names == here


def packaged(setup_cfg):
    """The files that a wheel is made of: the modules of the packages, and their data."""
    data = setup_cfg["options.package_data"]
    files = set()
    for package in setup_cfg["options"]["packages"].split():
        room = next(
            each for each in ("bench.attacks", "bench.defenses", "bench") if f"{package}.".startswith(f"{each}.")
        )
        folder = next(ROOT / each for each, name in ROOMS.items() if name == room)
        folder = folder.joinpath(*package.removeprefix(room).split("."))
        for pattern in ("*.py", *data.get(package, "").replace(",", " ").split()):
            files |= {path for path in folder.glob(pattern) if path.is_file()}
    return files


def test_a_wheel_stays_below_40_megabytes(setup_cfg):
    """Counted before it is packed; no single file has more than 12 MB."""
    files = packaged(setup_cfg)

    sizes = {path: path.stat().st_size for path in files}

    weights = {path: size for path, size in sizes.items() if path.suffix == ".safetensors"}
    assert set(weights) == set((ROOT / "defenses" / "weights").glob("*/*.safetensors"))
    assert {path.with_suffix(".json") for path in weights} <= files
    assert {path.stem for path in weights} >= {"standard", "at", "ap", "atop-rt1"}
    assert max(weights.values()) <= 12_000_000
    assert sum(sizes.values()) <= 40_000_000
