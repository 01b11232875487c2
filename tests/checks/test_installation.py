from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.checks import installation
from bench.checks.installation import Diagnosis, doctor
from bench.cli import main


def about(topic: str, findings: Any) -> list[Diagnosis]:
    return [finding for finding in findings if finding.topic == topic]


def test_a_quick_examination_imports_neither_torch_nor_pandas() -> None:
    """So that it answers at once, and answers even where torch is broken."""
    code = "import sys; from bench.checks.installation import doctor; doctor(quick=True); print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "bench.checks.installation" in loaded
    assert not {"torch", "torchvision", "pandas", "sklearn", "bench.defenses"} & set(loaded)


def test_every_requirement_of_our_own_is_examined() -> None:
    """Each distribution of the base set has its line; those of extras have none."""
    topics = {finding.topic for finding in doctor(quick=True)}

    assert {"python", "torch", "torchvision", "pyautoattack", "numpy", "pandas", "data"} <= topics
    assert not {"pytest", "mypy"} & topics


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("2.13.0+cpu", ">=2.10", True),
        ("2.9.1", ">=2.10", False),
        ("0.2.0", "<0.3,>=0.2", True),
        ("0.3.0", "<0.3,>=0.2", False),
        ("3.0.0rc1", ">=3", True),
        ("1.0", "==1.0.0", True),
        ("1.0", "!=1", False),
        ("1.0", "<=0.9", False),
        ("1.0", ">1", False),
        ("1.0", "", True),
        ("1.0", "~=1.0", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, wanted: str, fits: bool) -> None:
    """2.9 is older than 2.10, and a local part such as +cpu counts for nothing."""
    assert installation._satisfies(version, wanted) is fits


def test_robustbench_is_no_requirement_and_the_command_for_its_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its newest release asks for outdated packages alone, which nobody gets who does not want its models."""
    text = "is not installed: models by robustbench:NAME need it"
    extra = f"{sys.executable} -m pip install 'atop-bench[robustbench]'"
    of, real = "robustbench", importlib.metadata.version

    def version(name: str) -> str:
        if name == of:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    assert [finding.state for finding in about(of, doctor(quick=True))] == ["ok"]
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert about(of, doctor(quick=True)) == [Diagnosis(of, "note", text, extra)]
    requirements = [each for each in importlib.metadata.requires("atop-bench") or [] if each.startswith(of)]
    assert requirements
    assert all("extra ==" in each for each in requirements)


def test_a_note_is_printed_with_what_can_be_tried_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Diagnosis("a", "ok", "fine"), Diagnosis("b", "note", "not there", "pip install b")]
    monkeypatch.setattr(installation, "doctor", lambda data, quick: found)

    assert main(["doctor", "--quick"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "[ ok ] a: fine",
        "[note] b: not there",
        "       try: pip install b",
    ]
    found.append(Diagnosis("c", "problem", "broken", "pip install c"))
    assert main(["doctor", "--quick"]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["[PROB] c: broken", "       mend it: pip install c"]


def test_modules_that_another_package_has_overwritten_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchattacks brings an older RobustBench, whose evaluation is commented out."""
    (tmp_path / "victim").mkdir()
    info = tmp_path / "victim-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: victim\nVersion: 1.0\n")
    lines = ["victim-1.0.dist-info/METADATA,,"]
    for name in ("one", "two"):
        module = tmp_path / "victim" / f"{name}.py"
        module.write_text(name)
        lines.append(f"victim/{name}.py,sha256={installation._digest(module)},3")
    (info / "RECORD").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)

    whole = list(installation._intact("victim"))
    (tmp_path / "victim" / "two.py").write_text("older")
    (found,) = installation._intact("victim")

    assert whole == [] == list(installation._intact("nobody"))
    assert found.state == "problem"
    assert found.text == "1 of its 2 modules are not its own: another package has overwritten them"
    assert found.remedy == f"{sys.executable} -m pip install --no-deps --force-reinstall victim"


