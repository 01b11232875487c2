from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.load import HEADLINE, data_folder, known, load, threat
from bench.errors import BenchError


def test_known_names_are_listed() -> None:
    """What `--dataset` understands."""
    assert known() == ("digits", "cifar10", "cifar100", "imagenette-160", "imagenette-320", "imagefolder:PATH")


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("digit", "test", "unknown dataset 'digit': did you mean digits?"),
        ("CIFAR-10", "test", "unknown dataset 'CIFAR-10': did you mean cifar10 or cifar100?"),
        (
            "mnist",
            "test",
            "unknown dataset 'mnist': known are cifar10, cifar100, digits, imagefolder:PATH, "
            "imagenette-160, imagenette-320",
        ),
        (
            "imagenette",
            "test",
            "unknown dataset 'imagenette': did you mean imagenette-320 or imagenette-160 or imagefolder:PATH?",
        ),
        (
            "imagenette-160[size=128]",
            "test",
            "unknown parameter of dataset 'imagenette-160' 'size': did you mean resize?",
        ),
        (
            "imagenette-320[crop=288]",
            "test",
            "crop=288 is larger than resize=256: give resize=288 or more",
        ),
        (
            "cifar10[resize=256]",
            "test",
            "dataset 'cifar10[resize=256]': the images of cifar10 have one size and take no parameters; write cifar10",
        ),
        ("digits", "tests", "unknown split 'tests': did you mean test?"),
        ("imagefolder:", "test", "dataset 'imagefolder:' names no folder: write imagefolder:PATH"),
        (
            "imagefolder:/no where",
            "test",
            "dataset 'imagefolder:/no where': /no where is not a folder; name one that holds class folders",
        ),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest_one(name: str, split: str, message: str) -> None:
    """One line that names the value and the remedy."""
    with pytest.raises(BenchError) as caught:
        load(name, split)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", ["Linf:0.2", "L2:1", "stadv:0.4"]),
        ("cifar10", ["Linf:8/255", "L2:0.5", "stadv:0.8"]),
        ("cifar100", ["Linf:8/255", "L2:0.5", "stadv:0.8"]),
        ("imagenette-160", ["Linf:4/255", "L2:2.5", "stadv:4"]),
        ("imagenette-320", ["Linf:4/255", "L2:4", "stadv:6.4"]),
        ("imagenette-320[crop=224]", ["Linf:4/255", "L2:3.5", "stadv:5.6"]),
    ],
)
def test_threats_of_the_named_datasets(name: str, expected: list[str]) -> None:
    """The threat models a study takes where the user names none."""
    assert [str(threat(family, name)) for family in HEADLINE] == expected


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (32, ["Linf:8/255", "L2:0.5", "stadv:0.8"]),
        (64, ["Linf:8/255", "L2:1", "stadv:1.6"]),
        (224, ["Linf:4/255", "L2:3.5", "stadv:5.6"]),
    ],
)
@pytest.mark.parametrize("layout", ["", "test"])
def test_threats_of_an_image_folder_follow_its_size(
    tmp_path: Path, write: Any, side: int, expected: list[str], layout: str
) -> None:
    """At 32x32 they are CIFAR's; L2 and the displacement grow with the image, Linf is ImageNet's above 64."""
    write(tmp_path / layout, count=1, size=side)

    assert [str(threat(family, f"imagefolder:{tmp_path}")) for family in HEADLINE] == expected


def test_the_data_folder_is_the_argument_then_the_variable_then_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """--data goes before $BENCH_DATA, which goes before the user's cache; an empty variable is not set."""
    monkeypatch.setenv("BENCH_DATA", "/variable")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    chosen = [data_folder(Path("/argument")), data_folder()]
    monkeypatch.setenv("BENCH_DATA", "")
    chosen.append(data_folder())
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/ada")

    chosen.append(data_folder())

    assert list(map(str, chosen)) == ["/argument", "/variable", "/cache/atop-bench", "/home/ada/.cache/atop-bench"]


def test_importing_the_datasets_loads_nothing_heavy() -> None:
    """`bench list` and `--dry-run` on a typo must answer at once."""
    code = "import sys, bench.datasets.load; print(*{name.partition('.')[0] for name in sys.modules})"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "numpy" in loaded
    assert not {"torch", "torchvision", "pandas", "sklearn", "PIL", "scipy"} & set(loaded)
