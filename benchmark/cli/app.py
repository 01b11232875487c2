"""The commands by name; the body of each is imported only when it runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench import __version__
from bench.cli.help import SETTINGS, Commands
from bench.cli.options import completing, reading, running, shared

if TYPE_CHECKING:
    from bench.api.results import Results
else:
    Results = object  # read when a command runs

app = typer.Typer(
    cls=Commands,
    help="Robust accuracy of adversarial training, purification and AToP, measured honestly.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"atop-bench {__version__}")
        raise typer.Exit


@app.command()
@running
def run(
    csv: Annotated[Path | None, typer.Option(help="Also write the leaderboard of this run to a CSV file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show cells, passes and time; compute nothing.")] = False,
    **options: Any,  # noqa: ANN401  (those of `bench.catalogue.options`)
) -> int:
    """Fill the matrix of defenses x attacks and print its table; the same command resumes."""
    from bench.cli.run import plan, run

    return plan(**options) if dry_run else run(csv, **options)


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(autocompletion=completing("kind"), help="attacks, defenses, datasets, studies or all.")
    ] = "all",
    json: AsJson = False,
) -> int:
    """List the registered defenses, attacks and datasets."""
    from bench.cli.show import list_

    return list_(kind, json)


@app.command()
@shared
def show(
    name: Annotated[
        str,
        typer.Argument(autocompletion=completing("show"), help="A defense, an attack, or the file of a finished cell."),
    ],
    dataset: str,
) -> int:
    """Show what a defense or an attack is, or who spent the passes of a cell."""
    from bench.cli.show import show

    return show(name, dataset)


@app.command()
@shared
def check(
    defense: Annotated[
        str, typer.Argument(autocompletion=completing("defense"), help="NAME, NAME[key=value] or ./file.py:function")
    ],
    dataset: str,
    data: Path | None,
    n: int,
    device: str,
    weights: Path | None,
    json: Annotated[bool, typer.Option("--json", help="All rows, as JSON.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="What each finding means, and what to run next.")] = False,
) -> int:
    """Examine a defense before any attack (S01-S17); 1 when a check flags or blocks it."""
    from bench.cli.check import check

    return check(defense, json, explain, dataset=dataset, data=data, n=n, device=device, weights=weights)


@app.command()
@shared
def train(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=completing("recipe"),
            help="standard, at, at-l2, at-stadv, fgsm-rs, trades, ap, diffpure, atop, atop-clean or atop-paper; "
            "standard-, at-, ap- and atop-resnet-18 for a GPU.",
        ),
    ],
    *,
    dataset: str,
    data: Path | None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value of the recipe; repeatable.")] = None,
    seed: int,
    device: str,
    weights: Path | None,
    out: Annotated[Path, typer.Option(help="Folder the weights and their card go to, below DATASET/.")] = Path(
        "weights"
    ),
    checkpoint_every: Annotated[int, typer.Option(help="Updates between two notes of where it stands.")] = 500,
    minutes: Annotated[
        float | None, typer.Option(help="Plan as many epochs as fit into so many minutes, and stop then.")
    ] = None,
) -> int:
    """Train a defense by its committed recipe and write weights and card; the same command goes on after a kill."""
    from bench.cli.train import train

    return train(
        name,
        set_ or [],
        out,
        dataset=dataset,
        data=data,
        seed=seed,
        device=device,
        weights=weights,
        checkpoint_every=checkpoint_every,
        minutes=minutes,
    )


@app.command()
@shared
def download(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=completing("archive"), help="cifar10, cifar100, imagenette-160 or imagenette-320."
        ),
    ],
    data: Path | None,
) -> int:
    """Download a dataset into the data folder; no other command uses the network for data."""
    from bench.cli.download import download

    return download(name, data)


def _known_format(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.report import require_format

    require_format(**options)


def _sound_promises(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.api import require_promises

    require_promises(**options)


@app.command()
@partial(reading, require=_known_format)
def table(
    results: Results,
    format: Annotated[  # noqa: A002
        str, typer.Option(autocompletion=completing("format"), help="screen, grid, markdown or latex.")
    ] = "screen",
    checks: Annotated[bool, typer.Option("--checks", help="Print every row of the checks instead.")] = False,
    cost: Annotated[bool, typer.Option("--cost", help="Print the passes of every cell instead.")] = False,
    json: AsJson = False,
) -> int:
    """Print the table of stored verdicts, all that the checks say of them, or what they cost."""
    from bench.cli import report

    if checks:
        return report.findings(results)
    return report.table(results, format, cost=cost, as_json=json)


folder = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode=None, help="List, verify or prune a results folder."
)
app.add_typer(folder, name="results")


@folder.command("list")
@shared
def results_list(
    results: Path,
    json: AsJson = False,
) -> int:
    """List the runs that filled a folder: when, what, and by which code."""
    from bench.cli.results import list_

    return list_(results, json)


@folder.command("verify")
@shared
def results_verify(results: Path) -> int:
    """Read every document of a folder; 1 when one is not as it was written."""
    from bench.cli.results import verify

    return verify(results)


@folder.command("prune")
@shared
def results_prune(
    results: Path,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> int:
    """Remove documents that no run asked for, and temporary files and locks of runs that died."""
    from bench.cli.results import prune

    return prune(results, dry_run)


@app.command()
@reading
def curve(
    results: Results,
    points: Annotated[int, typer.Option(help="Sizes of eps a minimum-norm attack's distances are read at.")] = 8,
    csv: Annotated[Path | None, typer.Option(help="Also write every point with its interval to a CSV file.")] = None,
) -> int:
    """Print robust accuracy against eps, of minimum-norm attacks and of sweeps."""
    from bench.cli import report

    return report.curve(results, points, csv)


@app.command()
@reading
def leaderboard(
    results: Results,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file instead of printing.")] = None,
    json: AsJson = False,
) -> int:
    """Rank the stored defenses by their worst case, ties shown as ties."""
    from bench.cli import report

    return report.leaderboard(results, csv, as_json=json)


@app.command()
@partial(reading, require=_sound_promises)
def gate(
    baseline: Annotated[Path, typer.Option(help="Results folder to compare with.")],
    results: Results,
    alpha: Annotated[float, typer.Option(help="False-alarm rate of the whole gate.")] = 0.01,
    min_effect: Annotated[
        float, typer.Option(help="Smallest drop that can fail, as a share: 0.01 is one point.")
    ] = 0.01,
    must_detect: Annotated[float, typer.Option(help="Drop that must be caught with 80 % power.")] = 0.15,
    allow_underpowered: Annotated[bool, typer.Option("--allow-underpowered", help="Exit 0 instead of 4.")] = False,
    json: AsJson = False,
) -> int:
    """Fail when robust accuracy has really dropped: paired, exact, corrected for the number of cells."""
    from bench.cli import report

    promises = (alpha, min_effect, must_detect, allow_underpowered)
    return report.gate(baseline, results, *promises, as_json=json)


@app.command()
@shared
def doctor(
    data: Path | None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what has to import torchvision.")] = False,
) -> int:
    """Say what is installed, what is found and what is repaired, with the command that mends the rest."""
    from bench.cli.doctor import doctor

    return doctor(data, quick)


@app.command()
@shared
def selftest(
    *,
    attacks: Annotated[str, typer.Option(help="Only these attacks; all of the golden ones where empty.")] = "",
    device: str,
    jobs: int,
    golden: Annotated[Path | None, typer.Option(help="Golden verdicts of your own; else the shipped ones.")] = None,
    record: Annotated[Path | None, typer.Option(help="Write golden verdicts instead of comparing.")] = None,
) -> int:
    """Run known attacks on shipped defenses and fail if any became weaker than its golden verdicts."""
    from bench.cli.selftest import selftest

    return selftest(golden, record, attacks, device=device, jobs=jobs)


@app.command()
def audit(
    claim: Annotated[Path, typer.Argument(help="TOML file of a published number and its protocol: docs/claims.md.")],
    json: AsJson = False,
) -> int:
    """Examine a published robustness claim: is k/n possible, what is resolved, which faults apply."""
    from bench.cli.audit import audit

    return audit(claim, json)


@app.command("test-plugin")
@shared
def plugin(
    target: Annotated[
        str,
        typer.Argument(help="./mine.py:attack, ./mine.py:build, with parameters in brackets, or a registered name."),
    ],
    *,
    dataset: str,
    threat: Annotated[str, typer.Option(help="Try an attack under these: Linf,L2:0.5; else all it is for.")] = "",
    data: Path | None,
    device: str,
    weights: Path | None,
    json: AsJson = False,
) -> int:
    """Hold an attack or a defense of yours to the contracts that ours keep; 1 when one is broken."""
    from bench.cli.test_plugin import hold_to_contracts

    return hold_to_contracts(target, json, dataset=dataset, threat=threat, data=data, device=device, weights=weights)


@app.command("example")
def example_(
    kind: Annotated[str, typer.Argument(help="attack or defense.")],
) -> int:
    """Print a complete file to begin with: bench example attack > mine.py."""
    from bench.cli.show import example

    return example(kind)