@pytest.fixture
def requirements(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed, by distribution; `good`, `old` and `gone` are required."""
    installed = {"good": "2.0", "old": "1.9"}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    wanted = ["good>=2", "old>=1.10", "gone<3,>=1", 'past>=1; python_version < "3.0"', 'more; extra == "test"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    monkeypatch.setattr(importlib.metadata, "version", version)
    return installed


def test_old_and_missing_packages_come_with_the_command(requirements: dict[str, str]) -> None:
    """The command names the interpreter that runs, and quotes the bounds for the shell."""
    findings = list(installation._dependencies())

    pip = f"{sys.executable} -m pip install"
    assert findings == [
        Diagnosis("good", "ok", "2.0 (>=2)"),
        Diagnosis("old", "problem", "1.9 is installed, >=1.10 is needed", f"{pip} 'old>=1.10'"),
        Diagnosis("gone", "problem", "is not installed, <3,>=1 is needed", f"{pip} 'gone<3,>=1'"),
    ]


def test_a_source_tree_that_is_not_installed_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without metadata no requirement is known, and that is said rather than passed over."""

    def missing(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)

    (finding,) = installation._dependencies()

    assert (finding.state, finding.remedy) == ("problem", "pip install -e .")


def test_a_python_that_is_too_old_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is that of our own metadata."""
    monkeypatch.setattr("platform.python_version", lambda: "3.9.18")

    (finding,) = installation._python()

    assert finding.state == "problem"
    assert finding.text == "3.9.18 is not >=3.11"
    assert finding.remedy


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_without_a_data_folder_there_is_a_note_with_a_download(no_data: Path) -> None:
    """Nothing is broken, since digits needs no files; the command is for whoever wants CIFAR-10."""
    (finding,) = installation._data(None)

    assert finding.state == "note"
    assert str(no_data / "cache" / "atop-bench") in finding.text
    assert finding.remedy == "bench download cifar10"


def test_a_data_folder_that_is_set_and_missing_is_a_problem(no_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in $BENCH_DATA shows here."""
    monkeypatch.setenv("BENCH_DATA", str(no_data / "typo"))

    (finding,) = installation._data(None)

    assert finding.state == "problem"
    assert f"{no_data / 'typo'} ($BENCH_DATA) is not a folder" in finding.text


def test_the_datasets_of_the_data_folder_are_listed(no_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each split that can be read; folders of lower rank are said to be ignored."""
    (no_data / "mine" / "cifar10" / "test").mkdir(parents=True)
    (no_data / "mine" / "cifar-100-python").mkdir()
    (no_data / "mine" / "imagenette2-320" / "val").mkdir(parents=True)
    (no_data / "theirs").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(no_data / "theirs"))

    first, second = installation._data(no_data / "mine")

    assert first.state == "ok"
    contents = "cifar10 test, cifar100 train, cifar100 test, imagenette-320 test"
    assert first.text == f"{no_data / 'mine'} (--data) holds {contents}"
    assert second == Diagnosis("data", "note", f"{no_data / 'theirs'} ($BENCH_DATA) is not read: --data is set")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Two checkpoints with cards that match."""
    folder = tmp_path / "defenses" / "weights" / "digits"
    folder.mkdir(parents=True)
    for name in ("at", "standard"):
        content = name.encode() * 100
        (folder / f"{name}.safetensors").write_bytes(content)
        (folder / f"{name}.json").write_text(json.dumps({"sha256": hashlib.sha256(content).hexdigest()}))
    return folder.parent


def test_weights_that_match_their_cards_are_fine(weights: Path) -> None:
    """One line for all of them."""
    assert list(installation._weights(weights)) == [
        Diagnosis("weights", "ok", "2 match their cards: digits/at, digits/standard"),
    ]


def flipped(folder: Path) -> None:
    file = folder / "digits" / "at.safetensors"
    content = bytearray(file.read_bytes())
    content[7] ^= 1
    file.write_bytes(content)


def no_card(folder: Path) -> None:
    (folder / "digits" / "at.json").unlink()


def broken_card(folder: Path) -> None:
    (folder / "digits" / "at.json").write_text("{")


def bare_card(folder: Path) -> None:
    (folder / "digits" / "at.json").write_text("{}")


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (flipped, "digits/at has sha256"),
        (no_card, "digits/at has no card"),
        (broken_card, "digits/at has a card that cannot be read (JSONDecodeError)"),
        (bare_card, "digits/at has a card that cannot be read (KeyError)"),
    ],
)
def test_weights_that_are_not_those_of_their_card_are_a_problem(weights: Path, harm: Any, text: str) -> None:
    """One bit is enough; the others are still fine."""
    harm(weights)

    problem, rest = installation._weights(weights)

    assert problem.state == "problem"
    assert problem.text.startswith(text)
    assert problem.remedy
    assert rest.text == "1 match their cards: digits/standard"


def test_weights_of_a_checkout_are_restored_by_git(weights: Path) -> None:
    """Where the sources are a git checkout, the command is git's."""
    (weights.parent.parent / ".git").mkdir()
    no_card(weights)

    problem = next(iter(installation._weights(weights)))

    assert problem.remedy == f"git -C {weights.parent.parent} restore defenses/weights"


def test_no_weights_at_all_is_a_problem(tmp_path: Path) -> None:
    """An installation without package data cannot run the embedded default."""
    assert [finding.state for finding in installation._weights(tmp_path)] == ["problem"]


def test_a_library_beyond_repair_is_split_into_fault_and_command() -> None:
    """What `repairs` says in one line is shown as text and remedy."""
    from bench.errors import BenchError

    def broken() -> None:
        raise BenchError("torchvision does not import (a: b): pip install torchvision")

    (finding,) = installation._library("torchvision", broken)

    assert finding == Diagnosis(
        "torchvision", "problem", "torchvision does not import (a: b)", "pip install torchvision"
    )


@pytest.mark.slow
def test_a_full_examination_reports_devices_libraries_and_repairs() -> None:
    """In this environment everything imports; each repair that was made has its line."""
    code = """
import json, dataclasses
from bench import _compat
from bench.checks.installation import doctor
findings = [dataclasses.astuple(finding) for finding in doctor()]
print(json.dumps([findings, [repair.name for repair in _compat.active()]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows, active = json.loads(done.stdout.splitlines()[-1])
    findings = [Diagnosis(*row) for row in rows]

    assert [finding.state for finding in about("robustbench", findings)] == ["ok", "ok"]
    assert [finding.text.partition(":")[0] for finding in about("repair", findings)] == active
    assert "torch 2." in about("devices", findings)[0].text
    assert "usable core" in about("cores", findings)[0].text
    assert all(finding.remedy for finding in findings if finding.state == "problem")
