"""What is installed is what lies here, under one import root."""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"benchmark": "bench", "attacks": "bench.attacks", "defenses": "bench.defenses"}


@pytest.fixture(scope="module")
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_folder_with_code_is_a_listed_package(setup_cfg):
    """A sub-package forgotten in setup.cfg works in a checkout and is missing in a wheel."""
    on_disk = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for folder, package in ROOMS.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }

    assert set(setup_cfg["options"]["packages"].split()) == on_disk


def test_every_module_of_the_harness_is_below_the_line_that_plug_ins_may_not_cross(setup_cfg):
    """A new module of the harness has to be put into the import contracts."""
    folder = ROOT / "benchmark"
    modules = {f"bench.{path.stem}" for path in folder.glob("*.py")} - {"bench.__init__"}
    modules |= {f"bench.{path.parent.name}" for path in folder.glob("*/__init__.py")}
    ground = set(setup_cfg["importlinter:contract:ground"]["source_modules"].split())

    for contract in ("attacks", "defenses"):
        forbidden = set(setup_cfg[f"importlinter:contract:{contract}"]["forbidden_modules"].split())
        assert modules - ground <= forbidden, contract
    assert modules - ground <= set(setup_cfg["importlinter:contract:ground"]["forbidden_modules"].split())
    assert modules <= set(setup_cfg["importlinter:contract:harness"]["source_modules"].split())


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
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bench"}
    for folder in ("benchmark", "attacks", "defenses"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".toml", ".safetensors", ".json", ".typed"):
                place = "/".join(
                    ["bench", *(() if folder == "benchmark" else (folder,)), *path.relative_to(ROOT / folder).parts]
                )
                assert place in names


def test_shipped_weights_stay_small():
    """A clone stays a matter of seconds: 25 MB a file, 60 MB in all."""
    weights = list((ROOT / "defenses" / "weights").glob("*/*.safetensors"))

    sizes = [path.stat().st_size for path in weights]

    assert {path.stem for path in weights} >= {"standard", "at", "ap", "atop-rt1"}
    assert max(sizes) <= 25_000_000
    assert sum(sizes) <= 60_000_000
