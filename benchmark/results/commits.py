"""A results folder as it was at each commit that touched it, read from git without a checkout.

Only `git log`, `ls-tree` and `cat-file` run: nothing in the repository or its work tree changes, nothing is fetched,
and no attribute of the repository changes what a file holds. Documents go into a temporary folder, a commit at a time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.errors import BenchError

# What a hook of git or somebody's shell may have set; it would lead to another repository than that of the path.
_MISLEADING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE", "GIT_CEILING_DIRECTORIES")
_OFFLINE = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
# Plain files; a link in a repository may point anywhere.
_FILES = ("100644", "100755")
_MOST = 1000


@dataclass(frozen=True)
class Commit:
    """A commit: its digest, its time in ISO format, and the first line of its message."""

    id: str
    when: str
    subject: str


@dataclass(frozen=True)
class FolderHistory:
    """The commits that touched a folder, the oldest first."""

    root: Path
    inside: str
    commits: tuple[Commit, ...]

    def states(self) -> Iterator[tuple[Commit, Path]]:
        """Yield each commit with a folder of the documents it held; it is gone when the next is asked for."""
        with tempfile.TemporaryDirectory(prefix="bench-history-") as place:
            known = Path(place) / "known"
            known.mkdir()
            for index, commit in enumerate(self.commits):
                folder = Path(place) / str(index)
                folder.mkdir()
                self._fill(folder, commit, known)
                yield commit, folder
                shutil.rmtree(folder)

    def _fill(self, folder: Path, commit: Commit, known: Path) -> None:
        held = list(self._documents(commit))
        # Each content is read once, however many commits have it.
        lacking = list(dict.fromkeys(blob for blob, _ in held if not (known / blob).is_file()))
        for blob, content in _contents(self.root, lacking):
            (known / blob).write_bytes(content)
        for blob, path in held:
            target = folder.joinpath(*path.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(known / blob, target)

    def _documents(self, commit: Commit) -> Iterator[tuple[str, PurePosixPath]]:
        """Yield the digest and the path, within the folder, of every JSON document of a commit."""
        within = ("--", f"{self.inside}/") if self.inside else ()
        told = _git(self.root, "ls-tree", "-r", "-z", "--full-tree", commit.id, *within)
        for line in told.decode("utf-8", "surrogateescape").split("\0"):
            about, tab, name = line.partition("\t")
            if not tab:
                continue
            mode, _, blob = about.split(" ")
            path = PurePosixPath(name).relative_to(self.inside) if self.inside else PurePosixPath(name)
            if mode in _FILES and path.suffix == ".json" and not path.is_absolute() and ".." not in path.parts:
                yield blob, path


def folder_history(folder: Path, last: int) -> FolderHistory:
    """Return the last commits of a repository's first-parent line that touched a folder.

    Args:
        folder: within a repository; it may be gone from the work tree.
        last: at most so many commits, 1 to 1000.

    Raises:
        BenchError: no git, no repository, or no such commit.
    """
    if not 1 <= last <= _MOST:
        raise BenchError(f"--last {last} is out of range: give 1 to {_MOST} commits")
    path = folder.absolute()
    there = next(each for each in (path, *path.parents) if each.is_dir())
    root = Path(os.fsdecode(_git(there, "rev-parse", "--show-toplevel").rstrip(b"\n")))
    inside = (there.resolve() / path.relative_to(there)).relative_to(root.resolve()).as_posix()
    inside = "" if inside == "." else inside
    told = _git(
        root, "log", "--first-parent", f"--max-count={last}", "--format=%H%x1f%cI%x1f%s", "HEAD", "--", inside or "."
    )
    lines = told.decode("utf-8", "replace").split("\n")
    found = tuple(Commit(*line.split("\x1f", 2)) for line in lines if line)
    if not found:
        raise BenchError(
            f"no commit of {str(root)!r} touches {str(folder)!r}: name a results folder that was committed"
        )
    return FolderHistory(root, inside, found[::-1])


def _contents(root: Path, blobs: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    if not blobs:
        return
    told = _git(root, "cat-file", "--batch", sent="".join(f"{blob}\n" for blob in blobs).encode())
    at = 0
    for blob in blobs:
        end = told.index(b"\n", at)
        words = told[at:end].split()
        if len(words) != 3:
            raise BenchError(f"{str(root)!r} lacks the object {blob[:12]}: fetch it, for nothing is fetched here")
        size = int(words[2])
        yield blob, told[end + 1 : end + 1 + size]
        at = end + 1 + size + 1


def _git(root: Path, *words: str, sent: bytes = b"") -> bytes:
    environment = {name: value for name, value in os.environ.items() if name not in _MISLEADING} | _OFFLINE
    try:
        done = subprocess.run(  # noqa: S603  (git, with words of ours and paths after --)
            ["git", "--no-pager", "--literal-pathspecs", "-C", str(root), *words],  # noqa: S607
            input=sent,
            capture_output=True,
            env=environment,
            check=False,
        )
    except OSError as error:
        raise BenchError(
            f"git cannot be run ({error.strerror}): install it, or give results folders instead"
        ) from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        reason = "".join(char for char in lines[0] if char.isprintable())
        raise BenchError(f"git cannot read {str(root)!r}: {reason}; give a folder within a repository")
    return done.stdout
