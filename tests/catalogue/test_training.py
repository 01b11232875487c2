"""What trains is behind names; the names are there without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.catalogue import training
from bench.catalogue.registry import load
from bench.errors import BenchError


def test_every_recipe_is_a_training_and_starts_from_trainings():
    """And what it begins with has a recipe of its own."""
    names = training.recipes()

    assert {"standard", "at", "ap", "atop", "at-resnet-18"} <= set(names)
    for name in names:
        assert "-".join(filter(None, training.training_of(name))) == name
        assert set(training.starts_from(name)) <= set(names) - {name}
    assert training.starts_from("standard") == ()
    assert training.starts_from("atop-resnet-18") == ("standard-resnet-18", "ap-resnet-18")


def test_no_other_name_is_one():
    for ask in (training.training_of, training.starts_from):
        with pytest.raises(BenchError, match="unknown training 'att': did you mean at"):
            ask("att")


def test_what_trains_is_the_function_of_the_trainings():
    assert training.training() is load("bench.defenses.training.run:train")


def test_recipes_are_listed_without_what_trains():
    code = (
        "import sys; from bench.catalogue.training import recipes; assert recipes(); "
        "sys.exit('torch' in sys.modules or 'bench.defenses.training.run' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
