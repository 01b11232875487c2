"""Calls and their answers."""

import math

import pytest

from bench.errors import BenchError
from bench.machine.isolation.calls import Answer, Call, Elsewhere, named


def test_a_function_is_named_by_its_module_or_given():
    assert named("math:sqrt") is math.sqrt
    assert named(math.sqrt) is math.sqrt


def test_an_answer_gives_its_value_or_raises_its_error():
    call = Call("math:sqrt", (4,))

    assert Answer(call, 2.0).result() == 2.0
    with pytest.raises(Elsewhere, match="gone"):
        Answer(call, error=Elsewhere("gone")).result()


def test_a_mistake_stays_a_mistake(answer):
    with pytest.raises(BenchError, match=r"^no such thing: give another$"):
        answer("mistaken").result()
