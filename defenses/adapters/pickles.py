"""Checkpoints of other people: safetensors, or torch files from which only tensors are read.

A torch file is a pickle, and a pickle may hold code. Torch's restricted unpickler (`weights_only=True`)
reads it, which builds tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.defenses import weights_file
from bench.errors import BenchError, one_line
from bench.machine.reading import tensors

# First bytes of a file by torch.save: a zip archive, or (before torch 1.6) a pickle.
_TORCH = (b"PK\x03\x04", b"\x80")
# Keys under which training scripts save the state dict, the likeliest first.
_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
# Prefixes that wrappers add to every name; a state dict may have several of them.
_PREFIXES = ("module.", "model.", "state_dict.", "_orig_mod.", "net.")
_CLEAN = "torch.save(model.state_dict(), FILE) writes one that holds tensors alone"
_FIT = "check the name of the network, and that it was trained for these classes"


def read(path: Path) -> Any:  # noqa: ANN401  (whatever its author saved: containers of tensors and numbers)
    """Read the content of a checkpoint without executing anything in it.

    Raises:
        BenchError: the file is missing, damaged, or holds more than tensors; the message says which.
    """
    if not weights_file.first_bytes(path).startswith(_TORCH):
        return weights_file.read_state(path)
    try:
        return tensors(path, "weights")
    except BenchError:
        raise
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


@contextlib.contextmanager
def reading_only() -> Iterator[None]:
    """Replace `torch.load` by `read` in the block, so that no library unpickles anything but tensors."""

    def load(file: Any, *_: object, **__: object) -> Any:  # noqa: ANN401  (the signature is torch's)
        return read(Path(file))

    with replaced(torch, "load", load):
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:  # noqa: ANN401  (a module)
    """Replace an attribute by `value` while the block runs."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def load_into(network: nn.Module, path: Path) -> None:
    """Load the weights of a checkpoint into a network, whatever wrapper its author used.

    Raises:
        BenchError: the file is damaged, holds code, NaN or no state dict, or belongs to another network.
    """
    state = _matching(_state_dict(read(path), path), network.state_dict())
    weights_file.require_finite(state, path)
    weights_file.fill(network, state, path, _FIT)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:  # noqa: ANN401  (whatever was saved)
    """Return the tensors by name, from the state dict itself or from the entry where a training script put it."""
    for _ in range(2):  # the state dict may be the content itself, or one entry of it
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
    """Return the state without the prefixes that wrappers have added to all of its names."""
    while not set(wanted) & set(state):
        prefix = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    # Files older than torch 0.4.1 lack these counters, which do nothing in eval mode.
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    return {**counters, **state}
