"""Commands that measure and make: run, check, import, train, download, selftest, audit and test-plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import completing, running, shared
from bench.cli.root import AsJson, app


@app.command()
@running
def run(
    csv: Annotated[Path | None, typer.Option(help="Also write the leaderboard of this run to a CSV file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show cells, passes and time; compute nothing.")] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="The same as --executor local: for a debugger, and to see what a defense prints."),
    ] = False,
    **options: Any,  # noqa: ANN401  (those of `bench.catalogue.options`)
) -> int:
    """Fill the matrix of defenses x attacks and print its table; the same command resumes."""
    from bench.cli.run import plan, run

    if debug:  # in place of any other executor, so that it can be added to a command that has failed
        options = {**options, "executor": "local", "ray_address": None}
    return plan(**options) if dry_run else run(csv, **options)


@app.command("search-attack")
@shared
def search_attack(
    *,
    defense: Annotated[
        str, typer.Option(autocompletion=completing("defense"), help="The one defense to attack, as for run.")
    ],
    budget: Annotated[
        int, typer.Option(help="PASSES of the search per image: forwards and backwards, draws included.")
    ],
    beside: Annotated[
        str,
        typer.Option(autocompletion=completing("attacks"), help="Attacks to run on the test images, too: adaptive."),
    ] = "",
    out: Annotated[Path, typer.Option(help="File of the attack that is found, for --attacks ./found.toml.")] = Path(
        "found.toml"
    ),
    random: Annotated[
        bool, typer.Option("--random", help="Random search, to compare with: every attack sees all images.")
    ] = False,
    dataset: str,
    data: Path | None,
    threat: str,
    n: int,
    seed: int,
    draws: int,
    batch: int,
    device: str,
    jobs: int,
    results: Path,
    weights: Path | None,
    checks: str,
    json: AsJson = False,
) -> int:
    """Search for an attack on validation images under a budget, then run it on test images and keep it as a file."""
    from bench.cli.search import search_attack

    return search_attack(
        defense,
        budget,
        json,
        beside=beside,
        out=out,
        random=random,
        dataset=dataset,
        data=data,
        threat=threat,
        n=n,
        seed=seed,
        draws=draws,
        batch=batch,
        device=device,
        jobs=jobs,
        results=results,
        weights=weights,
        checks=checks,
    )


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


@app.command("import")
@shared
def import_(
    file: Annotated[Path, typer.Argument(help="Adversarial examples: .pt, .pth, .npz or .npy, see docs/archives.md.")],
    *,
    defense: Annotated[
        str,
        typer.Option(autocompletion=completing("defense"), help="The one defense they were made against, as for run."),
    ],
    threat: str,
    source: Annotated[str, typer.Option(help="Who made them: 'Smith 2026, arXiv:2601.00001'.")] = "",
    name: Annotated[str, typer.Option(help="Call them import:NAME; by default after the file.")] = "",
    dataset: str,
    data: Path | None,
    n: int,
    seed: int,
    draws: int,
    batch: int,
    device: str,
    results: Path,
    weights: Path | None,
    checks: str,
    label: str,
) -> int:
    """Verify adversarial examples that others made and have the defense itself judge them; nothing is searched."""
    from bench.cli.archives import import_

    return import_(
        file,
        defense,
        threat,
        source=source,
        name=name,
        dataset=dataset,
        data=data,
        n=n,
        seed=seed,
        draws=draws,
        batch=batch,
        device=device,
        results=results,
        weights=weights,
        checks=checks,
        label=label,
    )


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
    note: Annotated[
        str, typer.Option(help="A sentence for the card, about the data or the circumstances: at most 300 characters.")
    ] = "",
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
        note=note,
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
