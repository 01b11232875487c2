"""The parcel from a borrowed machine, at most 8 files of at most 16 MiB, and its unpacking into the repository.

    python -m gpu unpack FOLDER

puts weights with their cards below `defenses/weights/`, verdicts below `results/` and measurements below
`performance/`, the places of such files in the repository.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_FILES, LARGEST = 8, 16 << 20
# Size of a part of an archive, slightly below the bound.
PART = LARGEST - (1 << 16)
# Destinations of the members of an archive, by their first folder.
HOMES = {"weights": Path("defenses/weights"), "results": Path("results"), "performance": Path("performance")}
# Files of work in progress, which mean nothing on another machine.
_LEFT = (".tmp", ".unfinished", ".lock")


class TooLargeError(RuntimeError):
    """Raised when the content of a parcel exceeds its bounds."""


def pack(
    name: str, folders: dict[str, Path], out: Path, *, keep: Callable[[str], bool] = lambda member: True
) -> list[Path]:
    """Pack folders into an archive, cut into few bounded files in `out`; return these files.

    Args:
        name: of the archive.
        folders: folders on disk by their place in the archive, such as `{"weights/cifar10": FOLDER}`.
        out: the folder to write to, which may hold other files.
        keep: whether a member of the archive is packed.

    Raises:
        TooLargeError: the content exceeds the bounds; nothing was written.
    """
    content = _archive(folders, keep)
    parts = [content[start : start + PART] for start in range(0, len(content), PART)]
    # The log of the call is in the folder already and counts as a file.
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


def _archive(folders: dict[str, Path], keep: Callable[[str], bool]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, folder in folders.items():
            for path in sorted(folder.rglob("*")):
                member = f"{place}/{path.relative_to(folder).as_posix()}"
                kept = path.is_file() and not path.name.startswith(".") and path.suffix not in _LEFT and keep(member)
                # A file of tensors under results/ holds adversarial images. These are images of the dataset and stay
                # on the machine.
                if kept and not (place.startswith("results") and path.suffix == ".safetensors"):
                    archive.write(path, member)
    return held.getvalue()


def unpack(folder: Path, root: Path = ROOT) -> list[Path]:
    """Unpack every archive in a folder into its places in the repository; return the files."""
    names = sorted({path.name.rpartition(".zip.")[0] for path in folder.glob("*.zip.*")})
    if not names:
        raise SystemExit(f"{folder} holds no parts of an archive (NAME.zip.0, NAME.zip.1, ...)")
    written = []
    for name in names:
        # By number, not by name: as text, part 10 comes before part 2.
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
    """Unpack a folder of parts into this checkout and print the files."""
    options = argparse.ArgumentParser(
        "python -m gpu unpack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("folder", type=Path)
    for path in unpack(options.parse_args(words).folder):
        print(path.relative_to(ROOT))
    return 0
