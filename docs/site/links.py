"""Links of Markdown files, which are right in the repository, as the site needs them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

# A fenced block or a piece of code, which stay as they are; or a link or picture: mark, text, and where it leads.
_FENCED = r"^(?P<fence>```+|~~~+).*?^(?P=fence)[ ]*$"
_LINK = r"(?P<mark>!?)\[(?P<text>(?:`[^`]*`|[^\[\]`])*)\]\((?P<target>[^)\s]+)\)"
_PARTS = re.compile(rf"{_FENCED}|{_LINK}|`+[^`\n]+`+", re.M | re.S)


def rewritten(markdown: str, source: str, pages: Mapping[str, str], repository: str = "") -> str:
    """Return the text of a page with each link to a file of the repository leading to its place in the site.

    Args:
        markdown: the text of the file.
        source: its path in the repository: `docs/speed.md`.
        pages: what the site has, by path in the repository: `{"README.md": "index.md"}`.
        repository: web address of the repository, to which a link to any other file leads. Without one the link
            becomes its text, with the name of the file.
    """

    def one(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or re.match(r"[a-z]+:|#", target):
            return match[0]
        path, hash_, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if path in pages:
            here = posixpath.dirname(pages[source])
            return f"{match['mark']}[{match['text']}]({posixpath.relpath(pages[path], here or '.')}{hash_}{anchor})"
        if repository:
            return f"{match['mark']}[{match['text']}]({repository}/blob/HEAD/{path}{hash_}{anchor})"
        named = path in match["text"].replace("`", "").rstrip("/")
        return match["text"] if named else f"{match['text']} (`{path}`)"

    return _PARTS.sub(one, markdown)


def repository(root: Path) -> str:
    """Return the web address that CITATION.cff gives the repository, or nothing."""
    found = re.search(
        r"^repository-code: *[\"']?([^\"'\s]+)", (root / "CITATION.cff").read_text(encoding="utf-8"), re.M
    )
    return found[1].rstrip("/") if found else ""
