"""Arguments of the Python interface: `tests/faults/test_bad_inputs.py` asks every function, here is how it is done."""

import inspect
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.api.arguments import checked
from bench.api.results import Names
from bench.errors import BenchError


def function(
    folder: "Path | None" = None, n: "int" = 1, share: "float" = 0.5, *more: "str", names: "Names" = "", **rest: "int"
):
    """Say what arrived."""
    return folder, n, share, more, names, rest


CHECKED = checked(function)


def test_the_signature_and_the_help_stay():
    assert inspect.signature(CHECKED) == inspect.signature(function)
    assert CHECKED.__doc__ == "Say what arrived."
    assert "results" in inspect.signature(bench.load).parameters


def test_what_is_allowed_arrives_and_text_becomes_the_path_that_is_declared():
    assert CHECKED("a", np.int64(3), 1, "x", names=["a"], b=2) == (Path("a"), 3, 1, ("x",), ["a"], {"b": 2})


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        ([3], {}, "folder=3 is int: give a path or None"),
        ([None, True], {}, "n=True is bool: give a whole number"),
        ([None, 1, "x"], {}, "share='x' is str: give a number"),
        ([None, 1, 0.5, 3], {}, "more=3 is int: give text"),
        ([], {"names": [3]}, "names=[3] is list: give text or a list of names"),
        ([], {"b": 2.5}, "b=2.5 is float: give a whole number"),
        ([""], {}, "folder='' is no path: name a file or folder"),
        (["a\0"], {}, r"folder='a\x00' is no path"),
    ],
)
def test_what_is_not_allowed_is_named_with_what_to_give(given, named, said):
    with pytest.raises(BenchError) as caught:
        CHECKED(*given, **named)

    assert said in str(caught.value)
