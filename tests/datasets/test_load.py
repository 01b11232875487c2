from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.datasets.load import data_folder, load
from bench.errors import BenchError


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
