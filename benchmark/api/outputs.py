"""Everything that results print, draw and write as files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.arguments import members_checked
from bench.catalogue.study import Study
from bench.errors import BenchError, unknown
from bench.results import frame
from bench.results.cell import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.report.claims import ClaimResult
    from bench.report.curves import Curves
    from bench.report.figures.style import Width
    from bench.report.ladder import Ladder
    from bench.report.published import Beside
    from bench.report.robustbench import Exported


_PAPER = ("fit", "rotate", "split")


@members_checked
class Outputs(ABC):
    """The part of `Results` that shows them.

    Attributes:
        cells: each with its outcome and the findings of the checks.
        study: the study that the run was for, if any.
        left_out: how many columns of attacks these rows had before they became a part.
    """

    cells: tuple[Result, ...]
    study: Study | None
    left_out: int

    @abstractmethod
    def groups(self) -> Sequence[Outputs]:
        """Return the results of each table: by dataset, split, number of images and seed."""

    @abstractmethod
    def under(self, study: str) -> Outputs:
        """Return the same cells as results of a study."""

    @abstractmethod
    def ladders(self, study: str = "") -> list[Ladder]:
        """Return the ladder of each defense under each threat model, where a study has rungs."""

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        """Return the tables as HTML, for notebooks."""
        return self.table("html")

    def table(
        self,
        style: str = "screen",
        *,
        width: int | None = None,
        cost: bool = False,
        columns: str = "",
        intervals: bool = True,
        best: bool = False,
        **paper: Any,  # noqa: ANN401  (those of `render`)
    ) -> str:
        """Return the table of accuracies, one for each set of images and seed.

        Args:
            style: `screen`, `grid`, `markdown`, `latex` or `html`.
            width: columns of the terminal that `screen` and `grid` must fit.
            cost: show the passes and seconds of every cell instead of accuracies.
            columns: which ones, such as `standard,autoattack@Linf,worst-all`; all of them if empty.
            intervals: whether each accuracy has its interval.
            best: bold the best of each column and what is not separated from it; not on the screen.
            **paper: for `latex`: `fit` (`column`, `page` or points), `rotate` and `split`.
        """
        from bench.report.costs import cost_table
        from bench.report.render import render
        from bench.report.tables import make_table

        for name in paper:
            if name not in _PAPER:
                raise unknown("argument of table", name, _PAPER)
        if width is not None and width < 1:
            raise BenchError(f"width={width} is out of range: give 1 or more columns of the terminal")
        tables = []
        groups = self.groups()
        for group in groups:
            table = (
                cost_table(group.cells)
                if cost
                else make_table(
                    group.cells,
                    columns,
                    intervals=intervals,
                    best=best,
                    strict=style == "latex",
                    left_out=self.left_out,
                )
            )
            if len(groups) > 1:  # two tables of one dataset may differ by that alone
                table = replace(
                    table, title=f"{table.title}, n={group.cells[0].cell.slice.n}, seed {group.cells[0].cell.seed}"
                )
            tables.append(render(table, style, width=width, **paper))
        return "\n\n".join(tables)

    def summary(self, *, width: int | None = None) -> str:
        """Return what a study is for as text: ladders, claims, published values; without a study, the table."""
        from bench.report import claims, ladder, published

        if self.study is None:
            return self.table(width=width)
        parts = (
            [f"{self.study.title}\n\n{ladder.render(self.ladders())}\n"]
            if self.study.rungs
            else [self.table(width=width)]
        )
        if self.study.claims:
            parts.append(f"\n{self.study.title}\n\n{claims.render(self.claims())}\n")
        if self.study.published:
            parts.append(
                f"\n{self.study.title}: published values beside ours\n\n{published.render(self.published())}\n"
            )
        return "\n".join(parts)

    def checks(self, *, width: int | None = None) -> str:
        """Return every row of every check, flagged or not, as text.

        Raises:
            BenchError: nothing was checked.
        """
        from bench.report.checks import render

        return render(self.cells, width)

    def leaderboard(self) -> str:
        """Return `ranking` as text."""
        from bench.report.leaderboard import render_ranking

        return render_ranking(self.cells, self.left_out)

    def to_json(self) -> list[dict[str, Any]]:
        """Return each table as plain data: the rows of `to_pandas`, and the notes that stand below the table."""
        from bench.report.tables import make_table

        found = []
        for group in self.groups():
            cell = group.cells[0].cell
            place = {"dataset": cell.slice.dataset, "split": cell.slice.split, "n": cell.slice.n, "seed": cell.seed}
            rows = {
                "rows": frame.records(group.cells),
                "notes": list(make_table(group.cells, left_out=self.left_out).notes),
            }
            found.append({**place, **rows})
        return found

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_pandas()` without its seconds as a CSV file: the same verdicts give the same bytes."""
        return frame.write_csv(self.cells, Path(path))

    def to_robustbench(self) -> Exported:
        """Return entries of RobustBench's leaderboard (`entries`, `notes`), which `write(folder)` writes."""
        from bench.api.export import robustbench

        return robustbench(self.cells)

    def curves(self, points: int = 8) -> Curves:
        """Return robust accuracy against eps, of minimum-norm attacks and of sweeps.

        Args:
            points: sizes of eps, 1 to 100, at which the distances of a minimum-norm attack are read.
        """
        from bench.report.curves import Curves, curves

        if not 1 <= points <= 100:
            raise BenchError(f"--points {points} is out of range: give 1 to 100")
        # A cap, because each point is a column of a table.
        return Curves(tuple(curves(self.cells, points)))

    def claims(self, study: str = "") -> list[ClaimResult]:
        """Return the claims of a study, each under each of its protocols, tested image by image; empty without claims.

        Args:
            study: a name or a file, for results that were loaded: a folder does not know the study of its runs.
        """
        from bench.report import claims

        if study:
            return self.under(study).claims()
        return claims.comparisons(self.cells, self.study) if self.study is not None else []

    def published(self) -> list[Beside]:
        """Return the published values that the study carries, each beside what was measured; empty without a study."""
        from bench.report.published import beside

        return beside(self.cells, self.study) if self.study is not None else []

    def plot_matrix(self, judge: str = "", *, width: Width = "page") -> Figure:
        """Draw every accuracy with its interval, a row for each defense; `width` is `column`, `page` or inches."""
        from bench.report.figures.matrix import matrix

        return matrix(self.cells, judge, width=width, left_out=self.left_out)

    def plot_forest(self, judge: str = "", *, width: Width = "page") -> Figure:
        """Draw the interval of every accuracy, a panel for each defense."""
        from bench.report.figures.forest import forest

        return forest(self.cells, judge, width=width, left_out=self.left_out)

    def plot_curves(self, points: int = 8, *, width: Width = "page") -> Figure:
        """Draw `curves`, a panel for each threat family."""
        from bench.report.figures import curves

        return curves.curves(self.curves(points).curves, width=width)

    def plot_ladder(self, study: str = "", *, width: Width = "page") -> Figure:
        """Draw `ladders`, a panel for each defense and threat model."""
        from bench.report.figures import ladder, places

        places.rows_of(self.cells)  # one set of images, as in every figure
        return ladder.ladder(self.ladders(study), width=width)

    def plot_cost(self, *, width: Width = "page") -> Figure:
        """Draw robust accuracy against the passes of the attack, a panel for each threat model."""
        from bench.report.figures.cost import cost

        return cost(self.cells, width=width)
