"""What comes back from a borrowed machine: at most 8 files of at most 16 MiB, and what becomes of them at home.

    python -m gpu unpack FOLDER

puts weights with their cards below `defenses/weights/`, verdicts below `results/` and measurements below
`performance/`, each where the repository keeps such things.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_FILES, LARGEST = 8, 16 << 20
# A part of an archive stays clear of the bound.
PART = LARGEST - (1 << 16)
# Where the members of an archive go, by their first folder.
HOMES = {"weights": Path("defenses/weights"), "results": Path("results"), "performance": Path("performance")}
# Adversarial images are images of the dataset: they stay where they were made.
_LEFT = (".tmp", ".unfinished", ".lock")


class TooLargeError(RuntimeError):
    """What was made does not fit into the bounds."""


def pack(name: str, folders: dict[str, Path], out: Path) -> list[Path]:
    """Write what is in some folders as few bounded files, beside whatever is in `out`; returns them.

    Args:
        name: of the archive.
        folders: where the members of each first folder of the archive are, such as `{"weights/cifar10": FOLDER}`.
        out: the folder to write to.

    Raises:
        TooLargeError: the bounds do not hold all of it; nothing was written.
    """
    content = _archive(folders)
    parts = [content[start : start + PART] for start in range(0, len(content), PART)]
    # The log of the call lies there already, and counts.
    others = [path for path in out.glob("*") if path.is_file() and not path.name.startswith(f"{name}.zip.")]
    if len(parts) + len(others) > MOST_FILES:
        raise TooLargeError(f"{len(content) / 2**20:.0f} MiB do not fit into {MOST_FILES} files of 16 MiB")
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob(f"{name}.zip.*"):
        stale.unlink()
    written = []
    for number, part in enumerate(parts):
        written.append(out / f"{name}.zip.{number}")
        written[-1].write_bytes(part)
    return written


def _archive(folders: dict[str, Path]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, folder in folders.items():
            for path in sorted(folder.rglob("*")):
                kept = path.is_file() and not path.name.startswith(".") and path.suffix not in _LEFT
                # Under results/ a file of tensors holds adversarial images.
                if kept and not (place.startswith("results") and path.suffix == ".safetensors"):
                    archive.write(path, f"{place}/{path.relative_to(folder).as_posix()}")
    return held.getvalue()


def unpack(folder: Path, root: Path = ROOT) -> list[Path]:
    """Put the members of every archive in a folder where the repository keeps them; returns the files."""
    names = sorted({path.name.rpartition(".zip.")[0] for path in folder.glob("*.zip.*")})
    if not names:
        raise SystemExit(f"{folder} holds no parts of an archive (NAME.zip.0, NAME.zip.1, ...)")
    written = []
    for name in names:
        parts = sorted(folder.glob(f"{name}.zip.*"), key=lambda path: int(path.suffix[1:]))
        if [int(path.suffix[1:]) for path in parts] != list(range(len(parts))):
            raise SystemExit(f"{folder}: a part of {name}.zip is missing: {', '.join(path.name for path in parts)}")
        with zipfile.ZipFile(io.BytesIO(b"".join(path.read_bytes() for path in parts))) as archive:
            for member in archive.namelist():
                first, _, rest = member.partition("/")
                if first not in HOMES or ".." in Path(rest).parts:
                    raise SystemExit(f"{name}.zip: {member!r} has no place in the repository")
                path = root / HOMES[first] / rest
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(member))
                written.append(path)
    return written


def main(words: Sequence[str]) -> int:
    """Unpack a folder of parts into this checkout."""
    options = argparse.ArgumentParser(
        "python -m gpu unpack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("folder", type=Path)
    for path in unpack(options.parse_args(words).folder):
        print(path.relative_to(ROOT))
    return 0
