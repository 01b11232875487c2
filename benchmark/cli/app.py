"""The commands by name; each body is imported only when its command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import __version__

if TYPE_CHECKING:
    from bench.chosen import Chosen

app = typer.Typer(
    help="Robust accuracy of adversarial training, purification and AToP, measured honestly.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Results = Annotated[Path, typer.Option(help="Folder of stored verdicts.", envvar="BENCH_RESULTS", show_default=True)]
# Not `results`: in a checkout of this repository, and in many others, that is a folder under version control.
DEFAULT_RESULTS = Path("bench-results")
# Of what is stored; every command that reads a results folder takes them.
OfDefenses = Annotated[str, typer.Option("--defenses", help="Only these, with or without parameters: at,atop[rt=2].")]
OfAttacks = Annotated[str, typer.Option("--attacks", help="Only these: pgd-20,autoattack.")]
OfThreats = Annotated[str, typer.Option("--threat", help="Only these, a family or one of its sizes: Linf,L2:0.5.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
OfDataset = Annotated[str, typer.Option("--dataset", help="Only this dataset.")]
_DATASETS = "cifar10, cifar100, imagenette-160, imagenette-320 or 'imagefolder:PATH[resize=256,crop=224]'."
Dataset = Annotated[str, typer.Option(help=f"digits, {_DATASETS}")]
Data = Annotated[Path | None, typer.Option(help="Folder the datasets lie in; else $BENCH_DATA, else the user cache.")]
Weights = Annotated[Path | None, typer.Option(help="Folder of your own weights, searched before the shipped ones.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Seed = Annotated[int, typer.Option(help="Seed of the run.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"atop-bench {__version__}")
        raise typer.Exit


@app.command()
def run(
    defenses: Annotated[
        str | None, typer.Option(help="NAME,NAME[key=value],./file.py:function; all where no study says otherwise.")
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option(help="default, all, seen, unseen, none, lp, non-lp, score, decision, or names as for defenses."),
    ] = None,
    study: Annotated[
        str, typer.Option(help="ladder, convergence, or your own FILE.toml; other options outrank it.")
    ] = "",
    dataset: Annotated[str | None, typer.Option(help=f"digits (the default), {_DATASETS}")] = None,
    data: Data = None,
    threat: Annotated[
        str | None, typer.Option(help="FAMILY:EPS,... such as Linf:8/255,L2:0.5; else the usual ones.")
    ] = None,
    eps: Annotated[str | None, typer.Option(help="A sweep over eps of one family: 2/255,4/255,8/255.")] = None,
    n: Annotated[int | None, typer.Option(help="How many test images, the same ones every time; 128.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run; 0.")] = None,
    draws: Annotated[int | None, typer.Option(help="Evaluation draws that judge a stochastic defense; 10.")] = None,
    batch: Annotated[int, typer.Option(help="Images per shard; part of what a stochastic defense sees.")] = 128,
    device: Device = "auto",
    results: Results = DEFAULT_RESULTS,
    weights: Weights = None,
    executor: Annotated[str, typer.Option(help="auto, local or processes.")] = "auto",
    jobs: Annotated[int, typer.Option(help="Worker processes; 0: one per core.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="Also write the leaderboard of this run to a CSV file.")] = None,
    checks: Annotated[
        str, typer.Option(help="auto: probes within a tenth of the run; all of them; none, and no preflight.")
    ] = "auto",
    corruptions: Annotated[
        Path | None, typer.Option(help="Also a folder of corrupted images: CIFAR-10-C, or NAME/SEVERITY/CLASS/FILE.")
    ] = None,
    despite: Annotated[str, typer.Option(help="Compute cells in spite of these blocking checks: S05,S14.")] = "",
    precision: Annotated[
        str, typer.Option(help="float32: ask it as it is; auto: search in the fastest format here, confirm as it is.")
    ] = "float32",
    label: Annotated[
        str, typer.Option(help="Call the defenses of this run NAME#LABEL: beside others of that name in one folder.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show cells, passes and time; compute nothing.")] = False,
) -> int:
    """Fill the matrix of defenses x attacks and print its table; the same command resumes."""
    from bench.cli import matrix

    chosen = {
        "defenses": defenses,
        "attacks": attacks,
        "dataset": dataset,
        "threat": threat,
        "eps": eps,
        "n": n,
        "seed": seed,
        "draws": draws,
    }
    request = matrix.RunOptions(
        **matrix.settled(chosen, study),
        study=study,
        data=data,
        batch=batch,
        device=device,
        results=results,
        weights=weights,
        executor=executor,
        jobs=jobs,
        csv=csv,
        checks=checks,
        despite=despite,
        corruptions=corruptions,
        precision=precision,
        label=label,
    )
    return matrix.plan(request) if dry_run else matrix.fill(request)


def _chosen(defenses: str, attacks: str, threat: str, dataset: str) -> Chosen:
    from bench.chosen import Chosen

    return Chosen(defenses, attacks, threat, dataset)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="attacks, defenses, datasets or all.")] = "all",
    json: AsJson = False,
) -> int:
    """List the registered defenses, attacks and datasets."""
    from bench.cli import registered

    return registered.list_(kind, json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A defense, an attack, or the file of a finished cell.")],
    dataset: Dataset = "digits",
) -> int:
    """Show what a defense or an attack is, or who spent the passes of a cell."""
    if name.endswith(".json"):
        from bench.cli import cells

        return cells.show(Path(name))
    from bench.cli import registered

    return registered.show(name, dataset)


@app.command()
def check(
    defense: Annotated[str, typer.Argument(help="NAME, NAME[key=value] or ./file.py:function")],
    dataset: Dataset = "digits",
    data: Data = None,
    n: Annotated[int, typer.Option(help="How many test images stand for the benchmark.")] = 128,
    device: Device = "auto",
    weights: Weights = None,
    json: Annotated[bool, typer.Option("--json", help="All rows, as JSON.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="What each finding means, and what to run next.")] = False,
) -> int:
    """Examine a defense before any attack (S01-S17); 1 when a check flags or blocks it."""
    from bench.cli import checks

    return checks.check(defense, dataset, data, n, device, weights, json, explain)


@app.command()
def train(
    name: Annotated[
        str,
        typer.Argument(
            help="standard, at, at-l2, at-stadv, fgsm-rs, trades, ap, diffpure, atop, atop-clean or atop-paper; "
            "standard-, at-, ap- and atop-resnet-18 for a GPU."
        ),
    ],
    dataset: Dataset = "digits",
    data: Data = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value of the recipe; repeatable.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    weights: Weights = None,
    out: Annotated[Path, typer.Option(help="Folder the weights and their card go to, below DATASET/.")] = Path(
        "weights"
    ),
    checkpoint_every: Annotated[int, typer.Option(help="Updates between two notes of where it stands.")] = 500,
    minutes: Annotated[
        float | None, typer.Option(help="Plan as many epochs as fit into so many minutes, and stop then.")
    ] = None,
) -> int:
    """Train a defense by its committed recipe and write weights and card; the same command goes on after a kill."""
    from bench.cli import training

    return training.train(name, dataset, data, set_ or [], seed, device, weights, out, checkpoint_every, minutes)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="cifar10, cifar100, imagenette-160 or imagenette-320.")],
    data: Data = None,
) -> int:
    """Download a dataset into the data folder; no other command uses the network for data."""
    from bench.cli import downloads

    return downloads.download(name, data)


@app.command()
def table(
    results: Results = DEFAULT_RESULTS,
    format: Annotated[str, typer.Option(help="screen, grid, markdown or latex.")] = "screen",  # noqa: A002
    checks: Annotated[bool, typer.Option("--checks", help="Print every row of the checks instead.")] = False,
    cost: Annotated[bool, typer.Option("--cost", help="Print the passes of every cell instead.")] = False,
    defenses: OfDefenses = "",
    attacks: OfAttacks = "",
    threat: OfThreats = "",
    dataset: OfDataset = "",
    json: AsJson = False,
) -> int:
    """Print the table of stored verdicts, all that the checks say of them, or what they cost."""
    from bench.cli import outputs

    chosen = _chosen(defenses, attacks, threat, dataset)
    if checks:
        return outputs.findings(results, chosen)
    return outputs.table(results, chosen, format, cost=cost, as_json=json)


folder = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, verify or prune a results folder.")
app.add_typer(folder, name="results")


@folder.command("list")
def results_list(
    results: Results = DEFAULT_RESULTS,
    json: AsJson = False,
) -> int:
    """List the runs that filled a folder: when, what, and by which code."""
    from bench.cli import folder

    return folder.list_(results, json)


@folder.command("verify")
def results_verify(results: Results = DEFAULT_RESULTS) -> int:
    """Read every document of a folder; 1 when one is not as it was written."""
    from bench.cli import folder

    return folder.verify(results)


@folder.command("prune")
def results_prune(
    results: Results = DEFAULT_RESULTS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> int:
    """Remove documents that no run asked for, and temporary files and locks of runs that died."""
    from bench.cli import folder

    return folder.prune(results, dry_run)


@app.command()
def curve(
    results: Results = DEFAULT_RESULTS,
    points: Annotated[int, typer.Option(help="Sizes of eps a minimum-norm attack's distances are read at.")] = 8,
    csv: Annotated[Path | None, typer.Option(help="Also write every point with its interval to a CSV file.")] = None,
    defenses: OfDefenses = "",
    attacks: OfAttacks = "",
    threat: OfThreats = "",
    dataset: OfDataset = "",
) -> int:
    """Print robust accuracy against eps, of minimum-norm attacks and of sweeps."""
    from bench.cli import outputs

    return outputs.curve(results, _chosen(defenses, attacks, threat, dataset), points, csv)


@app.command()
def leaderboard(
    results: Results = DEFAULT_RESULTS,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file instead of printing.")] = None,
    defenses: OfDefenses = "",
    attacks: OfAttacks = "",
    threat: OfThreats = "",
    dataset: OfDataset = "",
    json: AsJson = False,
) -> int:
    """Rank the stored defenses by their worst case, ties shown as ties."""
    from bench.cli import outputs

    return outputs.leaderboard(results, _chosen(defenses, attacks, threat, dataset), csv, as_json=json)


@app.command()
def gate(
    baseline: Annotated[Path, typer.Option(help="Results folder to compare with.")],
    results: Results = DEFAULT_RESULTS,
    alpha: Annotated[float, typer.Option(help="False-alarm rate of the whole gate.")] = 0.01,
    min_effect: Annotated[
        float, typer.Option(help="Smallest drop that can fail, as a share: 0.01 is one point.")
    ] = 0.01,
    must_detect: Annotated[float, typer.Option(help="Drop that must be caught with 80 % power.")] = 0.15,
    allow_underpowered: Annotated[bool, typer.Option("--allow-underpowered", help="Exit 0 instead of 4.")] = False,
    defenses: OfDefenses = "",
    attacks: OfAttacks = "",
    threat: OfThreats = "",
    dataset: OfDataset = "",
    json: AsJson = False,
) -> int:
    """Fail when robust accuracy has really dropped: paired, exact, corrected for the number of cells."""
    from bench.cli import outputs

    chosen = _chosen(defenses, attacks, threat, dataset)
    promises = (alpha, min_effect, must_detect, allow_underpowered)
    return outputs.gate(baseline, results, chosen, *promises, as_json=json)


@app.command()
def doctor(
    data: Data = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what has to import torchvision.")] = False,
) -> int:
    """Say what is installed, what is found and what is repaired, with the command that mends the rest."""
    from bench.cli import health

    return health.doctor(data, quick)


@app.command()
def selftest(
    attacks: Annotated[str, typer.Option(help="Only these attacks; all of the golden ones where empty.")] = "",
    device: Device = "auto",
    jobs: Annotated[int, typer.Option(help="Worker processes; 0: one per core.")] = 0,
    golden: Annotated[Path | None, typer.Option(help="Golden verdicts of your own; else the shipped ones.")] = None,
    record: Annotated[Path | None, typer.Option(help="Write golden verdicts instead of comparing.")] = None,
) -> int:
    """Run known attacks on shipped defenses and fail if any became weaker than its golden verdicts."""
    from bench.cli import health

    return health.selftest(attacks, device, jobs, golden, record)


@app.command()
def audit(
    claim: Annotated[Path, typer.Argument(help="TOML file of a published number and its protocol: docs/claims.md.")],
    json: AsJson = False,
) -> int:
    """Examine a published robustness claim: is k/n possible, what is resolved, which faults apply."""
    from bench.cli.audit import audit

    return audit(claim, json)
