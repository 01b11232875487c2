"""A figure as SVG in an HTML page: the font and the color of the page, dark or light, and nothing that leaks."""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from bench.report.figures.style import INK, on_page, styled
from bench.report.plain import flat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# Versions of matplotlib name the family in a property of its own, or in the shorthand.
_FAMILY = re.compile(r"font-family:[^;]*;?\s*")
_FONT = re.compile(r"font:\s*(?P<before>[^;']*?)(?P<size>[\d.]+)px[^;]*")
_WANTED = re.compile(r"url\(#([^)]+)\)")


def inline(figure: Figure, title: str, description: str) -> str:
    """Return a figure as an `<svg>` element to stand in an HTML page.

    Text stays text, in the font of the page. Text and axes have the color of the page's text (`currentColor`), the
    ground is transparent. There is no style element, no script and no reference to anything outside. Ids begin with a
    digest of the content, the title and the description, so that several figures can stand in one page; the same
    figure gives the same bytes in any process.

    Args:
        figure: of this package; it is as before afterwards.
        title: a short name for screen readers, and a tip under the pointer.
        description: what is to be seen in it, for those who cannot see it.
    """
    import matplotlib as mpl

    file = io.BytesIO()
    with styled(), on_page(figure):
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "atop-bench", "svg.image_inline": True})
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    # What matplotlib has just written; comments and the document type go already here.
    root = ET.fromstring(file.getvalue())  # noqa: S314
    title, description = flat(title), flat(description)
    told = hashlib.sha256("\0".join((title, description)).encode() + file.getvalue()).hexdigest()
    _cleaned(root)
    _renamed(root, f"f{told[:10]}-")
    _described(root, f"f{told[:10]}-", title, description)
    ET.register_namespace("", _SVG)
    text = ET.tostring(root, encoding="unicode")
    # An HTML parser knows the namespace of an svg element without being told.
    return text.replace(f' xmlns="{_SVG}"', "", 1)


def _cleaned(root: ET.Element) -> None:
    """Remove metadata and style elements, and give text and axes the color and font of the page."""
    for parent in list(root.iter()):
        for child in list(parent):
            name = child.tag.partition("}")[2]
            # matplotlib's style element has a rule for `*`: inside HTML it would hold for the whole page.
            if name in ("metadata", "style") or (name == "defs" and all(_is_style(each) for each in child)):
                parent.remove(child)
    root.set("stroke-linejoin", "round")  # what that rule said
    root.set("stroke-linecap", "butt")
    for element in root.iter():
        style = element.get("style")
        if style:
            element.set("style", _FAMILY.sub("", _FONT.sub(_without_family, style.replace(INK, "currentColor"))))
        for name in ("fill", "stroke"):
            if element.get(name) == INK:
                element.set(name, "currentColor")


def _is_style(element: ET.Element) -> bool:
    return element.tag.endswith("}style")


def _without_family(found: re.Match[str]) -> str:
    words = found["before"].split()
    named = "; ".join(
        f"font-style: {word}" if word in ("italic", "oblique") else f"font-weight: {word}" for word in words
    )
    return f"font-size: {found['size']}px" + (f"; {named}" if named else "")


def _renamed(root: ET.Element, prefix: str) -> None:
    """Keep only the ids that something refers to, and give each the prefix of this figure."""
    link = f"{{{_LINK}}}href"
    wanted = set()
    for element in root.iter():
        wanted |= {value[1:] for name, value in element.items() if name == link}
        wanted |= {each for value in element.attrib.values() for each in _WANTED.findall(value)}
    for element in root.iter():
        if element.get("id") is not None and element.get("id") not in wanted:
            del element.attrib["id"]
        for name, value in list(element.items()):
            if name == "id":
                element.set(name, prefix + value)
            elif name == link:
                del element.attrib[name]
                # Images are inline; only references within the figure are renamed.
                element.set("href", f"#{prefix}{value[1:]}" if value.startswith("#") else value)
            elif "url(#" in value:
                element.set(name, _WANTED.sub(lambda found: f"url(#{prefix}{found[1]})", value))


def _described(root: ET.Element, prefix: str, title: str, description: str) -> None:
    for name in ("version", "height", "width"):
        root.attrib.pop(name, None)
    box = root.get("viewBox", "0 0 1 1").split()
    # Its natural size; on a narrower page it shrinks, keeping its shape.
    root.set("style", f"width: {float(box[2]):g}pt; max-width: 100%; height: auto")
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}title {prefix}desc")
    for at, (name, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{{{_SVG}}}{name}", {"id": f"{prefix}{name}"})
        element.text = text
        root.insert(at, element)
