"""Weights in safetensors files, each with its card, a JSON file, in the same folder. Nothing is unpickled."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from bench.errors import BenchError
from bench.machine.reading import MOST_SETTINGS, MOST_WEIGHTS, json_of, require_modest
from bench.machine.system import write_whole

SHOWN_KEYS = 5  # in a message about keys that do not fit

_CONVERT = "convert it with safetensors.torch.save_file(state_dict, ...)"
# First bytes of files that users often take for safetensors: a zip archive, a pickle, a Git LFS pointer.
_FOREIGN = (
    (b"PK\x03\x04", f"looks like a torch checkpoint: {_CONVERT}"),
    (b"\x80", f"looks like a torch checkpoint or another pickle: {_CONVERT}"),
    (b"version https://git-lfs", "is a Git LFS pointer: fetch the file itself with 'git lfs pull'"),
)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, all of them finite.

    Raises:
        BenchError: the file is missing, damaged, of another format, or holds NaN or infinite values.
    """
    content = read_bytes(path)
    _check_is_safetensors(content, path)
    try:
        state: dict[str, Tensor] = safetensors.torch.load(content)
    except SafetensorError as error:
        raise BenchError(f"weights {path} are truncated or damaged ({error}): fetch or train them again") from None
    require_finite(state, path)
    return state


def require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise a `BenchError` for the first tensor with NaN or infinite values."""
    for key, tensor in state.items():
        try:
            bad = int((~torch.isfinite(tensor)).sum())
        except (RuntimeError, NotImplementedError):  # sparse, quantized, float8: nothing that a network is made of here
            raise BenchError(
                f"weights {path}: {key!r} is no plain tensor ({tensor.layout}, {tensor.dtype}): save it in float32"
            ) from None
        if bad:
            raise BenchError(f"weights {path} hold {bad} NaN or infinite values in {key!r}: train them again")


def read_bytes(path: Path) -> bytes:
    """Read a file of weights.

    Raises:
        BenchError: the file does not exist, cannot be read, or is empty.
    """
    require_modest(path, MOST_WEIGHTS, "weights")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BenchError(f"no weights at {path}: train them with 'bench train' or name another file") from None
    except OSError as error:
        raise BenchError(f"weights {path} cannot be read: {error.strerror}") from None
    if not content:
        raise BenchError(f"weights {path} are empty (0 bytes): fetch or train them again")
    return content


def first_bytes(path: Path) -> bytes:
    """Read the beginning of a file of weights; raise as `read_bytes` does."""
    require_modest(path, MOST_WEIGHTS, "weights")
    with contextlib.suppress(OSError), path.open("rb") as file:
        if start := file.read(16):
            return start
    return read_bytes(path)[:16]


def _check_is_safetensors(content: bytes, path: Path) -> None:
    """Raise a `BenchError` unless a safetensors file begins: eight bytes of header length, then a JSON object."""
    for start, verdict in _FOREIGN:
        if content.startswith(start):
            raise BenchError(f"weights {path}: the file {verdict}")
    if content[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BenchError(f"weights {path}: the file is a web page (HTML), not weights: download it again")
    header = int.from_bytes(content[:8], "little")
    if len(content) < 9 or content[8:9] != b"{":
        raise BenchError(f"weights {path}: not a safetensors file, it begins with {content[:8]!r}: {_CONVERT}")
    if 8 + header > len(content):
        raise BenchError(
            f"weights {path} are truncated: the header alone takes {header} bytes and "
            f"the file has {len(content)}: fetch or train them again"
        )


def fill(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, remedy: str = "check the architecture in the card"
) -> None:
    """Copy the tensors into the module; every key and every shape must agree.

    Raises:
        BenchError: keys are missing or unexpected, or a tensor has another shape.
    """
    require_fit(module, state, path, remedy)
    module.load_state_dict(dict(state))


def require_fit(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, remedy: str = "check the architecture in the card"
) -> None:
    """Raise as `fill` does, and copy nothing; the module may be on the device `meta`, which takes no memory."""
    wanted = module.state_dict()
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    if missing or unexpected:
        said = [_shorten(kind, keys) for kind, keys in (("lacks", missing), ("has unexpected", unexpected)) if keys]
        raise BenchError(f"weights {path} do not fit {type(module).__name__}: the file {' and '.join(said)}: {remedy}")
    for key, tensor in wanted.items():
        if tensor.shape != state[key].shape:
            raise BenchError(
                f"weights {path}: {key!r} has shape {tuple(state[key].shape)}, but {type(module).__name__} needs "
                f"{tuple(tensor.shape)}: these weights are for other images, classes or width"
            )


def _shorten(kind: str, keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return f"{kind} {', '.join(keys[:SHOWN_KEYS])}{more}"


def read_card(path: Path) -> dict[str, Any]:
    """Read the card of the weights at `path`.

    It need not belong to these very weights, because one may want to measure swapped weights; `bench run`
    and `bench doctor` report a mismatch.
    """
    beside = path.with_suffix(".json")
    require_modest(beside, MOST_SETTINGS, "card")
    try:
        card = json_of(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BenchError(f"weights {path} have no card: {beside} must name their architecture") from None
    except (OSError, ValueError) as error:
        raise BenchError(f"card {beside} cannot be read ({error}): write it again with 'bench train'") from None
    if not isinstance(card, dict) or not isinstance(card.get("architecture"), dict):
        raise BenchError(f"card {beside} names no architecture: it needs a JSON object with 'architecture'")
    return card


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def in_half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in half precision; integer tensors stay unchanged.

    Raises:
        BenchError: a weight is too large for half precision.
    """
    halved = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    for key, tensor in halved.items():
        if not bool(torch.isfinite(tensor).all()):
            raise BenchError(f"{key!r} holds weights beyond half precision: train with --set half=false")
    return halved


def write(path: Path, state: Mapping[str, Tensor], card: Mapping[str, Any], *, half: bool = False) -> None:
    """Write weights and card so that each file is, at any moment, the old or the new one.

    The card gains the `sha256` of the weights, which reveals a pair of which only one was replaced.

    Args:
        path: of the weights; the card goes into the same folder.
        state: the tensors.
        card: the facts about them.
        half: whether to write them in half precision; a network reads them as float32 again.
    """
    kept = in_half(state) if half else state
    content = safetensors.torch.save({key: tensor.detach().cpu().contiguous() for key, tensor in kept.items()})
    full = {**card, "sha256": hashlib.sha256(content).hexdigest()}
    write_whole(path, content)
    write_whole(path.with_suffix(".json"), (json.dumps(full, indent=2, sort_keys=True) + "\n").encode())
