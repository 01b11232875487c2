"""The gate inside pytest: `pytest --bench-baseline FOLDER --bench-results FOLDER` has a test for each gated cell.

pytest loads this module in every run of everybody who has the package installed. So it imports nothing but pytest
until one of its options is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bench.report.ci.cases import Case

# The first part of every node id: `bench-gate::at x pgd-20 (Linf:0.2)`.
NAME = "bench-gate"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `bench gate`, all of them beginning with `--bench-`."""
    group = parser.getgroup("atop-bench", "robust accuracy (atop-bench)")
    group.addoption("--bench-baseline", metavar="FOLDER", help="Results folder to compare with: a test for each cell.")
    group.addoption("--bench-results", metavar="FOLDER", help="Results folder that is tested; else bench-results.")
    group.addoption(
        "--bench-floor",
        action="append",
        default=[],
        metavar="FLOOR",
        help="Least accuracy: at/pgd-20=0.40; repeatable.",
    )
    group.addoption("--bench-alpha", type=float, default=0.01, help="False-alarm rate of all cells together.")
    group.addoption("--bench-min-effect", type=float, default=0.01, help="Smallest drop that can fail, as a share.")
    group.addoption("--bench-must-detect", type=float, default=0.15, help="Drop that must be caught with 80 %% power.")
    group.addoption("--bench-allow-underpowered", action="store_true", help="Skip instead of fail with too few images.")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that make no sense before anything is collected, here and not in every worker of xdist."""
    if not _asked(config) or hasattr(config, "workerinput"):
        return
    from bench.api.stored import require_baseline, require_promises
    from bench.errors import BenchError
    from bench.report.floors import parse_floor

    option = config.option
    try:
        require_promises(option.bench_alpha, option.bench_min_effect, option.bench_must_detect)
        for text in option.bench_floor:
            parse_floor(text)
        for name in ("baseline", "results"):
            # `--bench-baseline="$BASELINE"` with a variable that is not set must not be a gate that holds nobody.
            if getattr(option, f"bench_{name}") == "":
                raise BenchError(f"--bench-{name} is empty: name a folder, or leave the option out")
        if option.bench_baseline is None and not option.bench_floor:
            raise BenchError("--bench-results needs --bench-baseline FOLDER or --bench-floor DEFENSE/ATTACK=SHARE")
        require_baseline(option.bench_baseline)
        if not Path(_results(config)).is_dir():
            raise BenchError(f"results folder {_results(config)!r} does not exist: fill it with 'bench run'")
    except BenchError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the cells behind the tests that were collected; first, so that `-k` chooses among them, too."""
    if _asked(config):
        items.extend(Gate.from_parent(session, name=NAME, nodeid=NAME).collect())


class Gate(pytest.Collector):
    """The cells of a gate."""

    def collect(self) -> Iterator[pytest.Item]:
        """Compare the folders, once, and yield a test for each cell."""
        from bench.api.stored import gate
        from bench.errors import BenchError
        from bench.report.ci.cases import COMPARISON, Case, cases

        option = self.config.option
        try:
            report = gate(
                option.bench_baseline,
                _results(self.config),
                floors=option.bench_floor,
                alpha=option.bench_alpha,
                min_effect=option.bench_min_effect,
                must_detect=option.bench_must_detect,
                allow_underpowered=option.bench_allow_underpowered,
            )
        except BenchError as error:
            if not hasattr(self.config, "workerinput"):
                raise pytest.UsageError(str(error)) from error
            # A worker of xdist has no way to say it but by a test.
            yield GateItem.from_parent(self, name=COMPARISON, case=Case(COMPARISON, "", "error", message=str(error)))
            return
        found = cases(report)
        several = len({case.group for case in found if case.group}) > 1
        for case in found:
            where = f" [{case.group}]" if several and case.group else ""
            yield GateItem.from_parent(self, name=f"{case.name}{where}", case=case)


class GateItem(pytest.Item):
    """One cell; it fails with the line that `bench gate` prints."""

    def __init__(self, *, case: Case, **more: Any) -> None:  # noqa: ANN401  (those of a node)
        super().__init__(**more)
        self.case = case
        if case.numbers:
            # For --junitxml, which shows them beside the test.
            self.user_properties.append(("bench-gate", "; ".join(case.numbers.splitlines())))

    def runtest(self) -> None:
        """Fail unless the cell passes."""
        if self.case.outcome == "skipped":
            pytest.skip(self.case.message)
        if self.case.outcome != "passed":
            raise Regressed(self.case.message)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ANN401
        """Return the line alone: there is no code of the user's to show."""
        if isinstance(excinfo.value, Regressed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        # No end of the node id: pytest -v would take it for the path of a function, and its points for levels of that.
        return self.path, None, f"{NAME}: {self.name}"


class Regressed(Exception):
    """A cell that a gate does not let through."""


def _asked(config: pytest.Config) -> bool:
    option = config.option
    return option.bench_baseline is not None or option.bench_results is not None or bool(option.bench_floor)


def _results(config: pytest.Config) -> str:
    from bench.catalogue.options import default_of

    return str(config.option.bench_results or default_of("results"))
