"""Archives of images, unpacked file by file: none decides where a file goes, or how much of the disk it takes.

`tarfile.extractall` made links, devices and files above its folder, and its filters were got around several times
(CVE-2007-4559, CVE-2025-4517, CVE-2025-4330). Here a member is a plain file below the one folder that the archive is
known for, or the archive is refused.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath

# Of what an archive unpacks to, to what it has: images hardly shrink, and nothing else does so by more.
_RATIO, _FREE = 100, 1 << 20
_MOST_FILES = 5_000_000


class Refused(Exception):
    """An archive holds what no archive of images holds; the message names the member."""


def unpack(archive: Path, folder: str, into: Path) -> None:
    """Unpack the files below one folder of a tar archive.

    Args:
        archive: the file, compressed or not.
        folder: the only folder that it may hold.
        into: a new folder, which is made.

    Raises:
        Refused: a member is no plain file or folder, lies elsewhere, comes twice, or is too large.
        tarfile.TarError, EOFError, OSError: the archive is damaged, or cannot be unpacked.
    """
    room = max(_FREE, _RATIO * archive.stat().st_size)
    seen: set[str] = set()
    into.mkdir(parents=True)
    with tarfile.open(archive) as file:
        for member in file:
            place = _place(member, folder)
            # Case-folded, for a file system where `A` and `a` are one file.
            name = place.as_posix().casefold()
            if member.isdir():
                continue
            if name in seen or len(seen) >= _MOST_FILES:
                raise Refused(f"{member.name!r} comes twice" if name in seen else "it holds too many files")
            seen.add(name)
            room -= member.size
            if room < 0:
                raise Refused(f"it would unpack to more than {_RATIO} times its size at {member.name!r}")
            target = into.joinpath(*place.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = file.extractfile(member)
            assert content is not None  # noqa: S101  (a plain file has one)
            with content, target.open("xb") as out:
                shutil.copyfileobj(content, out)


def _place(member: tarfile.TarInfo, folder: str) -> PurePosixPath:
    """Return where a member goes; refuse one that is no plain file or folder, or goes elsewhere."""
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise Refused(f"{member.name!r} is a link, a device or another thing that is no file")
    place = PurePosixPath(member.name)
    odd = "\\" in member.name or ":" in member.name or not member.name.isprintable()
    if odd or place.is_absolute() or ".." in place.parts or place.parts[:1] != (folder,):
        raise Refused(f"{member.name!r} does not lie in {folder}/")
    return place
