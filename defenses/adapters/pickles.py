"""Checkpoints of other people: safetensors, or torch files, of which the tensors alone are read.

A torch file is a pickle, and a pickle may hold code. It is read by torch's restricted unpickler
(`weights_only=True`), which builds tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.defenses import checkpoints
from bench.errors import BenchError, one_line

# How files begin that torch.save wrote: a zip archive, or (before torch 1.6) a pickle.
_TORCH = (b"PK\x03\x04", b"\x80")
# Where training scripts put the state dict in what they save, the likeliest first.
_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
# What wrappers put before every name; a state dict may carry several of them.
_PREFIXES = ("module.", "model.", "state_dict.", "_orig_mod.", "net.")
_CLEAN = "torch.save(model.state_dict(), FILE) writes one that holds tensors alone"
_FIT = "check the name of the network, and that it was trained for these classes"


def read(path: Path) -> Any:  # noqa: ANN401  (whatever its author saved: containers of tensors and numbers)
    """The content of a checkpoint; nothing in it is executed.

    Raises:
        BenchError: what is wrong with the file, in one line.
    """
    content = checkpoints.read_bytes(path)
    if not content.startswith(_TORCH):
        return checkpoints.read_state(path)
    try:
        return _load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  (a damaged file may raise anything)
        refused = re.search(r"GLOBAL ([\w.]*\w)", str(error))
        if refused is not None or "weights_only" in str(error) or "Weights only" in str(error):
            what = f" ({refused[1]})" if refused is not None else ""
            raise BenchError(
                f"weights {path}: the pickle holds more than tensors{what}; it may be code and is never run: {_CLEAN}"
            ) from None
        raise BenchError(
            f"weights {path} are truncated or damaged ({one_line(error)[:120]}): fetch or train them again"
        ) from None


# Kept here: `reading_only` puts `read` in its place.
_load = torch.load


@contextlib.contextmanager
def reading_only() -> Iterator[None]:
    """Let nobody unpickle anything else: whoever calls `torch.load` in the block calls `read`."""

    def load(file: Any, *_: object, **__: object) -> Any:  # noqa: ANN401  (the signature is torch's)
        return read(Path(file))

    with replaced(torch, "load", load):
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:  # noqa: ANN401  (a module)
    """Put `value` in the place of an attribute for as long as the block runs."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def load_into(network: nn.Module, path: Path) -> None:
    """Fill a network from a checkpoint, whatever its author wrapped it in.

    Raises:
        BenchError: the file is damaged, holds code, NaN or no state dict, or is of another network.
    """
    state = _matching(_state_dict(read(path), path), network.state_dict())
    checkpoints.require_finite(state, path)
    checkpoints.fill(network, state, path, _FIT)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:  # noqa: ANN401  (whatever was saved)
    """The tensors by name, from the state dict itself or from where a training script put it."""
    for _ in range(2):
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return {str(key): value for key, value in content.items()}
        inner = [content[key] for key in _ENTRIES if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    told = f"an object with {', '.join(map(str, list(content)[:5]))}" if isinstance(content, Mapping) else "no object"
    raise BenchError(f"weights {path} hold no state dict but {told or 'nothing'}: {_CLEAN}")


def _matching(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without the prefixes that wrappers have put before all of its names."""
    while not set(wanted) & set(state):
        prefix = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    # Files older than torch 0.4.1 lack these counters, which do nothing in eval mode.
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    return {**counters, **state}
