"""A figure as PGF: drawn by LaTeX in the document's own font, and written without LaTeX.

matplotlib's backend asks a LaTeX process how wide each text is, and takes every text for LaTeX code. Here the fonts
that come with matplotlib are measured instead, and LaTeX condenses a text that is wider in the document's font, so that
nothing can run into anything. Every character of a text that means something to TeX is escaped: a label is text,
whoever wrote it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "−": r"\ensuremath{-}",
    "±": r"\ensuremath{\pm}",
    "…": r"\ldots{}",
    **{char: f"\\{char}" for char in "%_#&${}"},
}

_HEAD = r"""%% A figure of atop-bench. In a document whose preamble has \usepackage{pgf}: \input{THIS FILE}
\begingroup%
\makeatletter%
\def\benchfit#1#2{\setbox0=\hbox{#2}\ifdim\wd0>#1\resizebox{#1}{\height}{#2}\else#2\fi}%
\begin{pgfpicture}%
"""
_FOOT = r"""\end{pgfpicture}%
\makeatother%
\endgroup%
"""


def escaped(text: str) -> str:
    """Return text as LaTeX that prints it; pdfTeX prints a question mark for what is neither ASCII nor known here."""
    return "".join(_ESCAPED.get(char) or (char if char.isascii() else _any(char)) for char in text)


def _any(char: str) -> str:
    # pdfTeX stops at a character that no package declares, and skips this branch; LuaTeX and XeTeX print it.
    return rf"{{\ifdefined\pdftexversion ?\else {char}\fi}}"


def drawn(figure: Figure) -> str:
    """Return a figure as PGF commands; to be called inside `styled`.

    Raises:
        ValueError: the figure holds images of pixels, which PGF keeps in other files.
    """
    from matplotlib.backends.backend_pgf import RendererPgf
    from matplotlib.textpath import text_to_path

    class Renderer(RendererPgf):
        """Draws texts as texts, measured without LaTeX."""

        def draw_text(self, gc: Any, x: Any, y: Any, s: Any, prop: Any, *more: Any, **named: Any) -> None:  # noqa: ANN401
            room = text_to_path.get_text_width_height_descent(s, prop, ismath=False)[0]
            super().draw_text(gc, x, y, rf"\benchfit{{{room:.2f}bp}}{{{escaped(s)}}}", prop, *more, **named)  # type: ignore[no-untyped-call]

        def get_text_width_height_descent(self, s: Any, prop: Any, ismath: Any) -> tuple[float, float, float]:  # noqa: ANN401
            points = text_to_path.get_text_width_height_descent(s, prop, ismath=False)
            wide, high, deep = (each / 72 * self.dpi for each in points)
            return wide, high, deep

    file = io.StringIO()
    wide, high = figure.get_size_inches()
    box = rf"\pgfpathrectangle{{\pgfpointorigin}}{{\pgfqpoint{{{wide:f}in}}{{{high:f}in}}}}%"
    figure.draw(Renderer(figure, file))  # type: ignore[no-untyped-call]
    return f"{_HEAD}{box}\n\\pgfusepath{{use as bounding box, clip}}%\n{file.getvalue()}{_FOOT}"
