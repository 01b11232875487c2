"""Results folders: read, compare and maintain them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.arguments import checked
from bench.api.results import Results
from bench.errors import BenchError
from bench.results import baseline as baselines
from bench.results import housekeeping
from bench.results.outcome import Done
from bench.results.store import Store

if TYPE_CHECKING:
    from bench.report.comparison import Comparison
    from bench.report.gate_report import GateReport
    from bench.report.optimality import AttackComparison
    from bench.results.cell import Cell
    from bench.results.housekeeping import RunRecord
    from bench.results.merging import Merged

Folder = str | os.PathLike[str]


@checked
def load(results: Folder) -> Results:
    """Read every requested cell of a folder, with its stored outcome.

    Args:
        results: the folder, as of `bench run --results`.

    Raises:
        BenchError: there is no such folder, nothing was ever run with it, or a document is damaged.
    """
    store = Store(_existing(results))
    return Results(tuple(store.results()), store)


@checked
def gate(
    baseline: Results | Folder | None,
    results: Results | Folder,
    *,
    floors: Sequence[str] = (),
    alpha: float = 0.01,
    min_effect: float = 0.01,
    must_detect: float = 0.15,
    allow_underpowered: bool = False,
    no_failed: bool = False,
) -> GateReport:
    """Compare two sets of results image by image: has robust accuracy really dropped?

    Args:
        baseline: results, or the folder they lie in; `None` to hold `results` to floors alone.
        results: likewise; every cell of the baseline is looked for.
        floors: accuracies that `results` must not fall below, as shares: `at/pgd-20=0.40`,
            `at/pgd-20@Linf:0.2=0.40`, `at/standard=0.9`, `at/worst-all=0.35`.
        alpha: false-alarm rate of the whole gate, more than 0 and less than 0.5.
        min_effect: the smallest drop that can fail, as a share: 0.01 is one point.
        must_detect: the drop that must be caught with 80 % power, as a share.
        allow_underpowered: whether the exit code is 0 even if there are too few images to catch that drop.
        no_failed: whether the exit code is 3 if any cell of `results` failed or is missing, even one that neither the
            baseline nor a floor holds.

    Returns:
        The rows, the lines of a report, and `exit_code`: 0, or 1 for a regression or a broken floor, 2 if nothing
        can be compared, 3 for missing cells and 4 if there are too few images.

    Raises:
        BenchError: a number is out of range, a folder holds no results, a floor names what is not there, or there is
            neither a baseline nor a floor.
    """
    from bench.report.floors import parse_floor
    from bench.report.gate import compare

    require_promises(alpha, min_effect, must_detect)
    least = [parse_floor(text) for text in floors]
    if baseline is None and not least:
        raise BenchError("nothing to hold the results to: give --baseline FOLDER or --floor DEFENSE/ATTACK=SHARE")
    if not isinstance(baseline, Results):
        require_baseline(baseline)
    # Only now: a bad number must not cost the reading of two folders.
    new = results if isinstance(results, Results) else load(results)
    old = baseline if isinstance(baseline, Results) or baseline is None else load(baseline)
    return compare(
        None if old is None else old.cells,
        new.cells,
        alpha=alpha,
        min_effect=min_effect,
        must_detect=must_detect,
        allow_underpowered=allow_underpowered,
        floors=least,
        no_failed=no_failed,
        seconds=new.store.seconds,
    )


@checked
def compare(results: Results | Folder, a: str, b: str = "", *, other: Results | Folder | None = None) -> Comparison:
    """Compare two defenses image by image, in every number that both have.

    Args:
        results: the results of the first defense, or the folder they lie in.
        a: its label.
        b: the label of the second defense; by default the same as `a`, which needs `other`.
        other: the results of the second defense, if they are not the same.

    Returns:
        The rows, `table(style)` and `to_json()`.

    Raises:
        BenchError: a label is not there, a check blocks a defense, or the two have no image in common.
    """
    from bench.report.comparison import compare

    if other is None and b in ("", a):
        raise BenchError(f"{a!r} cannot be compared with itself: name another defense, or another folder (--with)")
    one = results if isinstance(results, Results) else load(results)
    two = one if other is None else other if isinstance(other, Results) else load(other)
    return compare(one.cells, a, two.cells, b or a)


@checked
def compare_attacks(results: Results | Folder) -> AttackComparison:
    """Compare the attacks on each defense: how near each comes to the best of all, image by image, and its passes.

    Args:
        results: the results, or the folder they lie in; `Results.only` chooses among them.

    Returns:
        The rows, `table(style)` and `to_json()`.

    Raises:
        BenchError: no attack was run.
    """
    from bench.report.optimality import compare_attacks

    return compare_attacks((results if isinstance(results, Results) else load(results)).cells)


def require_promises(alpha: float, min_effect: float, must_detect: float, **_: object) -> None:
    """Raise a BenchError unless the promises of a gate are in range."""
    # At 0 nothing could ever fail; from 0.5 on a gate would fail about as often as a coin.
    if not 0 < alpha < 0.5:
        raise BenchError(f"--alpha {alpha} is out of range: give more than 0 and less than 0.5")
    for name, share in (("--min-effect", min_effect), ("--must-detect", must_detect)):
        if not 0 <= share <= 1:
            raise BenchError(f"{name} {share} is out of range: give a share from 0 to 1, such as 0.05 for 5 points")


def require_baseline(baseline: Folder | None) -> None:
    """Raise a BenchError unless a baseline is a folder with results.

    The remedy is not to run into it, as with another folder: what is tested would be its own baseline.
    """
    if baseline is None:
        return
    folder = Path(baseline)
    make = f"make it with 'bench baseline update --baseline {folder} --results FOLDER'"
    baselines.restore(folder)
    if not folder.exists():
        raise BenchError(f"baseline folder {str(folder)!r} does not exist: {make}")
    if folder.is_dir() and not any(folder.iterdir()):
        raise BenchError(f"baseline folder {str(folder)!r} is empty: {make}")


@checked
def runs(results: Folder) -> list[RunRecord]:
    """Return the runs that filled a folder, the oldest first."""
    folder = _existing(results)
    found = list(housekeeping.runs(folder))
    if not found:
        raise BenchError(f"no run in {str(folder)!r}: fill it with 'bench run --results {folder}'")
    return found


@checked
def verify(results: Folder) -> tuple[int, list[str]]:
    """Read every document of a folder; return how many there are, and a line for each that is damaged."""
    folder = _existing(results)
    found = len(housekeeping.documents(folder))
    if not found:  # a script that names a wrong folder must not hear that all is well
        raise BenchError(f"no document in {str(folder)!r}: name a results folder")
    return found, list(housekeeping.damaged(folder))


@checked
def prune(results: Folder, *, dry_run: bool = False) -> list[Path]:
    """Remove documents that no run names, and leftovers of dead runs; return the files.

    Args:
        results: the folder.
        dry_run: remove nothing.
    """
    runs(results)  # without any, every cell would be a stray
    found = list(housekeeping.strays(Path(results)))
    for path in () if dry_run else found:
        path.unlink(missing_ok=True)  # a run may remove its own at the same time
    return found


def merge(*folders: Folder, into: Folder) -> Merged:
    """Merge results folders, of several machines or people, into one; the same merge again changes nothing.

    Every file is read and verified before anything is written. Cells whose shards are then all there are finished. The
    checks after the attacks and worst cases that are derived from others are left to `bench run` on the merged folder.

    Args:
        folders: at least one; none is changed, unless it is the target.
        into: the target: a new folder, one of `folders`, or any other results folder.

    Returns:
        What was copied and finished, and what is still missing.

    Raises:
        BenchError: a file is damaged, foreign, newer than this version or reached by a link; nothing was written.
        NondeterminismError: two folders have other verdicts under one key; nothing was written.
    """
    from bench.harness.alarm import unaware
    from bench.results import merging

    return merging.merge([Path(folder) for folder in folders], Path(into), unaware)


def finished(results: Folder, cells: Sequence[Cell]) -> tuple[int, int]:
    """Return how many of some cells are finished, and how many of the others have finished shards."""
    store = Store(Path(results))
    open_ = [cell for cell in cells if not isinstance(store.find(cell), Done)]
    return len(cells) - len(open_), sum(bool(store.shards(cell)) for cell in open_)


def _existing(results: Folder) -> Path:
    folder = Path(results)
    # A wrong path must not look like an empty folder.
    if not folder.exists():
        raise BenchError(f"results folder {str(folder)!r} does not exist: fill it with 'bench run --results {folder}'")
    Store(folder)  # which says what is wrong with a folder that is a file, or that cannot be read
    return folder
