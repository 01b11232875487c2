"""Documents of a results folder: their contents, and how they are written and read.

They are JSON, written atomically, with a digest over everything inside; images are safetensors. Text
diffs in review, and neither format can execute code.

Format 1 had a digest in cells only, over verdicts and cost. Every format that was ever written can be read
(`bench.results.migrations`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, NondeterminismError
from bench.machine.reading import MOST_DOCUMENT, json_of, require_modest
from bench.machine.system import in_order, write_whole
from bench.results.cell import Cell, Shards
from bench.results.finding import Finding
from bench.results.migrations import upgraded
from bench.results.outcome import Component, Cost, Done, Evidence, Kept, Ledger, Verdicts
from bench.results.passes import StoredPasses, as_text
from bench.results.shapes import damaged as _damaged
from bench.results.shapes import require_counts, shaped

FORMAT = 3
_OLDEST = 1
_OF_A_SHARD = re.compile(r"\.shard-(\d{1,9})\.json$", re.ASCII)
# The most draws whose counts have one digit, and the code of the first digit.
_ONE_DIGIT, _ZERO = 9, np.uint8(ord("0"))


def of_cell(cell: Cell, done: Done, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finished cell, or a shard of one, as plain data."""
    counted = {
        "draws": done.verdicts.draws,
        "clean": _pack(done.verdicts.clean, done.verdicts.draws),
        "adversarial": _pack(done.verdicts.adversarial, done.verdicts.draws),
    }
    cost = asdict(done.cost)
    return {
        "format": FORMAT,
        "key": cell.key,
        "cell": cell.to_json(),
        "verdicts": counted,
        "cost": cost,
        "evidence": _noticed(done.evidence),
        "ledger": {
            "components": [[label, asdict(part)] for label, part in done.ledger.components.items()],
            # One line each, whatever the number of examples.
            "forwards": as_text(done.ledger.forwards),
            "backwards": as_text(done.ledger.backwards),
        },
        "provenance": dict(provenance),
    }


def _noticed(evidence: Evidence) -> dict[str, Any]:
    """Return evidence as plain data, with `unable` only if there are attacks that could not be run."""
    # Left out when empty, so that a cell without such attacks gives the bytes it gave before the field existed.
    told = asdict(evidence)
    return told if told["unable"] else {name: value for name, value in told.items() if name != "unable"}


def _digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document without its digest and provenance, which differs from run to run."""
    held = {name: value for name, value in document.items() if name not in ("digest", "provenance")}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _sealed(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of a document with its own digest."""
    told = {name: value for name, value in provenance.items() if name != "seal"}
    return {**told, "seal": hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()}


