"""How wide what is made for a paper may be: the same for tables and for figures."""

from __future__ import annotations

import re

# In TeX's points. The narrowest of the usual columns (`article` in two columns has 229.5; ICML 234, CVPR 237, IEEE
# 252), and the narrowest of the usual widths of two of them together.
WIDTHS = {"column": 229.0, "page": 469.0}

# TeX's points; PDF and matplotlib count 72, which TeX calls bp.
POINTS_PER_INCH = 72.27


def points(width: str) -> float | None:
    """Return a width in TeX's points from `column`, `page`, or points such as 240 or 240pt; `None` if it is neither."""
    if width in WIDTHS:
        return WIDTHS[width]
    found = re.fullmatch(r"(\d{1,4}(?:\.\d+)?)\s*(?:pt)?", width.strip())
    return float(found[1]) if found else None
