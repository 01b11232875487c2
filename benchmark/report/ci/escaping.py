"""Text of others made harmless: labels and errors may hold markup, workflow commands or terminal sequences.

Each format has characters that mean something to it. Whatever comes out of these functions is read as text.
"""

from __future__ import annotations

import re

from bench.report.plain import flat

# All that XML 1.0 has besides tab and line breaks, which are no part of a label either.
_XML = re.compile("[^\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Characters that mean something in Markdown or HTML, the colon of an address and the point after www.
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#!|~&\"'$@^]|:(?=/)|(?<=[wW])\.")


def for_xml(text: str) -> str:
    """Return a text as one line that XML 1.0 can hold; what it cannot is replaced. Quoting is the writer's."""
    return _XML.sub("\ufffd", " ".join(text.splitlines()).replace("\t", " "))


def for_markdown(text: str) -> str:
    """Return a text as inline code for Markdown and HTML: no link, image, mention or table cell comes of it."""
    # As entities, because a code span in backticks can be left by a backslash and a bar inside a table; and in <code>,
    # because GitHub looks for @names in all other text, however it was written.
    inert = _MARKUP.sub(lambda match: f"&#{ord(match[0])};", flat(text))
    return f"<code>{inert}</code>"


def for_command(text: str) -> str:
    """Return a text as the message of a workflow command."""
    return flat(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def for_property(text: str) -> str:
    """Return a text as the value of a property of a workflow command."""
    return for_command(text).replace(":", "%3A").replace(",", "%2C")
