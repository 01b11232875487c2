"""TOML files of users; `tests/faults/test_bad_inputs.py` has what studies and claims make of them."""

from decimal import Decimal

import pytest

from bench.catalogue.toml_file import parse_toml, read_toml
from bench.errors import BenchError
from bench.machine.reading import MOST_SETTINGS


def test_decimals_stay_as_they_are_printed(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfx = 70.10\n")  # with the mark that Windows editors write

    assert read_toml(tmp_path / "a.toml", "study", "") == {"x": Decimal("70.10")}


def test_the_line_of_an_error_is_quoted():
    with pytest.raises(BenchError, match=r"\(at line 3, column 5\), 'b ='$"):
        parse_toml("a = 1\r\n\r\nb = \r\nc = 2\n")


def test_an_error_at_the_end_quotes_nothing():
    with pytest.raises(BenchError, match=r"^not TOML: [^']*$"):
        parse_toml("a = [")


def test_what_is_no_page_of_text_is_not_read(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"#" * (MOST_SETTINGS + 1))

    with pytest.raises(BenchError, match="has more than 1,048,576 bytes: a study is a page of TOML"):
        read_toml(tmp_path / "a.toml", "study", "")
