"""Adversarial examples made elsewhere, kept in a results folder as an attack that looks its proposals up.

An archive is one safetensors file: `x_adv`, float32 `[k, C, H, W]` in [0, 1], and the fingerprint of the image that
each was made from (`bench.datasets.examples.Examples.fingerprints`). Its digest is that of these arrays, whatever file
they came in. The attack knows an image by its pixels and its label; where the archive has nothing for an image, it
hands it in as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.machine.system import in_order, write_whole
from bench.threats import MEASURED, ThreatModel

if TYPE_CHECKING:
    from torch import Tensor

    from bench.oracle.attack import Precision
    from bench.oracle.oracle import Oracle
    from bench.oracle.randomness import Stream

# The access of such an attack: it queries nothing. No attack of a user may declare it.
ACCESS = "archive"
# The beginning of its label; names that a user gives to attacks have no colon.
PREFIX = "import:"
TARGET = "bench.datasets.imported:Imported"
# Of what was written, beside the images.
_FINGERPRINTS = "fingerprints"


@dataclass(frozen=True)
class Imported:
    """The attack that hands in the examples of an archive.

    Attributes:
        file: the archive, as `write` wrote it.
        digest: of its arrays; another file under this path is an error.
        source: who made it, for people to read.
        covers: how many images it has an example for.
    """

    file: str
    digest: str
    source: str = ""
    covers: int = 0

    families: ClassVar[tuple[str, ...]] = MEASURED
    forwards: ClassVar[int] = 0
    precision: ClassVar[Precision] = "as given"
    exempt: ClassVar[str] = "an archive holds examples of its own images only"

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        """Return the archived example of each image, float32 `[B, C, H, W]`; the image itself where there is none."""
        import torch

        images, labels = x.detach().cpu().numpy(), y.cpu().numpy()
        examples = _read(self.file, self.digest)
        found = [examples.get(_print(image, int(label)), image) for image, label in zip(images, labels, strict=True)]
        return torch.from_numpy(np.stack(found) if found else images).to(x.device)


def digest_of(x_adv: NDArray[np.float32], fingerprints: Sequence[str]) -> str:
    """Return the SHA-256 of the images of an archive, and of those that they were made from."""
    sha = hashlib.sha256()
    for name, image in zip(fingerprints, np.ascontiguousarray(x_adv, dtype="<f4"), strict=True):
        sha.update(name.encode() + b"\n" + image.tobytes())
    return sha.hexdigest()


def write(folder: Path, name: str, x_adv: NDArray[np.float32], fingerprints: Sequence[str]) -> Path:
    """Write an archive below a results folder, whole or not at all; one that is there already stays as it is.

    Args:
        folder: the results folder.
        name: a beginning for the name of the file, safe in paths.
        x_adv: float32 `[k, C, H, W]` in [0, 1].
        fingerprints: `id:hash` of the image of each.
    """
    from safetensors.numpy import save

    digest = digest_of(x_adv, fingerprints)
    path = place(folder, name, digest)
    # safetensors writes the facts beside the arrays in any order, so the same archive would get other bytes.
    with suppress(BenchError):
        _read.__wrapped__(str(path), digest)
        return path
    images = np.ascontiguousarray(x_adv, dtype=np.float32)
    # `sha256` and `key` are what `bench results verify` compares in every file of images.
    told = {"key": digest, "sha256": hashlib.sha256(images.tobytes()).hexdigest()}
    content = save({"x_adv": images}, metadata={**told, _FINGERPRINTS: json.dumps(list(fingerprints))})
    write_whole(path, in_order(content))
    return path


def place(folder: Path, name: str, digest: str) -> Path:
    """Return where an archive lies below a results folder."""
    return folder / "archives" / f"{name}.{digest[:16]}.safetensors"


def ids_of(told: Mapping[str, str]) -> list[str]:
    """Return the ids of the images in an archive of ours, from the facts beside its arrays; empty for other files."""
    try:
        # An id may hold a colon itself.
        return [str(name).rpartition(":")[0] for name in json.loads(told.get(_FINGERPRINTS, "[]"))]
    except (ValueError, TypeError):
        return []


@lru_cache(maxsize=4)
def _read(file: str, digest: str) -> Mapping[str, NDArray[np.float32]]:
    """Return the examples of an archive by the hash of their images; of two for one image, the first."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(Path(file), "np") as opened:
            x_adv = opened.get_tensor("x_adv")
            fingerprints = [str(name) for name in json.loads((opened.metadata() or {}).get(_FINGERPRINTS, "[]"))]
    except (OSError, SafetensorError, ValueError) as error:
        raise BenchError(f"archive {file!r} cannot be read ({type(error).__name__}): import it again") from error
    if len(fingerprints) != len(x_adv) or digest_of(x_adv, fingerprints) != digest:
        raise BenchError(f"archive {file!r} is not the one that was imported: import it again")
    found: dict[str, NDArray[np.float32]] = {}
    for name, image in zip(fingerprints, x_adv, strict=True):
        found.setdefault(name.rpartition(":")[2], image)
    return found


def _print(image: NDArray[np.float32], label: int) -> str:
    """Return the hash of an image and its label, as `Examples.fingerprints` has it behind the id."""
    content = np.array(label, dtype="<i8").tobytes() + np.ascontiguousarray(image, dtype="<f4").tobytes()
    return hashlib.sha256(content).hexdigest()[:16]
