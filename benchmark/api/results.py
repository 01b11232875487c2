"""Results of a run or of a folder: every cell, the accuracies made from them, and parts of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from bench.api.arguments import members_checked
from bench.api.images import Images, exactly, images_of, save_images
from bench.api.outputs import Outputs
from bench.catalogue.study import Study
from bench.catalogue.study import read as read_study
from bench.datasets.examples import Examples
from bench.errors import BenchError, unknown
from bench.results import frame, known, ranking
from bench.results.accuracy import WORST_CASES, DefenseRow, Score, Which, by_slice, defense_rows
from bench.results.cell import Cell, Result
from bench.results.filter import Filter, left_out
from bench.results.finding import Finding
from bench.results.judging import Accuracy, Judge
from bench.results.outcome import Failed
from bench.results.ranking import Ranked
from bench.results.store import Store
from bench.threats import ThreatModel

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.comparison import Comparison
    from bench.report.gate_report import GateReport
    from bench.report.ladder import Ladder
    from bench.report.optimality import AttackComparison

Names = str | Sequence[str]


@members_checked
@dataclass(frozen=True, repr=False)
class Results(Outputs, Sequence[Result]):
    """The cells of a run or of a folder, in the order of the table.

    Attributes:
        cells: each with its outcome and the findings of the checks.
        store: where they lie.
        data: their images, if they are in memory.
        study: the study that the run was for, if any.
        keep: an object that must stay alive as long as this one, such as a temporary folder.
        left_out: how many columns of attacks these rows had before they became a part.
    """

    cells: tuple[Result, ...]
    store: Store
    data: Examples | None = None
    study: Study | None = None
    keep: object = field(default=None, compare=False)
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.cells)

    @overload
    def __getitem__(self, at: int) -> Result: ...

    @overload
    def __getitem__(self, at: slice) -> Results: ...

    def __getitem__(self, at: int | slice) -> Result | Results:
        return self._with(self.cells[at]) if isinstance(at, slice) else self.cells[at]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.cells)

    def __repr__(self) -> str:
        defenses, attacks = ({each(cell) for cell in self.cells} for each in (_defense, _attack))
        return f"<{len(self)} results: {len(defenses)} defenses, {len(attacks)} attacks, {len(self.failed)} failed>"

    def only(self, defenses: Names = "", attacks: Names = "", threat: Names = "", dataset: str = "") -> Results:
        """Return a part of the results; worst cases of a part are over the attacks that are left, as its tables say.

        Args:
            defenses: labels, or names without their parameters: `at,atop` also chooses `atop[rt=2]`, `atop[]` does
                not. One text, or a list.
            attacks: as for defenses.
            threat: families, or threat models: `Linf` takes every eps.
            dataset: one dataset.

        Raises:
            BenchError: a name that none of the results has.
        """
        kept = tuple(Filter(_joined(defenses), _joined(attacks), _joined(threat), dataset).of(self.cells))
        return replace(self._with(kept), left_out=self.left_out + left_out(kept, self.cells))

    def to_pandas(self) -> pd.DataFrame:
        """Return every accuracy as a row: a defense, a way to judge it, an attack or a worst case.

        Accuracies and the ends of their Wilson 95 % intervals (`low`, `high`) are in percent.
        """
        return frame.frame(self.cells)

    def examples(self) -> pd.DataFrame:
        """Return a row per image and cell: its id, and in how many of the draws the defense was right.

        `clean` counts without attack, `adversarial` under it, both out of `draws`; `distance` is how far a
        minimum-norm attack had to go, NaN where it is not known.
        """
        return frame.per_example([(result, self._ids(result.cell)) for result in self.cells])

    def images(self, defense: str = "", attack: str = "", threat: str = "") -> Images:
        """Return the stored images of one cell: up to 32, or as many as fit into a megabyte.

        Args:
            defense: its label; not needed if there is only one.
            attack: likewise.
            threat: likewise.

        Raises:
            BenchError: these name several cells or none, or none of its images are kept.
        """
        return self._images(defense, attack, threat)[1]

    def accuracy(self, defense: str, attack: str = "", threat: str = "", judge: str = "") -> Accuracy:
        """Return robust accuracy under one attack, or standard accuracy if none is named.

        Args:
            defense: its label.
            attack: its label; empty for the images themselves.
            threat: needed if the attack was run under several.
            judge: `mean`, `worst`, `majority` or `resubmission` of a stochastic defense; the first by default.

        Raises:
            BenchError: there is no such row or column, or no number in it.
        """
        row, judged = self._row(defense, judge)
        if not attack:
            return _number(row.standard(judged), f"{defense} without attack")
        there = (*row.attacked, *row.known_draws, *row.imported)
        columns = [each for each in there if each.attack == attack and threat in ("", str(each.threat))]
        if not columns:
            raise unknown("attack of these results", attack, dict.fromkeys(each.attack for each in there))
        if len(columns) > 1:
            raise BenchError(f"{attack!r} was run under {', '.join(str(each.threat) for each in columns)}: name one")
        return _number(row.score(columns[0], judged), f"{defense} x {attack}")

    def worst(self, defense: str, which: Which = "all", judge: str = "") -> Accuracy:
        """Return the per-example worst case over attacks.

        Args:
            defense: its label.
            which: over those that are `seen`, `unseen`, or `all`.
            judge: as for `accuracy`.
        """
        if which not in WORST_CASES:
            raise unknown("worst case", which, WORST_CASES)
        row, judged = self._row(defense, judge)
        return _number(row.worst(which, judged), f"{defense}, worst case {which}")

    def best_known(self, defense: str, threat: str = "", judge: str = "") -> Accuracy:
        """Return the per-example worst case over all attacks and the archives of others (`bench import`).

        Args:
            defense: its label.
            threat: only what was made under this threat model; by default everything.
            judge: as for `accuracy`.
        """
        row, judged = self._row(defense, judge)
        under = ThreatModel.parse(threat) if threat else None
        return _number(known.best_known(row, judged, under), f"{defense}, best known")

    def ranks(self) -> list[dict[str, Any]]:
        """Return `ranking` as plain data, the best first; accuracies in percent."""
        return ranking.ranks(self.cells)

    def generalization(self) -> list[dict[str, Any]]:
        """Return how far robustness reaches beyond the training: a row for each defense and measure, in percent."""
        from bench.results import generalization

        return generalization.records(self.cells)

    def ranking(self) -> list[Ranked]:
        """Return the defenses by their worst case, ties shown as ties."""
        return ranking.ranking(self.cells)

    @property
    def failed(self) -> list[tuple[Cell, str]]:
        """Return the cells that failed, each with its error."""
        return [(each.cell, each.outcome.error) for each in self.cells if isinstance(each.outcome, Failed)]

    @property
    def missing(self) -> list[Cell]:
        """Return the cells without an outcome: not computed yet, or blocked by a check."""
        return [each.cell for each in self.cells if each.outcome is None]

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        """Return the findings that flag or block a defense, each once, with the label of the defense."""
        rows = [(each.cell.defense.label, found) for each in self.cells for found in each.findings if found.alarming]
        return list(dict.fromkeys(rows))

    def gate(self, baseline: Results | str | os.PathLike[str] | None = None, **promises: Any) -> GateReport:  # noqa: ANN401
        """Compare with a baseline image by image: has robust accuracy really dropped?

        Args:
            baseline: results, or the folder they lie in; needed unless there are `floors`.
            **promises: `floors`, `alpha`, `min_effect`, `must_detect`, `allow_underpowered` and `no_failed`, as of
                `bench.gate`.
        """
        from bench.api.stored import gate

        return gate(baseline, self, **promises)

    def compare(self, a: str, b: str = "", *, other: Results | str | os.PathLike[str] | None = None) -> Comparison:
        """Compare two defenses image by image; arguments as of `bench.api.compare`."""
        from bench.api.stored import compare

        return compare(self, a, b, other=other)

    def compare_attacks(self) -> AttackComparison:
        """Compare the attacks on each defense with the best of all, image by image, as `bench.api.compare_attacks`."""
        from bench.api.stored import compare_attacks

        return compare_attacks(self)

    def groups(self) -> list[Results]:
        """Return the results of each table: by dataset, split, number of images and seed."""
        apart: dict[tuple[object, ...], list[Result]] = {}
        for group in by_slice(self.cells):
            for result in group:
                part = result.cell.slice
                apart.setdefault((part.dataset, part.split, part.n, result.cell.seed), []).append(result)
        return [self._with(tuple(group)) for group in apart.values()]

    def ladders(self, study: str = "") -> list[Ladder]:
        """Return the ladder of each defense under each threat model, where a study has rungs.

        Args:
            study: a name or a file, for results that were loaded: a folder does not know the study of its runs.
        """
        from bench.harness.controls import control
        from bench.report import ladder

        if study:
            return self.under(study).ladders()
        if self.study is None:
            raise BenchError("these results are of no study: name one, such as ladders('ladder') or --study ladder")
        # Controls are cells that no table shows, so they are stored beside the others.
        aside = self.store.aside()
        return ladder.ladders(self.cells, self.study, lambda cell: aside.find(control(cell, "base")))

    def report(self, path: str | os.PathLike[str], study: str = "") -> Path:
        """Write one HTML page of everything: matrix, leaderboard, figures, images, every cell, checks and provenance.

        The page loads nothing from anywhere, is whole without JavaScript, and repeats byte for byte.

        Args:
            path: the file.
            study: read the results as this study, by name or as a TOML file.

        Raises:
            BenchError: no cells, an unwritable path, or a library of the extra `report` is missing.
        """
        from bench.api.report import report

        return report(self, path, study)

    def save_images(
        self, folder: str | os.PathLike[str], defense: str = "", attack: str = "", threat: str = ""
    ) -> tuple[Path, Path]:
        """Write the stored images of one cell, chosen as by `images`: a picture (PNG) and arrays (NPZ); return both."""
        cell, images = self._images(defense, attack, threat)
        return save_images(cell, images, self._ids(cell), Path(folder))

    def under(self, study: str) -> Results:
        """Return the same cells as results of a study: its `summary()`, `ladders()` and `published()`.

        Args:
            study: the name of one of ours, or the path of a TOML file.
        """
        return replace(self, study=read_study(study))

    def _images(self, defense: str, attack: str, threat: str) -> tuple[Cell, Images]:
        found = self.only(defense, attack, threat) if defense or attack or threat else self
        return images_of(exactly(found.cells, defense, attack), self.store, self.data)

    def _with(self, cells: tuple[Result, ...]) -> Results:
        return Results(cells, self.store, self.data, self.study, self.keep, self.left_out)

    def _row(self, defense: str, judge: str) -> tuple[DefenseRow, Judge]:
        rows = [row for row in defense_rows(self.cells) if row.defense.label == defense]
        if not rows:
            raise unknown("defense of these results", defense, dict.fromkeys(map(_defense, self.cells)))
        if len(rows) > 1:
            raise BenchError(f"{defense!r} was asked about several sets of images: take one of groups()")
        # An empty name takes the first, which is the headline.
        judged = [each for each in rows[0].judges if judge in ("", each.rule, each.name)]
        if not judged:
            raise unknown("judge", judge, [each.rule for each in rows[0].judges])
        return rows[0], judged[0]

    def _ids(self, cell: Cell) -> list[str]:
        """Return the ids of the images of a cell; their numbers if the ids are not known."""
        if self.data is not None and self.data.digest == cell.slice.digest:
            return list(self.data.ids)
        # Fingerprints are `id:hash`, and an id may hold a colon itself.
        known = [name.rpartition(":")[0] for name in cell.slice.examples]
        return known or [str(index) for index in range(cell.slice.n)]


def _joined(names: Names) -> str:
    if not isinstance(names, str) and not names:
        raise BenchError("an empty list names nothing: leave it out for everything")
    return names if isinstance(names, str) else ",".join(names)


def _defense(result: Result) -> str:
    return result.cell.defense.label


def _attack(result: Result) -> str:
    return result.cell.attack.label


def _number(score: Score, where: str) -> Accuracy:
    if score.accuracy is None:
        raise BenchError(f"{where} has no number: {score.reason or score.state}")
    return score.accuracy
