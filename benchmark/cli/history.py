"""The command `bench history`: how accuracies moved, on the screen, as CSV, JSON or a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import api
from bench.errors import BenchError
from bench.report.outputs import require_files
from bench.report.plain import json_text


def history(
    folders: Sequence[Path],
    git: Path | None,
    last: int,
    by_time: bool,
    csv: Path | None,
    plot: Path | None,
    *,
    as_json: bool = False,
    **chosen: str,
) -> int:
    """Print the history, and write the files that were asked for."""
    if git is not None and by_time:
        raise BenchError("--by-time is for results folders: the commits of --git are in their order already")
    if plot is not None:  # before anything is read
        from bench.report.figures.files import require_suffix

        require_suffix(plot, "--plot")
    require_files({"--csv": csv, "--plot": plot}, (*folders, git))
    found = api.history(*folders, git=git, last=last, by_time=by_time, alpha=0.01, min_effect=0.01, **chosen)
    figure = found.plot() if plot is not None else None
    print(json_text(found.to_json()) if as_json else found)
    written = []
    if csv is not None:
        written.append(f"history  {found.to_csv(csv)}")
    if plot is not None and figure is not None:
        from bench.report.figures.files import save

        written.append(f"figure   {save(figure, plot)}")
    if written and not as_json:
        print("\n" + "\n".join(written))
    return 0