def _digest_of_first_format(document: Mapping[str, Any]) -> str:
    """Return the digest that a cell had in format 1."""
    text = json.dumps([document["key"], document["verdicts"], document["cost"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _pack(counts: np.ndarray[Any, Any], draws: int) -> str:
    """Encode counts as one character per example up to 9 draws, so that a change shows in a diff; else two digits."""
    held = counts.astype(np.uint8)
    return (held + _ZERO).tobytes().decode("ascii") if draws <= _ONE_DIGIT else held.tobytes().hex()


def _unpack(text: str, draws: int) -> NDArray[np.uint8]:
    """Decode counts; raise a ValueError if there are characters that `_pack` does not write."""
    if draws > _ONE_DIGIT:
        return np.frombuffer(bytes.fromhex(text), dtype=np.uint8).copy()  # whoever has it may write to it
    # Characters below "0" wrap around, and are too large as well.
    counts = np.frombuffer(text.encode("ascii"), dtype=np.uint8) - _ZERO
    if (counts > _ONE_DIGIT).any():
        raise ValueError("no digits")
    return counts


def to_done(document: Mapping[str, Any], path: Path, key: str) -> Done:
    """Return the outcome in a document of the cell with this key; raise a BenchError if it is damaged."""
    try:
        verdicts, cost = document["verdicts"], document["cost"]
        if document["key"] != key:
            raise _damaged(path, "its key is another cell's")
        draws = verdicts["draws"]
        counts = Verdicts(draws, _unpack(verdicts["clean"], draws), _unpack(verdicts["adversarial"], draws))
        asked = document["cell"]
        size = _images_of(path, asked["slice"]["n"], asked["batch"])
        require_counts(counts, size, asked["draws"], path)
        noticed = document["evidence"]
        evidence = Evidence(
            noticed["silent"],
            noticed["nonfinite"],
            tuple(noticed["borderline"]),
            # Fields that came later are missing in older documents.
            tuple(noticed.get("distances", ())),
            noticed.get("sampled", 0),
            noticed.get("escalated", 0),
            tuple(noticed.get("unable", ())),
        )
        ledger = _ledger(document.get("ledger", {}))
        for name, each in (
            ("distances", evidence.distances),
            ("passes", ledger.forwards),
            ("passes", ledger.backwards),
        ):
            if len(each) not in (0, size):
                raise _damaged(path, f"it has {name} of {len(each)} images, not of {size}")
        return Done(counts, Cost(**cost), evidence, ledger)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "it does not hold what a cell holds") from error


def _images_of(path: Path, n: int, batch: int) -> int:
    """Return how many images the document of a cell in this place is about: all of them, or those of one shard."""
    shard = _OF_A_SHARD.search(path.name)
    if shard is None:
        return n
    shards = Shards(n, batch)
    if int(shard[1]) >= len(shards):
        raise _damaged(path, f"its cell has {len(shards)} shards")
    start, stop = shards[int(shard[1])]
    return stop - start


def _ledger(data: Mapping[str, Any]) -> Ledger:
    components = {
        label: Component(Cost(**part["cost"]), part["entered"], part["broken"])
        for label, part in data.get("components", ())
    }
    return Ledger(components, StoredPasses(data.get("forwards", "")), StoredPasses(data.get("backwards", "")))


def read(path: Path) -> dict[str, Any] | None:
    """Read a document; return `None` if there is none, raise a BenchError if it is damaged, foreign or newer."""
    require_modest(path, MOST_DOCUMENT, "document")
    try:
        document = json_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BenchError(f"cannot read {str(path)!r} ({error.strerror}): mend its permissions") from error
    except (ValueError, RecursionError) as error:  # nested without end, too
        raise _damaged(path, "not JSON") from error
    # `type` instead of `isinstance`: True is an int in Python.
    if not isinstance(document, dict) or type(document.get("format")) is not int:
        raise BenchError(f"{str(path)!r} is no document of atop-bench: move it out of the results folder")
    if document["format"] > FORMAT:
        raise BenchError(
            f"{str(path)!r} has format {document['format']}, this version reads {FORMAT}: upgrade atop-bench"
        )
    try:
        if not _is_whole(document):
            raise _damaged(path, "its digest does not match")
        return shaped(upgraded(document), path)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, "it does not hold what its format has") from error


def _is_whole(document: Mapping[str, Any]) -> bool:
    """Return whether a document is as it was written."""
    if document["format"] > _OLDEST:
        made = document.get("provenance", {})
        return bool(document.get("digest") == _digest(document)) and (not made or made == _sealed(made))
    if document["format"] < _OLDEST:
        return False
    # In format 1 only cells had a digest; other documents have to be taken as they are.
    has_verdicts = {"key", "verdicts", "cost"} <= set(document)
    return not has_verdicts or bool(document.get("digest") == _digest_of_first_format(document))


def write_once(path: Path, document: dict[str, Any], *, lasting: bool = True) -> None:
    """Write a final document; raise a NondeterminismError if other verdicts are stored under the same key."""
    # Read first, because the same cell may be computed twice, by two machines or after a crash.
    stored = read(path)
    if stored is None:
        write(path, document, lasting=lasting)
    # Cost and verdicts must repeat; provenance, such as seconds, never does.
    elif any(stored.get(part) != document[part] for part in ("key", "verdicts", "cost")):
        raise NondeterminismError(
            f"{document['cell']['defense']['label']} x {document['cell']['attack']['label']}: the verdicts differ from "
            f"those stored in {str(path)!r}"
        )


def write(path: Path, document: Mapping[str, Any], *, lasting: bool = True) -> None:
    """Write a document with its digest, whole or not at all; `lasting` as of `bench.machine.system.whole`."""
    whole = {**document, "digest": _digest(document)}
    if whole.get("provenance"):
        whole["provenance"] = _sealed(whole["provenance"])
    text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_whole(path, text.encode(), lasting=lasting)


def of_findings(findings: Sequence[Finding], key: str) -> dict[str, Any]:
    """Return findings as plain data; `key` is a digest of everything they depended on."""
    return {"format": FORMAT, "key": key, "findings": [finding.to_json() for finding in findings]}


def to_findings(path: Path) -> tuple[str, tuple[Finding, ...]] | None:
    """Read the findings in a document, and the key they were made with; return `None` if there is none."""
    document = read(path)
    if document is None:
        return None
    try:
        return str(document.get("key")), tuple(Finding.from_json(row) for row in document["findings"])
    except (KeyError, TypeError) as error:
        # Its digest matches, so it was written so: by another program, or by a version with a fault.
        raise _damaged(path, "it holds no findings") from error


def write_images(path: Path, key: str, kept: Kept, *, lasting: bool = True) -> None:
    """Write the judged images and the answers to them, with the SHA-256 of the images (rule V06)."""
    from safetensors.numpy import save

    images = np.ascontiguousarray(kept.x_adv, dtype=np.float32)
    facts = {"key": key, "sha256": _sha(images), "answers": _sha(kept.clean, kept.adversarial)}
    tensors = {"x_adv": images, "clean": kept.clean, "adversarial": kept.adversarial}
    content = save({name: np.ascontiguousarray(each) for name, each in tensors.items()}, metadata=facts)
    write_whole(path, in_order(content), lasting=lasting)


def read_images(path: Path, key: str) -> Kept | None:
    """Read the images of a cell; return `None` if none are kept.

    Args:
        path: of the file.
        key: of the cell, or as much of its beginning as is known.

    Raises:
        BenchError: they are not the images that were judged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
            images = tensors["x_adv"]
            unknown = np.full(len(images), -1, dtype=np.int64)
            # Version 0.1 kept no answers.
            names = ("clean", "adversarial") if set(tensors) != {"x_adv"} else ()
            answers = [tensors[name] for name in names] or [unknown, unknown]
    except (SafetensorError, OSError, KeyError) as error:
        raise _damaged(path, "no images can be read") from error
    same = facts.get("sha256") == _sha(images) and (not names or facts.get("answers") == _sha(*answers))
    if not same or not facts.get("key", "").startswith(key):
        raise _damaged(path, "its digest does not match")
    return Kept(images, *answers)


def _sha(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of the bytes of some arrays; of several, with their types and shapes."""
    sha = hashlib.sha256()
    for each in arrays:
        # One array is hashed bare, as version 0.1 did; between several, types and shapes mark the borders.
        sha.update(f"{each.dtype} {each.shape}".encode() if len(arrays) > 1 else b"")
        sha.update(np.ascontiguousarray(each).tobytes())
    return sha.hexdigest()
