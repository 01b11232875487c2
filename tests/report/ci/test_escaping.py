"""What a name can hold, and what is left of it in each format."""

from __future__ import annotations

from html import unescape
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.report.ci.escaping import for_command, for_markdown, for_property, for_xml
from bench.report.plain import flat
from tests.report.ci.reports import HOSTILE


def test_plain_names_stay_as_they_are():
    for name in ("at x pgd-20 (Linf:8/255)", "./mine.py:build", "Modell für Größen 模型"):
        assert flat(name) == for_xml(name) == for_command(name) == name


@given(st.text())
def test_whatever_is_put_into_xml_is_read_back(text):
    """By expat, as an attribute and as text: the same text, but for what XML 1.0 has no character for."""
    written = for_xml(text)
    element = ET.Element("e", {"a": written})
    element.text = written

    back = ET.fromstring(ET.tostring(element, encoding="utf-8"))  # noqa: S314  (made here)

    assert back.get("a") == written
    assert (back.text or "") == written


def test_what_xml_has_no_character_for_is_replaced_and_seen():
    assert for_xml("a\x00b\x08c\ufffed\ud800e") == "a\ufffdb\ufffdc\ufffdd\ufffde"
    assert for_xml("a\nb\tc") == "a b c"


@given(st.text())
@example("%0A::error::forged")
@example("100 %25, a:b")
def test_a_command_ends_where_it_ends(text):
    """Undone as the runner does it (percent last), the text is back; no line break, and no separator in a property."""
    told = for_property(text)

    assert not set(told) & set("\r\n:,")
    undone = told.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
    assert undone == flat(text)
    assert len(for_command(text).splitlines()) <= 1


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_a_name_as_text(name):
    """Inside <code>, with every sign of Markdown and HTML as an entity, which reads as the name again."""
    told = for_markdown(name)
    inside = told.removeprefix("<code>").removesuffix("</code>")

    assert told == f"<code>{inside}</code>"
    assert not set(inside.replace("&#", "")) & set("<>`*_[]|\\@!\"'\n")
    assert "://" not in inside
    assert "www." not in inside
    assert unescape(inside) == flat(name)
