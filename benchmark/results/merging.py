"""Merging of results folders by copying: of what many machines computed, or two people, into one folder.

Everything is read and verified before anything is written. What is final must agree. Of what may differ from run to
run, such as provenance, the target keeps its own, and else the choice depends on the content alone. So the order and
the grouping in which folders are merged do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BenchError, NondeterminismError
from bench.machine.system import write_whole
from bench.results.cell import Cell
from bench.results.documents import of_cell, write_once
from bench.results.finding import gravity
from bench.results.inventory import File, Kind, inventory
from bench.results.outcome import Done, answers_alarm, joined
from bench.results.provenance import several, together
from bench.results.store import Store

# Which shards of a cell have to be computed again, although all are there (`bench.harness.alarm.unaware`).
Unaware = Callable[[Cell, Mapping[int, Done]], Sequence[int]]
# In which order files are written. Findings come before cells, for a block must never arrive after its number; what
# a run asked for comes last, so that a reader finds the cells that it names.
_ORDER: Sequence[Kind] = (
    "findings", "examples", "answers", "formats", "archive", "images", "shard", "cell", "failed", "matrix", "run"
)  # fmt: skip


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge.

    Attributes:
        copied: files that were written into the target as they are.
        kept: files of the folders that the target had already.
        cells: finished cells of the target, those in `joined` included.
        joined: of them, those that were finished from their shards.
        open: cells that still lack shards.
        alarmed: cells whose shards are all there, and some have to be computed again because another raised an alarm.
        mixed: a line per cell that was joined from shards of different code, or of different versions of torch.
        others: files in the folders that are none of ours, and were left there.
    """

    copied: int
    kept: int
    cells: int
    joined: int
    open: int
    alarmed: int
    mixed: tuple[str, ...]
    others: tuple[str, ...]


def merge(sources: Sequence[Path], into: Path, unaware: Unaware) -> Merged:
    """Merge results folders into one, which may be new, one of them, or any other results folder.

    Args:
        sources: at least one folder; none is changed, unless it is the target.
        into: the target.
        unaware: says which shards an alarm makes necessary to compute again.

    Raises:
        BenchError: a folder or a file in it cannot be merged; nothing was written.
        NondeterminismError: two folders have other verdicts under one key; nothing was written.
    """
    roots = _roots(sources, into)
    places: dict[str, list[File]] = {}
    others: list[str] = []
    for root in roots:
        files, more = inventory(root)
        if not files and root != into:
            raise BenchError(f"no results in {str(root)!r}: name a folder that 'bench run --results' filled")
        others += [str(root / each) for each in more if root != into]
        for file in files:
            places.setdefault(str(file.place), []).append(file)
    _spread_requests(places, into)
    chosen = {place: _chosen(files, into) for place, files in places.items()}
    chosen |= _of_one_make(chosen, places)
    _require_one_history(chosen)
    complete, open_, alarmed = _completed(_gathered(chosen), unaware)
    # Nothing was written until here, and nothing can be found to be wrong after it.
    Store(into).require_writable()
    done = {file.stem for file in chosen.values() if file.kind == "cell"} | {cell.stem for cell in complete}
    copied, kept = _copy(_wanted(chosen, done), into)
    for cell in complete:
        write_once(into / f"{cell.stem}.json", cell.document)
    _remove_leftovers(places, done, into)
    mixed = tuple(f"{cell.stem}: {', '.join(cell.mixed)}" for cell in complete if cell.mixed)
    return Merged(copied, kept, len(done), len(complete), open_, alarmed, mixed, tuple(others))


def _roots(sources: Sequence[Path], into: Path) -> list[Path]:
    """Return the folders to read, each once, the target among them if it is there."""
    if not sources:
        raise BenchError("nothing to merge: name results folders")
    roots: dict[Path, Path] = {}
    for folder in (*([into] if into.is_symlink() or into.exists() else []), *sources):
        if folder.is_symlink():
            raise BenchError(f"{str(folder)!r} is a symbolic link, which is not followed: name the folder itself")
        if not folder.exists():
            raise BenchError(f"results folder {str(folder)!r} does not exist: fill it with 'bench run --results'")
        Store(folder)  # which says what is wrong with one that cannot be read
        roots.setdefault(folder.resolve(), folder)
    target = into.resolve()
    for one in (*roots, target):
        inner = next((folder for real, folder in roots.items() if one != real and real.is_relative_to(one)), None)
        if inner is not None:
            raise BenchError(
                f"{str(inner)!r} lies within {str(roots.get(one, into))!r}: merge folders beside each other"
            )
    # By the name of the target, however a source spells it.
    return [into if real == target else folder for real, folder in roots.items()]


def _spread_requests(places: dict[str, list[File]], into: Path) -> None:
    """Give the one file in which old versions kept all requests a place of its own in `runs/`, if folders differ."""
    files = places.get("matrix.json", [])
    stays = min(files, key=lambda file: (file.root != into, file.same)).same if files else ""
    for file in files:
        if file.same != stays:
            # Before every time, because what has none is older than all that have.
            places.setdefault(f"runs/0-{file.same[:16]}.json", []).append(file)
    if files:
        places["matrix.json"] = [file for file in files if file.same == stays]


