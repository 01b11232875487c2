"""Read a page with the HTML parser of the standard library, which shares no code with what wrote it."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "link", "img", "col", "input", "br", "hr"}


class Page(HTMLParser):
    """What a page holds.

    Attributes:
        tags: every start tag with its attributes.
        text: everything that is read, outside of style and script.
        tables: by class, the rows of each table: the texts of its cells, without footnotes and small print.
        scripts, styles: the contents of these elements.
    """

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self.styles = "", [], []
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._rows: list[list[str]] | None = None
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs).get("class") or "", [])
        if self._rows is not None and tag == "tr":
            self._rows.append([])
        if self._rows is not None and tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes another element"
        if tag == "table":
            self._rows = None

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if "script" in self._open:
            self.scripts.append(data)
        elif "style" in self._open:
            self.styles.append(data)
        else:
            self.text += data
            if self._rows and self._rows[-1] and not {"small", "sup"} & set(self._open[self._open.index("table") :]):
                self._rows[-1][-1] += data.strip()

    def attributes(self, name: str) -> list[str]:
        """Every value of an attribute."""
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]
