"""SVG for a page: the same bytes in any process, no id twice, nothing that leaks, reads as text, dark or light."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.report.figures.cost import cost
from bench.report.figures.forest import forest
from bench.report.figures.matrix import matrix
from bench.report.figures.style import INK
from bench.report.figures.svg import inline
from tests.report.figures.drawn import HOSTILE, hostile, numbers, results

DRAWN = Path(__file__).with_name("drawn.py")
SVG = "{http://www.w3.org/2000/svg}"


def parsed(text):
    return ET.fromstring(text.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))  # noqa: S314  (ours)


def ids(text):
    return re.findall(r'\bid="([^"]+)"', text)


@pytest.mark.parametrize("draw", [matrix, forest, cost])
def test_the_bytes_repeat_also_in_a_fresh_process(draw):
    once, again = (inline(draw(results()), "a", "b") for _ in range(2))
    code = (
        f"import runpy; results = runpy.run_path({str(DRAWN)!r})['results']\n"
        f"from {draw.__module__} import {draw.__name__} as draw\n"
        "from bench.report.figures.svg import inline; print(inline(draw(results()), 'a', 'b'), end='')"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, encoding="utf-8")

    assert once == again == fresh.stdout


def test_ids_are_unique_over_figures_and_every_reference_leads_to_one():
    made = [inline(matrix(results()), "a", "b"), inline(forest(results()), "a", "b"), inline(cost(results()), "a", "b")]
    made.append(inline(matrix(results()), "another title", "b"))
    found = [each for text in made for each in ids(text)]

    assert len(set(found)) == len(found)
    for text in made:
        wanted = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
        assert {one or two for one, two in wanted} <= set(ids(text))
    assert any("url(#" in text for text in made)


def test_it_is_an_element_with_a_title_and_a_description_and_nothing_else():
    text = inline(cost(results()), "Cost", "What was spent")
    root = parsed(text)

    assert text.startswith("<svg ")
    assert not re.search(r"<\?xml|<!DOCTYPE|<!--|<metadata|<style|<script|xlink|http", text)
    assert root.get("role") == "img"
    named = root.get("aria-labelledby").split()
    assert [root.find(f"{SVG}*[@id='{each}']").text for each in named] == ["Cost", "What was spent"]


def test_text_is_text_in_the_font_and_color_of_the_page():
    figure = matrix(results(), width=10)
    text = inline(figure, "a", "b")
    words = {"".join(each.itertext()) for each in parsed(text).iter(f"{SVG}text")}

    assert set(numbers(figure)) <= words
    assert "font-family" not in text
    assert "STIX" not in text
    assert INK not in text
    assert "currentColor" in text


def test_the_figure_is_as_before():
    figure = matrix(results())
    before = [(each.get_fontsize(), each.get_fontfamily(), each.get_position()) for each in figure.axes[0].texts]

    inline(figure, "a", "b")

    assert [
        (each.get_fontsize(), each.get_fontfamily(), each.get_position()) for each in figure.axes[0].texts
    ] == before


def test_labels_of_others_are_neither_markup_nor_mathematics():
    text = inline(matrix(hostile(), width=12), HOSTILE[0], "\n".join(HOSTILE))
    tags = {each.tag.removeprefix(SVG) for each in parsed(text).iter()}

    assert tags <= {"svg", "g", "path", "text", "tspan", "defs", "clipPath", "rect", "use", "title", "desc"}
    assert not re.search(r"<(img|script)|\x1b", text)
    assert "&lt;img" in text