def _chosen(files: Sequence[File], into: Path) -> File:
    """Return the copy of a file to keep."""
    first = files[0]
    if first.kind == "findings":
        # The gravest: where one machine found a reason not to believe a number, the merged folder must not print it.
        gravest = max(gravity(file.severity) for file in files)
        files = [file for file in files if gravity(file.severity) == gravest]
    elif first.kind == "shard":
        files = _aware(files)
    if first.kind == "failed":
        return min(files, key=lambda file: file.content)
    _require_same(files)
    return min(files, key=lambda file: (file.root != into, file.content))


def _of_one_make(chosen: Mapping[str, File], places: Mapping[str, Sequence[File]]) -> dict[str, File]:
    """Return the images of cells, each from the folder whose verdicts were chosen, if that folder has them."""
    found = {}
    for place, file in chosen.items():
        if file.kind == "images":
            made = chosen.get(f"{file.stem}.json") or chosen.get(f"{file.stem}.shard-0.json")
            found[place] = next((copy for copy in places[place] if made and copy.root == made.root), file)
    return found


def _aware(files: Sequence[File]) -> Sequence[File]:
    """Return the copies of a shard that were computed after an alarm, if there are any that explain the others."""
    if len({file.same for file in files}) == 1:
        return files
    told = {file: file.outcome() for file in files}
    later = [file for file in files if told[file][1].evidence.escalated]
    earlier = [file for file in files if file not in later]
    if not later or not told[later[0]][0].attack.reserve:
        return files
    _require_same(earlier)
    if earlier and not answers_alarm(told[later[0]][1], told[earlier[0]][1]):
        raise _differ(later[0], earlier[0])
    return later


def _require_same(files: Sequence[File]) -> None:
    """Raise unless copies have in common what must not differ."""
    for one, other in ((files[0], file) for file in files if file.same != files[0].same):
        if one.kind in ("cell", "shard"):
            raise _differ(one, other)
        raise BenchError(f"{str(one.path)!r} and {str(other.path)!r} are not the same: move one of them away")


def _differ(one: File, other: File) -> NondeterminismError:
    return NondeterminismError(f"the verdicts in {str(one.path)!r} differ from those in {str(other.path)!r}")


def _gathered(chosen: Mapping[str, File]) -> dict[str, dict[int, File]]:
    """Return the shards of each cell that is not finished in any folder."""
    finished = {file.stem for file in chosen.values() if file.kind == "cell"}
    found: dict[str, dict[int, File]] = {}
    for file in chosen.values():
        if file.kind == "shard" and file.stem not in finished:
            found.setdefault(file.stem, {})[file.shard] = file
    return found


def _require_one_history(chosen: Mapping[str, File]) -> None:
    """Raise unless the shards that are left of a finished cell say what the cell says."""
    finished = {file.stem: file for file in chosen.values() if file.kind == "cell"}
    for shard in chosen.values():
        whole = finished.get(shard.stem)
        if whole is not None and shard.kind == "shard":
            cell, done, _ = whole.outcome()
            part = shard.outcome()[1]
            start, stop = cell.shards[shard.shard]
            verdicts = done.verdicts
            same = np.array_equal(verdicts.adversarial[start:stop], part.verdicts.adversarial)
            within = cell.attack.reserve and (verdicts.adversarial[start:stop] <= part.verdicts.adversarial).all()
            if not np.array_equal(verdicts.clean[start:stop], part.verdicts.clean) or not (same or within):
                raise _differ(whole, shard)


@dataclass(frozen=True)
class _Complete:
    """A cell that its shards finish: where its files lie, its document, and what several states of the code made."""

    stem: str
    document: dict[str, object]
    mixed: Sequence[str]


def _completed(gathered: Mapping[str, Mapping[int, File]], unaware: Unaware) -> tuple[list[_Complete], int, int]:
    """Join the shards of cells that have all of them; return these, and how many lack shards, or wait for an alarm."""
    found, open_, alarmed = [], 0, 0
    for stem, files in sorted(gathered.items()):
        told = {index: files[index].outcome() for index in sorted(files)}
        cell = next(iter(told.values()))[0]
        done = {index: outcome for index, (_, outcome, _) in told.items()}
        if len(told) < len(cell.shards):
            open_ += 1
        elif unaware(cell, done):
            alarmed += 1
        else:
            made = together([each for *_, each in told.values()])
            found.append(_Complete(stem, of_cell(cell, joined(list(done.values())), made), several(made)))
    return found, open_, alarmed


def _wanted(chosen: Mapping[str, File], done: Collection[str]) -> dict[str, File]:
    """Return what the target is to hold, in the order of writing: without shards and errors of finished cells."""
    order = sorted(chosen, key=lambda place: (_ORDER.index(chosen[place].kind), place))
    return {
        place: chosen[place]
        for place in order
        if chosen[place].kind not in ("shard", "failed") or chosen[place].stem not in done
    }


def _copy(wanted: Mapping[str, File], into: Path) -> tuple[int, int]:
    """Write what the target lacks; return how many files that were, and how many it had."""
    missing = {place: file for place, file in wanted.items() if file.path != into / place}
    for place, file in missing.items():
        write_whole(into / place, file.bytes())
    return len(missing), len(wanted) - len(missing)


def _remove_leftovers(places: Mapping[str, Sequence[File]], done: Collection[str], into: Path) -> None:
    """Remove shards and errors of finished cells from the target."""
    for file in (file for files in places.values() for file in files):
        if file.root == into and file.kind in ("shard", "failed") and file.stem in done:
            file.path.unlink(missing_ok=True)
