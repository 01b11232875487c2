"""docs/architecture.md and its picture show the house as it stands."""

import configparser
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PICTURE = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def section(title):
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def layers():
    """The lines of setup.cfg, from top to bottom."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser["importlinter:contract:floors"]["layers"].split("\n")[1:]


def test_the_layers_of_the_page_are_those_that_are_checked():
    assert re.findall(r"^    (\S.*)$", section("Who may import whom"), re.M) == layers()


def test_the_page_says_what_every_room_and_module_of_the_first_floor_is_for():
    rooms = {path.parent.name for path in (ROOT / "benchmark").glob("*/*.py")} | {"attacks", "defenses"}
    modules = {path.stem for path in (ROOT / "benchmark").glob("*.py")}
    rows = re.findall(r"^\| (`.*?) \| (.+) \|$", section("The rooms"), re.M)
    named = [name for row, _ in rows for name in re.findall(r"`([\w/]+)`", row)]

    assert sorted(named) == sorted([*(f"{room}/" for room in rooms), *modules])


def test_the_picture_has_the_floors_in_the_order_of_the_layers():
    tree = ET.fromstring(PICTURE)  # noqa: S314  (a file of ours)
    names = [each.text for each in tree.iter(f"{SVG}text") if each.get("class") == "name"]
    floors = [name for text in names for name in text.split(", ")]
    heights = [float(each.get("y")) for each in tree.iter(f"{SVG}text") if each.get("class") == "name"]

    assert floors == [name for line in layers()[1:] for name in line.split(" | ")]
    assert heights == sorted(heights)


def test_the_picture_stands_alone_and_can_be_read_in_the_dark_and_aloud():
    tree = ET.fromstring(PICTURE)  # noqa: S314  (a file of ours)
    light, dark = (
        set(re.findall(r"\.([\w-]+) {", part)) for part in PICTURE.split("@media (prefers-color-scheme: dark)")
    )

    assert not re.search(r"@import|@font-face|href|url\((?!#)", PICTURE)
    assert light == dark
    assert tree.findtext(f"{SVG}title")
    assert all(name in tree.findtext(f"{SVG}desc") for line in layers()[1:] for name in line.split(" | "))
    assert re.search(r"!\[.{40,}\]\(architecture\.svg\)", PAGE)


# Where a path in the page begins.
PLACES = (ROOT, ROOT / "benchmark", ROOT / "defenses" / "training", ROOT / "benchmark" / "checks" / "before")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+(?:\.(?:py|toml|json)|/))`", PAGE))))
def test_every_file_and_folder_that_the_page_names_is_there(path):
    if path == "recipes/DATASET/NAME.toml":
        assert list((ROOT / "defenses" / "training").glob("recipes/*/*.toml"))
        return
    places = [*PLACES, ROOT / "benchmark" / "checks", ROOT / "benchmark" / "report", ROOT / "defenses", ROOT / "tests"]
    assert any((place / path).exists() for place in places), path
