"""Adversarial examples as others save them: tensors in `.pt`, arrays in `.npz`, and the names they give them.

Reading executes nothing: `torch.load` with `weights_only=True`, numpy with `allow_pickle=False`, and safetensors. The
forms are those of AutoAttack (`{"adv_complete": x_adv}` of its `eval.py`, and `{attack: x_adv}` of its individual
evaluation), of RobustBench's external evaluations (one tensor as large as the test set), and arrays under usual names.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, one_line
from bench.machine.reading import MOST_WEIGHTS, require_modest, require_modest_zip, tensors

_IMAGES = ("adv_complete", "x_adv", "adversarial", "adv", "x_adversarial", "adv_examples", "advs")
_CLEAN = ("clean", "x_clean", "x", "x_test", "images", "x_orig", "original")
_LABELS = ("labels", "label", "y", "y_test", "y_true", "targets")
_INDICES = ("indices", "index", "idx")
_IDS = ("ids", "id")
_REMEDY = "save a tensor [n, C, H, W], or a dict such as {'x_adv': ..., 'labels': ..., 'indices': ...}"
# A matrix of logits has two dimensions, a batch of gray images without a channel has three.
_OF_IMAGES = 3


@dataclass(frozen=True, eq=False)
class Foreign:
    """The examples of one attack, as a file holds them; nothing is verified.

    Attributes:
        attack: its name in a file of several attacks; empty where there is one.
        x_adv: `[k, ...]`, of any layout and type.
        clean: the images they were made from; `None` where the file does not hold them.
        labels: one per image, or `None`.
        indices: the places of the images in the test set, or `None`.
        ids: the names of the images, or `None`.
    """

    attack: str
    x_adv: NDArray[Any]
    clean: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None
    indices: NDArray[Any] | None = None
    ids: tuple[str, ...] | None = None


def read(path: Path) -> list[Foreign]:
    """Read the adversarial examples of a file, of one attack or of several.

    Raises:
        BenchError: the file is missing, damaged, of another kind, holds more than arrays, or no images.
    """
    readers = {".pt": _torch, ".pth": _torch, ".npz": _npz, ".npy": _npy, ".safetensors": _safetensors}
    if path.suffix.lower() not in readers:
        raise BenchError(f"archive {str(path)!r} is of no known kind: give {', '.join(readers)}")
    if not path.is_file():
        raise BenchError(f"archive {str(path)!r} is not a file: name one with adversarial examples")
    require_modest(path, MOST_WEIGHTS, "archive")
    found = readers[path.suffix.lower()](path)
    if not isinstance(found, Mapping):
        return [Foreign("", _array(_first(found), path, "its content"))]
    entries = {str(name): value for name, value in found.items()}
    made = partial(
        Foreign,
        clean=_entry(entries, _CLEAN, path),
        labels=_entry(entries, _LABELS, path),
        indices=_entry(entries, _INDICES, path),
        ids=_names(entries, path),
    )
    single = next((name for name in _IMAGES if name in entries), "")
    if single:
        return [made("", _array(_first(entries[single]), path, repr(single)))]
    known = {*_CLEAN, *_LABELS, *_INDICES, *_IDS}
    several = {name: _first(value) for name, value in entries.items() if name not in known}
    for name, value in several.items():
        # Left out in silence, an attack would be missing from the best known accuracy. A setting is no attack.
        if isinstance(value, list | tuple | Mapping) and any(map(_is_array, _members(value))):
            raise BenchError(f"archive {str(path)!r}: {name!r} is several arrays, not one: {_REMEDY}")
    arrays = {name: _array(value, path, repr(name)) for name, value in several.items() if _is_array(value)}
    attacks = {name: array for name, array in arrays.items() if array.ndim >= _OF_IMAGES}
    if not attacks:
        held = ", ".join(list(entries)[:6]) or "nothing"
        raise BenchError(f"archive {str(path)!r} has no adversarial images (it holds {held}): {_REMEDY}")
    return [made(name, array) for name, array in attacks.items()]


def _first(value: Any) -> Any:  # noqa: ANN401  (whatever the file holds)
    """Return the images of a pair of images and predicted labels, as AutoAttack returns it with `return_labels`."""
    if isinstance(value, list | tuple) and value and _is_array(value[0]):
        shapes = [tuple(getattr(each, "shape", ())) for each in value]
        if len(value) == 1 or (len(value) == 2 and len(shapes[1]) == 1):
            return value[0]
    return value


def _members(value: Any) -> Iterable[Any]:  # noqa: ANN401
    return value.values() if isinstance(value, Mapping) else value


def _is_array(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, np.ndarray) or type(value).__module__.partition(".")[0] == "torch"


def _array(value: Any, path: Path, what: str) -> NDArray[Any]:  # noqa: ANN401
    if not _is_array(value):
        raise BenchError(f"archive {str(path)!r}: {what} is {type(value).__name__}, no array: {_REMEDY}")
    if isinstance(value, np.ndarray):
        found = value
    else:
        try:
            dense = value.detach().cpu()
            # numpy has no bfloat16; half precision is as good as what is verified afterwards.
            found = (dense.float() if dense.is_floating_point() else dense).numpy()
        except Exception as error:  # noqa: BLE001  (sparse, quantized and other tensors that are no plain array)
            raise BenchError(
                f"archive {str(path)!r}: {what} is no plain tensor ({one_line(error)}): {_REMEDY}"
            ) from None
    if found.dtype.kind not in "fiub":
        raise BenchError(f"archive {str(path)!r}: {what} holds {found.dtype}, no numbers: {_REMEDY}")
    return found


def _entry(entries: Mapping[str, Any], names: Sequence[str], path: Path) -> NDArray[Any] | None:
    name = next((name for name in names if name in entries), None)
    if name is None:
        return None
    value = entries[name]
    if isinstance(value, list | tuple) and all(isinstance(each, int) for each in value):
        value = np.array(value, dtype=np.int64)
    return _array(value, path, repr(name))


def _names(entries: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    name = next((name for name in _IDS if name in entries), None)
    if name is None:
        return None
    value = entries[name]
    if isinstance(value, np.ndarray) and value.dtype.kind in "US":
        value = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in value.tolist()]
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise BenchError(f"archive {str(path)!r}: {name!r} is no list of names: give one id per image, or indices")
    return tuple(value)


def _torch(path: Path) -> Any:  # noqa: ANN401
    import pickle

    try:
        return tensors(path, "archive")
    except BenchError:
        raise
    except pickle.UnpicklingError:
        raise BenchError(
            f"archive {str(path)!r} holds more than tensors, or is damaged; it was not loaded, because that could run "
            f"code: {_REMEDY}"
        ) from None
    except Exception as error:  # noqa: BLE001  (whatever a damaged file makes of it)
        raise _damaged(path, error) from None


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    require_modest_zip(path, "archive")
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise BenchError(f"archive {str(path)!r} is one array, not several: call it .npy")
            members = zipfile.ZipFile(stream)
            for member in members.infolist():
                with members.open(member) as held:
                    _require_room(held, member.file_size)
            return {name: file[name] for name in file.files}
    except BenchError:
        raise
    except ValueError as error:
        if "allow_pickle" in str(error) or "bject arrays" in str(error):
            raise BenchError(
                f"archive {str(path)!r} holds an array of objects; it was not loaded, because that could run code: "
                "save numbers, and ids as text (numpy's type U)"
            ) from None
        raise _damaged(path, error) from None
    except Exception as error:  # noqa: BLE001  (as above)
        raise _damaged(path, error) from None


def _require_room(held: IO[bytes], size: int) -> None:
    """Raise a ValueError if the head of an array declares more bytes than follow: numpy asks for them first."""
    version = np.lib.format.read_magic(held)
    head = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if head is None:
        raise ValueError(f"an array of version {version}")
    shape, _, kind = head(held)
    if math.prod(shape) * kind.itemsize > size:
        raise ValueError(f"it declares an array of {shape}, which {size} bytes do not hold")


def _npy(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as held:
            _require_room(held, path.stat().st_size)
        found: NDArray[Any] = np.load(path, allow_pickle=False)
    except Exception as error:  # noqa: BLE001  (as above)
        raise _damaged(path, error) from None
    return found


def _safetensors(path: Path) -> dict[str, Any]:
    from bench.datasets.imported import ids_of

    try:
        from safetensors import safe_open

        with safe_open(path, "np") as file:
            found: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            told = file.metadata() or {}
    except Exception as error:  # noqa: BLE001  (as above)
        raise _damaged(path, error) from None
    ids = ids_of(told)
    return {**found, "ids": ids} if ids else found


def _damaged(path: Path, error: Exception) -> BenchError:
    what = "truncated or damaged" if isinstance(error, zipfile.BadZipFile | EOFError) else one_line(error)
    return BenchError(f"archive {str(path)!r} cannot be read ({what}): fetch it again")
