"""Documents of earlier formats, as they would be written today: what is on disk is read for ever and never rewritten.

Format 1 had digests over cells alone. Format 2 has one over everything. In both a cell named the digest of the
harness's source text; since format 3 it names declared versions (`bench.versions`), and whatever asks for a cell
keeps its key beside it: how keys are made may change again, those that were made stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_SHORT = 12


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """A document that was read and found whole, in the present form."""
    if document["format"] >= _NAMES_VERSIONS:
        return document
    return _of_versions(document)


_NAMES_VERSIONS = 3


def _of_versions(document: dict[str, Any]) -> dict[str, Any]:
    """From formats 1 and 2: cells of a digest of source text become cells of an unknown version."""
    if "cell" in document:
        code = {"code": {"harness": str(document["cell"].get("harness", ""))[:_SHORT]}}
        made = {**code, **document["provenance"]} if "provenance" in document else code
        return {**document, "cell": _cell(document["cell"]), "provenance": made}
    if "cells" in document:
        rows = [{**row, "key": _key_of_text(row["cell"]), "cell": _cell(row["cell"])} for row in document["cells"]]
        told = {str(row["cell"].get("harness", ""))[:_SHORT]: None for row in document["cells"]}
        return {**document, "cells": rows, "code": ", ".join(told)}
    return document


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in cell.items() if name != "harness"}, "protocol": ""}


def _key_of_text(cell: Mapping[str, Any]) -> str:
    """The key of a cell as formats 1 and 2 made it."""
    identity = {
        "harness": cell["harness"],
        "defense": {name: cell["defense"][name] for name in ("label", "digest", "stochastic")},
        "attack": {name: cell["attack"][name] for name in ("label", "digest")},
        "threat": cell["threat"],
        "slice": {name: cell["slice"][name] for name in ("digest", "n")},
        **{name: cell[name] for name in ("seed", "draws", "batch")},
    }
    if cell.get("precision", "float32") != "float32":
        identity["precision"] = cell["precision"]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
