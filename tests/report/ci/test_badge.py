"""Badges: the number and the verdict of one defense, or none."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from bench.report.ci.badge import _COLORS, badge_json, badge_svg
from bench.report.gate_report import Standing
from tests.report.ci.reports import HOSTILE, REPORTS, hostile

SVG = "{http://www.w3.org/2000/svg}"
EXPECTED = {
    "green": ("54.7 % · no regression", "brightgreen"),
    "floors alone": ("54.7 % · above the floor", "brightgreen"),
    "regression": ("54.7 % · 1 regression", "red"),
    "broken floor": ("54.7 % · below the floor", "red"),
    "not comparable": ("not comparable", "lightgrey"),
    "refused as a whole": ("not comparable", "lightgrey"),
    "absent": ("cells missing", "lightgrey"),
    "open floor": ("cells missing", "lightgrey"),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_shields_is_told_the_number_and_the_verdict(kind):
    """The schema of its endpoint: version 1, a label, a message, a color it knows by name."""
    told = json.loads(badge_json(REPORTS[kind]))

    assert (told["message"], told["color"]) == EXPECTED[kind]
    assert (told["schemaVersion"], told["label"]) == (1, "robust accuracy")
    assert told["isError"] is (EXPECTED[kind][1] == "lightgrey")


@pytest.mark.parametrize(
    ("standings", "said"),
    [
        ((Standing("at", 0.5, bound=True),), "≤ 50.0 %"),
        ((Standing("at", None),), "no number"),
        ((Standing("at", 0.5), Standing("ap", 0.2)), "2 defenses"),
        ((Standing("at", 0.5), Standing("at", 0.2)), "several sets of images"),
        ((), "0 defenses"),
    ],
)
def test_a_number_is_quoted_only_if_it_is_one(standings, said):
    report = replace(REPORTS["green"], standings=standings)

    assert json.loads(badge_json(report))["message"] == f"{said} · no regression"


@pytest.mark.parametrize("kind", EXPECTED)
def test_the_picture_says_the_same_aloud_and_stands_alone(kind):
    message, color = EXPECTED[kind]
    text = badge_svg(REPORTS[kind])
    root = ET.fromstring(text)  # noqa: S314  (made here)
    left, right = (each for each in root.iter(f"{SVG}text"))

    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext(f"{SVG}title") == f"robust accuracy: {message}"
    assert (left.text, right.text) == ("robust accuracy", message)
    assert _COLORS[color] in text
    assert not any(word in text for word in ("href", "<script", "<style", "@import"))
    # Each text ends before its half does, whatever the font.
    widths = [int(each.get("width")) for each in root.iter(f"{SVG}rect")]
    assert int(left.get("x")) + int(left.get("textLength")) < widths[1] < int(right.get("x"))
    assert int(right.get("x")) + int(right.get("textLength")) < widths[0] == int(root.get("width"))


def contrast(color):
    """The WCAG 2 contrast of white on a color."""
    parts = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


@pytest.mark.parametrize("color", ["#444444", *_COLORS.values()])
def test_every_color_can_be_read(color):
    assert contrast(color) >= 4.5


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_gets_into_a_badge(name):
    report = replace(hostile(name), not_comparable=(), absent=())

    ET.fromstring(badge_svg(report))  # noqa: S314  (made here)
    assert json.loads(badge_json(report))["message"].startswith("50.0 % · 1 regression")
