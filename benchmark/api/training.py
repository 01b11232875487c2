"""Training of a defense by its committed recipe."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.api.arguments import checked
from bench.catalogue import DEFENSES, training
from bench.catalogue.weights import card, locate, require_learned
from bench.datasets.load import load, name_in_paths
from bench.errors import BenchError, brief
from bench.harness.executors import pick_device
from bench.machine.processor import emulates_bfloat16
from bench.machine.system import keep_freed
from bench.report.outputs import require_folder

# Of a note in a card, in characters: two lines of a page.
_LONGEST_NOTE = 300
# Trainings of a diffusion model, and the `ft` of the defense `diffpure` that each is for.
_BY_DIFFUSION = {"diffpure": "", "atop-diffusion": "on"}


@checked
def train(
    name: str,
    *,
    dataset: str = "digits",
    data: Path | None = None,
    recipe: Mapping[str, str] | None = None,
    seed: int = 0,
    device: str = "auto",
    weights: Path | None = None,
    out: Path = Path("weights"),
    checkpoint_every: int = 500,
    minutes: float | None = None,
    note: str = "",
    watcher: Callable[[training.EpochProgress], None] | None = None,
) -> Path:
    """Train a defense and write its weights and their card; the same call goes on after a kill.

    Args:
        name: of the recipe: `standard`, `at`, `ap`, `atop`, ...
        dataset: what it is trained on.
        data: folder the datasets lie in.
        recipe: values that replace those of the recipe, as text: `{"epochs": "10"}`.
        seed: of the training.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        weights: folder of your own weights, searched for those that the recipe starts from.
        out: folder the weights are written to, below `DATASET/`.
        checkpoint_every: updates between two checkpoints from which the same call resumes.
        minutes: plan as many epochs as fit into so many minutes, and stop then.
        note: a sentence for the card about the data or the circumstances, on one line of at most 300 characters. It
            is no part of what the training is: a resumed one may have another.
        watcher: called with a `bench.catalogue.training.EpochProgress` every now and then.

    Returns:
        The safetensors file; its card lies beside it.

    Raises:
        BenchError: no such recipe, value or weights, or images are missing.
    """
    _require_numbers(seed, checkpoint_every)
    _require_note(note)
    budget = _budget(minutes)
    # Asked before images are read, so that a misspelled recipe is an error at once.
    needed = training.starts_from(name)
    require_folder("--out", out)
    device = pick_device(device)
    parts = {split: load(dataset, split, n=None, data=data) for split in ("train", "validation", "test")}
    label = parts["train"].dataset
    # Found before the training starts: a missing file must not cost the first hours.
    checkpoints = {start: locate(start, label, weights) for start in needed}
    for path in checkpoints.values():
        require_learned(path)
    keep_freed()
    return training.training()(
        name,
        parts["train"],
        parts["validation"],
        test=parts["test"],
        out=out / label,
        checkpoints=checkpoints,
        seed=seed,
        overrides={key: str(value) for key, value in (recipe or {}).items()},
        device=device,
        on_progress=watcher,
        command=_command(name, dataset, recipe or {}, seed),
        every=checkpoint_every,
        budget=budget,
        note=note.strip(),
    )


def slow_arithmetic(
    name: str, *, dataset: str = "digits", recipe: Mapping[str, str] | None = None, device: str = "auto"
) -> str | None:
    """Warn of a recipe in mixed precision on a processor that has to emulate it; `None` everywhere else.

    Nothing is changed by itself, because other arithmetic gives other weights. The arguments are those of `train`.

    Raises:
        BenchError: as `train` raises it.
    """
    if not emulates_bfloat16() or pick_device(device) != "cpu":
        return None
    given = {key: str(value) for key, value in (recipe or {}).items()}
    if not training.in_mixed_precision(name, name_in_paths(dataset), given):
        return None
    return (
        "this processor has no bfloat16 arithmetic, so the recipe's amp=true is emulated: "
        "--set amp=false trains 2 to 10 times faster here"
    )


def unfinished(weights: Path) -> Mapping[str, int] | None:
    """Return how far a training came before its minutes were over: `done` of `of` updates; `None` if it has ended."""
    found: Mapping[str, int] | None = card(weights).get("unfinished")
    return found


def run_of(weights: Path, dataset: str, out: Path) -> str:
    """Return the command that measures what was trained: `atop-clean-rt2` is `atop[ft=clean,rt=2]`."""
    named, _, rt = weights.stem.partition("-rt")
    trained, purifier, network = training.training_of(named)
    name, _, fine_tuning = trained.partition("-") if rt else (trained, "", "")
    if trained in _BY_DIFFUSION:
        name, fine_tuning = "diffpure", _BY_DIFFUSION[trained]
    chosen = {"ft": fine_tuning, "purifier": purifier, "network": network, **_purification(weights, trained), "rt": rt}
    inside = ",".join(f"{key}={value}" for key, value in chosen.items() if value)
    words = ["bench", "run", "--dataset", dataset, "--defenses", f"{name}[{inside}]" if inside else name]
    return shlex.join([*words, "--weights", str(out)])


def _purification(weights: Path, trained: str) -> dict[str, str]:
    """Return the parameters of a purification by diffusion, as far as the card tells others than the defaults."""
    if trained not in _BY_DIFFUSION:
        return {}
    recipe, usual = card(weights).get("recipe", {}), DEFENSES.get("diffpure").config
    told = {"t": f"{float(recipe.get('t', usual['t'])):g}", "steps": str(recipe.get("denoising_steps", usual["steps"]))}
    return {key: value for key, value in told.items() if value != usual[key]}


def _require_numbers(seed: int, every: int) -> None:
    if not 0 <= seed < 2**63:
        raise BenchError(f"--seed {seed} is out of range: give 0 to 2^63 - 1")
    if every < 1:
        raise BenchError(f"--checkpoint-every {every} is out of range: give 1 or more updates")


def _require_note(note: str) -> None:
    if len(note) > _LONGEST_NOTE:
        raise BenchError(f"--note has {len(note)} characters: a card takes a sentence of at most {_LONGEST_NOTE}")
    if not note.isprintable():
        raise BenchError(
            f"--note {brief(note)} is not one line of plain text: leave out line ends and control characters"
        )


def _budget(minutes: float | None) -> object | None:
    """Return the time budget, which starts now, because reading the images counts as well."""
    if minutes is None:
        return None
    if not 0 < minutes < float("inf"):
        raise BenchError(f"--minutes {minutes} is out of range: it must be positive")
    return training.budget(60 * minutes)


def _command(name: str, dataset: str, recipe: Mapping[str, str], seed: int) -> str:
    words = ["bench", "train", name, "--dataset", dataset]
    for key, value in recipe.items():
        words += ["--set", f"{key}={value}"]
    return shlex.join([*words, *(["--seed", str(seed)] if seed else [])])
