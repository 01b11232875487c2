"""A badge for a README: the JSON that shields.io reads from an address (`/endpoint?url=`), and the same as SVG.

The number is the worst case of the one defense over all of its attacks and the archives of others. Of several defenses
none is quoted, because a reader would take it for theirs; nor is there one where a check blocks the defense or the gate
was refused.
"""

from __future__ import annotations

import json
import unicodedata
from html import escape

from bench.report.ci.escaping import for_xml
from bench.report.gate_report import GateReport
from bench.report.plain import flat

LABEL = "robust accuracy"
# The colors of shields.io by name, with contrast against white text of at least 4.5 (WCAG 2 AA).
_COLORS = {"brightgreen": "#2a7e19", "red": "#c0392b", "orange": "#b35900", "lightgrey": "#5f6368"}
# Verdana at 11 pixels: an average character; the text is stretched to what is reserved for it.
_CHARACTER, _WIDE, _MARGIN = 6.6, 11.5, 6


def badge_json(report: GateReport) -> str:
    """Return a badge as the JSON of a shields.io endpoint (its schema, version 1)."""
    message, color = _said(report)
    told = {"schemaVersion": 1, "label": LABEL, "message": message, "color": color, "isError": color == "lightgrey"}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def badge_svg(report: GateReport) -> str:
    """Return a badge as an SVG file that needs nothing but itself."""
    message, color = _said(report)
    left, right = _width(LABEL), _width(message)
    label, told = (escape(for_xml(text)) for text in (LABEL, message))
    font = 'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" fill="#fff"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{label}: {told}">\n'
        f" <title>{label}: {told}</title>\n"
        f' <clipPath id="r"><rect width="{left + right}" height="20" rx="3"/></clipPath>\n'
        ' <g clip-path="url(#r)">\n'
        f'  <rect width="{left}" height="20" fill="#444"/>\n'
        f'  <rect x="{left}" width="{right}" height="20" fill="{_COLORS[color]}"/>\n'
        " </g>\n"
        f" <g {font}>\n"
        f'  <text x="{_MARGIN}" y="14" textLength="{left - 2 * _MARGIN}">{label}</text>\n'
        f'  <text x="{left + _MARGIN}" y="14" textLength="{right - 2 * _MARGIN}">{told}</text>\n'
        " </g>\n"
        "</svg>\n"
    )


def _said(report: GateReport) -> tuple[str, str]:
    """Return the message and the name of its color."""
    if report.not_comparable:
        return "not comparable", "lightgrey"
    if report.absent:
        return "cells missing", "lightgrey"
    return f"{_number(report)} · {_verdict(report)[0]}", _verdict(report)[1]


def _verdict(report: GateReport) -> tuple[str, str]:
    if report.regressions or report.broken:
        count = len(report.regressions)
        fell = [f"{count} regression{'s' if count > 1 else ''}"] if count else []
        return " · ".join([*fell, *(["below the floor"] if report.broken else [])]), "red"
    if report.underpowered:
        return "too few images to say more", "orange"
    return ("no regression" if report.gated else "above the floor"), "brightgreen"


def _number(report: GateReport) -> str:
    if len(report.standings) != 1:
        names = {standing.defense for standing in report.standings}
        return f"{len(names)} defenses" if len(names) != 1 else "several sets of images"
    (only,) = report.standings
    if only.accuracy is None:
        return "no number"
    return flat(f"{'≤ ' if only.bound else ''}{100 * only.accuracy:.1f} %")


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return round(_CHARACTER * (len(text) - wide) + _WIDE * wide) + 2 * _MARGIN
