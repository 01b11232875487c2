"""The figures of the page: drawn where there is something to draw, safe whatever people are called."""

from xml.etree import ElementTree as ET

from bench.report.curves import curves
from bench.report.page.drawings import drawn
from bench.threats import ThreatModel
from tests.report.page.simulated import LINF, cells, done, hostile, many, result


def test_what_there_is_nothing_for_is_not_drawn():
    assert set(drawn(cells(), [], [])) == {"forest", "cost"}
    assert drawn([result("at", "pgd", LINF, None)], [], []) == {}
    assert "cost" not in drawn([result("at", "pgd", LINF, done([1], cost=(0, 0)), n=1)], [], [])


def test_a_sweep_is_drawn_as_curves():
    sweep = [result("at", "pgd", ThreatModel.parse(f"Linf:{at}/255"), done([1, 0])) for at in (2, 4)]

    assert "curves" in drawn(sweep, curves(sweep), [])


def test_names_are_text_in_a_drawing():
    """An XML parser finds no element and no attribute that a name could have brought."""
    for drawing in drawn(hostile(), [], []).values():
        root = ET.fromstring(str(drawing.svg))  # noqa: S314
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        attributes = {name for element in root.iter() for name in element.attrib}
        assert not tags & {"img", "script", "foreignObject", "image", "a", "style"}
        assert not {name for name in attributes if name.startswith("on")}
        assert "passwd" in "".join(root.itertext())


def test_a_large_study_is_drawn_in_part_and_says_so():
    """60 defenses under 8 attacks: the best 30 of them, 240 cells."""
    found = drawn(many(60, 8, n=8), [], [])

    assert "the 30 best of 60 defenses" in found["forest"].caption
    assert "the 30 best of 60 defenses" in found["cost"].caption
    assert "each defense" in drawn(many(3, 4), [], [])["forest"].caption
