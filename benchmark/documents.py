"""The documents of a results folder: what is in them, and how they are written and read.

JSON, written whole or not at all, with a digest over everything inside; images as safetensors. Text
diffs in review, and nothing here can execute code.

Format 1 had a digest in cells only, over verdicts and cost. Every format that was ever written is read
(`bench.migrations`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cell import Cell
from bench.checks.finding import Finding
from bench.errors import BenchError
from bench.migrations import upgraded
from bench.outcome import Component, Cost, Done, Evidence, Ledger, Verdicts

FORMAT = 3
_OLDEST = 1


class NondeterminismError(Exception):
    """A cell came out differently the second time; both answers are named, neither is overwritten."""


def of_cell(cell: Cell, done: Done, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A finished cell, or a part of one, as plain data."""
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
            "forwards": " ".join(map(str, done.ledger.forwards)),
            "backwards": " ".join(map(str, done.ledger.backwards)),
        },
        "provenance": dict(provenance),
    }


def _noticed(evidence: Evidence) -> dict[str, Any]:
    """Evidence as data; attacks that could not be run are said where there are such."""
    told = asdict(evidence)
    return told if told["unable"] else {name: value for name, value in told.items() if name != "unable"}


def _digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of all of a document but its digest, and but for how it was made: seconds differ, results do not."""
    held = {name: value for name, value in document.items() if name not in ("digest", "provenance")}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _sealed(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """How a document was made, with a digest of its own."""
    told = {name: value for name, value in provenance.items() if name != "seal"}
    return {**told, "seal": hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()}


def _digest_of_first_format(document: Mapping[str, Any]) -> str:
    """What a cell's digest was in format 1."""
    text = json.dumps([document["key"], document["verdicts"], document["cost"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _pack(counts: np.ndarray[Any, Any], draws: int) -> str:
    """One character per example up to 9 draws, so that a change shows in a diff; two digits beyond."""
    return "".join(map(str, counts.tolist())) if draws <= 9 else counts.astype(np.uint8).tobytes().hex()


def _unpack(text: str, draws: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if draws <= 9:
        return np.array([int(character) for character in text], dtype=np.uint8)
    return np.array(list(bytes.fromhex(text)), dtype=np.uint8)


def to_done(document: Mapping[str, Any], path: Path, key: str) -> Done:
    """What a document says came of the cell with this key; a BenchError where it is damaged."""
    try:
        verdicts, cost = document["verdicts"], document["cost"]
        if document["key"] != key:
            raise _damaged(path, "its key is another cell's")
        draws = verdicts["draws"]
        counts = Verdicts(draws, _unpack(verdicts["clean"], draws), _unpack(verdicts["adversarial"], draws))
        noticed = document["evidence"]
        evidence = Evidence(
            noticed["silent"],
            noticed["nonfinite"],
            tuple(noticed["borderline"]),
            tuple(noticed.get("distances", ())),
            noticed.get("sampled", 0),
            noticed.get("escalated", 0),
            tuple(noticed.get("unable", ())),
        )
        return Done(counts, Cost(**cost), evidence, _ledger(document.get("ledger", {})))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "it does not hold what a cell holds") from error


def _damaged(path: Path, why: str) -> BenchError:
    return BenchError(f"{str(path)!r} is damaged ({why}): restore it, or move it away and run again")


def _ledger(data: Mapping[str, Any]) -> Ledger:
    components = {
        label: Component(Cost(**part["cost"]), part["entered"], part["broken"])
        for label, part in data.get("components", ())
    }
    forwards, backwards = (tuple(map(int, data.get(kind, "").split())) for kind in ("forwards", "backwards"))
    return Ledger(components, forwards, backwards)


def read(path: Path) -> dict[str, Any] | None:
    """A document; `None` where there is none, a BenchError where it is damaged, foreign or newer."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BenchError(f"cannot read {str(path)!r} ({error.strerror}): mend its permissions") from error
    except ValueError as error:
        raise _damaged(path, "not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise BenchError(f"{str(path)!r} is no document of atop-bench: move it out of the results folder")
    if document["format"] > FORMAT:
        raise BenchError(
            f"{str(path)!r} has format {document['format']}, this version reads {FORMAT}: upgrade atop-bench"
        )
    if not _is_whole(document):
        raise _damaged(path, "its digest does not match")
    try:
        return upgraded(document)
    except (KeyError, TypeError) as error:
        raise _damaged(path, "it does not hold what its format has") from error


def _is_whole(document: Mapping[str, Any]) -> bool:
    """Whether a document is what was written."""
    if document["format"] > _OLDEST:
        made = document.get("provenance", {})
        return bool(document.get("digest") == _digest(document)) and (not made or made == _sealed(made))
    if document["format"] < _OLDEST:
        return False
    has_verdicts = {"key", "verdicts", "cost"} <= set(document)
    return not has_verdicts or bool(document.get("digest") == _digest_of_first_format(document))


def write_once(path: Path, document: dict[str, Any]) -> None:
    """Write a document that is final: other verdicts under the same key are nondeterminism."""
    stored = read(path)
    if stored is None:
        write(path, document)
    elif any(stored.get(part) != document[part] for part in ("key", "verdicts", "cost")):
        raise NondeterminismError(
            f"{document['cell']['defense']['label']} x {document['cell']['attack']['label']}: the verdicts differ from "
            f"those stored in {str(path)!r}"
        )


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write whole or not at all: a temporary name, fsync, rename, fsync of the folder."""
    whole = {**document, "digest": _digest(document)}
    if whole.get("provenance"):
        whole["provenance"] = _sealed(whole["provenance"])
    text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a reader, or a crash, sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def of_findings(findings: Sequence[Finding], key: str) -> dict[str, Any]:
    """Findings as plain data; `key` says what they depended on."""
    return {"format": FORMAT, "key": key, "findings": [finding.to_json() for finding in findings]}


def to_findings(path: Path, key: str) -> tuple[Finding, ...] | None:
    """The findings in a document; `None` where there is none, or none made with this key."""
    document = read(path)
    if document is None or (key and document.get("key") != key):
        return None
    try:
        return tuple(Finding.from_json(row) for row in document["findings"])
    except (KeyError, TypeError) as error:
        raise _damaged(path, "it holds no findings") from error


def write_images(path: Path, key: str, x_adv: NDArray[np.float32]) -> None:
    """Write float32 images `[k, C, H, W]` with their SHA-256 (rule V06)."""
    from safetensors.numpy import save

    images = np.ascontiguousarray(x_adv, dtype=np.float32)
    facts = {"key": key, "sha256": hashlib.sha256(images.tobytes()).hexdigest()}
    write_atomically(path, save({"x_adv": images}, metadata=facts))


def read_images(path: Path, key: str) -> NDArray[np.float32] | None:
    """The images of a cell; `None` where none are kept.

    Args:
        path: of the file.
        key: of the cell; of the beginning of it as much as is known.

    Raises:
        BenchError: they are not the ones that were judged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            facts, images = file.metadata() or {}, file.get_tensor("x_adv")
    except (SafetensorError, OSError) as error:
        raise _damaged(path, "no images can be read") from error
    same = facts.get("sha256") == hashlib.sha256(images.tobytes()).hexdigest()
    if not same or not facts.get("key", "").startswith(key):
        raise _damaged(path, "its digest does not match")
    result: NDArray[np.float32] = images
    return result
