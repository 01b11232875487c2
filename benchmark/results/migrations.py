"""Migrations of documents from earlier formats; files on disk stay readable for ever and are never rewritten.

Format 1 had digests over cells alone. Format 2 has one over everything. In both a cell named the digest of the
harness's source text. Since format 3 it names declared versions (`bench.catalogue.versions`), and every document that
names a cell also stores its key: the rules for keys may change again, but stored keys stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_SHORT = 12


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """Convert an undamaged document to the present format."""
    # Formats 1 and 2 differ in their digests alone, which were checked before.
    if document["format"] >= _NAMES_VERSIONS:
        return document
    return _of_versions(document)


_NAMES_VERSIONS = 3


def _of_versions(document: dict[str, Any]) -> dict[str, Any]:
    """Convert a document of format 1 or 2: cells that name source text become cells of an unknown version."""
    if "cell" in document:
        code = {"code": {"harness": str(document["cell"].get("harness", ""))[:_SHORT]}}
        made = {**code, **document["provenance"]} if "provenance" in document else code
        return {**document, "cell": _cell(document["cell"]), "provenance": made}
    if "cells" in document:
        rows = [{**row, "key": _key_of_text(row["cell"]), "cell": _cell(row["cell"])} for row in document["cells"]]
        # A dict as an ordered set: a run names each harness once.
        told = {str(row["cell"].get("harness", ""))[:_SHORT]: None for row in document["cells"]}
        return {**document, "cells": rows, "code": ", ".join(told)}
    return document


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in cell.items() if name != "harness"}, "protocol": ""}


def _key_of_text(cell: Mapping[str, Any]) -> str:
    """Return the key of a cell by the rules of formats 1 and 2."""
    identity = {
        "harness": cell["harness"],
        "defense": {name: cell["defense"][name] for name in ("label", "digest", "stochastic")},
        "attack": {name: cell["attack"][name] for name in ("label", "digest")},
        "threat": cell["threat"],
        "slice": {name: cell["slice"][name] for name in ("digest", "n")},
        **{name: cell[name] for name in ("seed", "draws", "batch")},
    }
    # Before there were other formats of queries, the key did not name one.
    if cell.get("precision", "float32") != "float32":
        identity["precision"] = cell["precision"]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
