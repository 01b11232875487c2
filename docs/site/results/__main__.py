"""Makes every file that says what results/ holds, of its verdicts alone: `make results`.

Of each results/FOLDER with a page.toml: README.md, table.md, leaderboard.csv and report.html; of all of them together
docs/findings.md and the claims in README.md. With names, only these folders: `make results ONLY=cifar10`.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import claims_summary
import page_tables
import page_training
import run_commands
from page_file import ROOT, Page, pages
from prose import Prose, templates

import bench
from bench.errors import BenchError
from bench.machine.system import write_whole
from bench.results import frame
from bench.results.cell import Result

BEGIN, END = "<!-- claims: made by `make results` -->", "<!-- end of the claims -->"
# A page that is larger stays out of the repository; whoever wants it makes it with `bench report`.
LARGEST_REPORT = 2_000_000


@functools.cache
def load(folder: Path) -> bench.Results:
    """Return the results of a folder, read once."""
    return bench.load(folder)


def readme(page: Page, *, report: bool) -> str:
    """Return the README.md of a folder.

    Args:
        page: what it shows.
        report: whether there is a report.html to link to.
    """
    results = load(page.folder)
    said = Prose(results).rendered
    folder = f"results/{page.folder.name}"
    return (
        templates()
        .get_template("page.md.j2")
        .render(
            title=page_tables.escaped(page.title),
            commands=run_commands.of_study(page.study, results, folder)
            if page.study
            else run_commands.commands(results, folder),
            note=said(page.note),
            report=report,
            tables=[
                {
                    "title": page_tables.escaped(each.title),
                    "note": said(each.note),
                    "text": page_tables.accuracies(results, each),
                }
                for each in page.tables
            ],
            compared=page.compared
            and {
                "notes": [said(each.note) for each in page.compared if each.note],
                "text": page_tables.compared(results, page.compared),
            },
            claims=[_claims(page, at) for at in range(len(page.claims))],
            networks=said(page.networks),
            trained=page_training.trained(_all(page)),
        )
    )


def _claims(page: Page, at: int) -> dict[str, str]:
    tested = page.claims[at]
    folder = page.verdicts_of(tested)
    results = load(folder)
    (command,) = run_commands.of_study(tested.study, page_tables.part(results, tested.n), f"results/{folder.name}")
    return {
        "title": page_tables.title_of(page, tested),
        "command": command,
        "note": Prose(load(page.folder)).rendered(tested.note),
        "text": page_tables.claims(page_tables.tested(page, tested, results)),
    }


def _all(page: Page) -> list[Result]:
    """Return every result that a page is made of."""
    folders = dict.fromkeys([page.folder, *map(page.verdicts_of, page.claims)])
    return [result for folder in folders for result in load(folder)]


def findings(of: Sequence[Page]) -> str:
    """Return docs/findings.md."""
    verdicts = claims_summary.collected(of, load)
    link = "../results/{}/README.md"
    return (
        templates()
        .get_template("findings.md.j2")
        .render(
            overview=claims_summary.overview(verdicts, link),
            all=[
                {
                    "title": f"{page_tables.escaped(each.page.title)}: {page_tables.title_of(each.page, each.tested)}",
                    "page": page_tables.escaped(each.page.title),
                    "link": link.format(each.page.folder.name),
                    "text": page_tables.claims(each.found),
                }
                for each in verdicts
            ],
        )
    )


def with_claims(text: str, of: Sequence[Page]) -> str:
    """Return the README of the repository with the claims between its two marks.

    Raises:
        BenchError: the marks are not there, once each.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise BenchError(f"README.md must hold {BEGIN} and {END} once each: restore these lines")
    before, _, rest = text.partition(BEGIN)
    table = claims_summary.overview(claims_summary.collected(of, load), "results/{}/README.md")
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def made(page: Page, *, report: bool) -> dict[Path, bytes]:
    """Return what the text files of a folder must hold; `report` as of `readme`."""
    results = load(page.folder)
    return {
        page.folder / "README.md": readme(page, report=report).encode(),
        page.folder / "table.md": f"{results.table('markdown')}\n".encode(),
        page.folder / "leaderboard.csv": frame.encoded(frame.rows(results.cells)),
    }


def reported(page: Page) -> bytes:
    """Return the report page of a folder; empty where it is too large for the repository."""
    with tempfile.TemporaryDirectory() as folder:
        content = load(page.folder).report(Path(folder) / "report.html").read_bytes()
    if len(content) <= LARGEST_REPORT:
        return content
    print(f"results/{page.folder.name}: no report.html, it would have {len(content):,} bytes", file=sys.stderr)
    return b""


def together(of: Sequence[Page], root: Path = ROOT) -> dict[Path, bytes]:
    """Return what the files about all folders must hold."""
    readme_ = root / "README.md"
    return {
        root / "docs" / "findings.md": findings(of).encode(),
        readme_: with_claims(readme_.read_text(encoding="utf-8"), of).encode(),
    }


def main(names: Sequence[str], root: Path = ROOT) -> None:
    """Write the files of some folders, or of all of them if none is named, and those about all folders.

    Raises:
        BenchError: there is no such folder, or its page names what its verdicts do not hold; nothing was written.
    """
    every = pages(root)
    for name in names:
        if name not in [page.folder.name for page in every]:
            raise BenchError(f"results/{name} has no page.toml: docs/results-folder.md says how to write one")
    chosen = [page for page in every if not names or page.folder.name in names]
    files = together(every, root)
    for page in chosen:
        report = reported(page)
        files |= {page.folder / "report.html": report} if report else {}
        files |= made(page, report=bool(report))
    for path, content in files.items():
        write_whole(path, content)
        print(path.relative_to(root), file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", help="names below results/; all of them by default")
    try:
        main(parser.parse_args().folders)
    except BenchError as mistake:
        sys.exit(f"error: {mistake}")
