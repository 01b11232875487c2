"""Formats and plans, as they are printed and kept."""

import pytest

from bench.errors import BenchError
from bench.harness.formats import FORMATS, Format, SearchFormats


def test_a_format_is_known_by_what_it_prints():
    assert [Format.parse(str(layout)) for layout in FORMATS] == list(FORMATS)
    with pytest.raises(BenchError, match="format 'float16' is unknown: give one of float32, "):
        Format.parse("float16")


def test_a_plan_survives_the_store():
    plan = SearchFormats(Format(half=True, channels_last=True), Format(fused=True), 160, {"float32": 1.0})

    assert SearchFormats.from_json(plan.to_json()) == plan
