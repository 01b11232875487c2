"""What was trained: the networks behind the defenses of a folder, from the cards of their weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page_tables import markdown

import bench
from bench.catalogue import resolve, weights
from bench.catalogue.request import parse_one
from bench.errors import BenchError
from bench.report.plain import flat
from bench.report.render import Table, TableCell
from bench.results.stats import wilson

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_ARCHITECTURES = {"resnet": "ResNet", "unet": "U-Net", "gan": "GAN"}


@dataclass(frozen=True)
class Network:
    """A file of weights and its card.

    Attributes:
        name: of the weights: `atop-rt1`.
        card: as `bench train` wrote it.
        parameters: how many numbers were learned.
    """

    name: str
    card: Mapping[str, Any]
    parameters: int

    @property
    def architecture(self) -> str:
        """Return the architecture as papers write it: `ResNet-8, width 16`."""
        told = self.card.get("architecture", {})
        words = str(told.get("name", "")).split("-")
        name = "-".join([_ARCHITECTURES.get(words[0], words[0]), *words[1:]])
        return ", ".join([name, *(f"{key} {value}" for key, value in sorted(told.items()) if key == "width")])

    @property
    def seconds(self) -> float:
        return float(self.card.get("seconds", 0.0))


def networks(results: bench.Results) -> tuple[dict[str, Network], dict[str, list[str]], list[str]]:
    """Return the networks behind the defenses of some results, those that they were fine-tuned from included.

    Returns:
        The networks by name of the weights; these names by label of the defense; and why some have none: weights that
        are not in the repository, or no longer those of the verdicts.
    """
    found: dict[str, Network] = {}
    behind: dict[str, list[str]] = {}
    lacking: list[str] = []
    for (dataset, label), ref in {
        (e.cell.slice.dataset, e.cell.defense.label): e.cell.defense for e in results
    }.items():
        try:
            now = resolve.defense(parse_one(label, "defense"), dataset, None)
        except BenchError as error:
            lacking.append(f"{flat(label)}: {flat(str(error))}")
            continue
        if now.digest != ref.digest:
            lacking.append(f"{flat(label)}: its verdicts are of other weights or code than those here")
            continue
        behind[label] = list(now.checkpoints)
        for name, path in now.checkpoints.items():
            _collect(name, Path(path), dataset, found)
    return found, behind, lacking


def _collect(name: str, path: Path, dataset: str, found: dict[str, Network]) -> None:
    """Add a network, after those that its training began with."""
    if name in found:
        return
    card = weights.card(path)
    for parent in card.get("parents", {}):
        _collect(parent, weights.locate(parent, dataset, None), dataset, found)
    found[name] = Network(name, card, learned(path))


def learned(path: Path) -> int:
    """Return how many numbers of a safetensors file were learned, without the running statistics of norms."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    sizes = {name: math.prod(told["shape"]) for name, told in header.items() if name != "__metadata__"}
    return sum(size for name, size in sizes.items() if name.rpartition(".")[2] not in _STATISTICS)


def trained(results: bench.Results) -> str:
    """Return the table of the networks, what is remarkable about each, and what all of them cost."""
    found, behind, lacking = networks(results)
    head = (
        "weights",
        "what they are",
        "architecture",
        "parameters",
        "epochs",
        "training",
        "on",
        "trained on",
        "standard",
    )
    body = tuple(_row(each) for each in found.values())
    used = {label: names for label, names in behind.items() if names != [label]}
    notes = [f"{flat(label)} is made of {' and '.join(map(flat, names))}" for label, names in used.items()]
    notes += [f"{flat(each.name)}: {flat(remark)}" for each in found.values() for remark in _remarks(each.card)]
    total = duration(sum(each.seconds for each in found.values()))
    notes += [f"all of them together took {total} to train"] if found else []
    notes += (
        ["standard: accuracy in % on the images named, without attack, with Wilson 95 % intervals"] if found else []
    )
    notes += [f"no card to show for {each}" for each in lacking]
    table = Table("", tuple((each,) for each in head), body, tuple(notes))
    return markdown(table, words=(1, 2, 6, 7))


def _row(each: Network) -> tuple[TableCell, ...]:
    card = each.card
    threads = card.get("threads")
    where = f"{card.get('device', '-')}" + (
        f", {_many(threads, 'thread')}" if threads and card["device"] == "cpu" else ""
    )
    texts = (
        each.name,
        card.get("summary", ""),
        each.architecture,
        f"{each.parameters:,}",
        str(card.get("recipe", {}).get("epochs", "-")),
        duration(each.seconds) if each.seconds else "-",
        where,
        ", ".join(card.get("trained_on", [])) or "-",
    )
    return (*(TableCell(flat(str(text))) for text in texts), _standard(card.get("standard_accuracy")))


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: `27 s`, `45 min`, `4.2 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def standard(card: Mapping[str, Any]) -> str:
    """Return the standard accuracy of a card in percent."""
    return f"{100 * card['standard_accuracy']['value']:.1f}"


def _standard(told: Mapping[str, Any] | None) -> TableCell:
    if not told:
        return TableCell("-")
    low, high = wilson(told["value"] * told["n"], told["n"])
    where = f"{told['n']:,} {told.get('split', '')}".strip()
    return TableCell(f"{100 * told['value']:.1f}", f"[{100 * low:.1f}, {100 * high:.1f}] of {flat(where)}")


def _remarks(card: Mapping[str, Any]) -> list[str]:
    """Return what a card says beyond the columns: notes of who trained it, rounding, an end before its time."""
    told = [card.get("note"), card.get("notes"), card.get("data", {}).get("notes")]
    notes: list[str] = [str(one) for each in told if each for one in (each if isinstance(each, list) else [each])]
    steps = card.get("recipe", {}).get("steps")
    notes += [f"adversarial examples of {_many(steps, 'step')}"] if steps else []
    notes += ["stored in half precision"] if card.get("half") else []
    unfinished = card.get("unfinished")
    notes += [f"stopped after {unfinished['done']:,} of {unfinished['of']:,} updates"] if unfinished else []
    processes = card.get("processes", 1)
    return [*notes, *([f"trained by {processes} processes"] if processes > 1 else [])]


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def made_of(label: str, results: bench.Results) -> str:
    """Return the architectures that a defense is made of: `ResNet-8, width 16 + U-Net, width 16`."""
    found, behind, _ = networks(results)
    names: Sequence[str] = behind.get(label, ())
    return " + ".join(found[name].architecture for name in names) or "-"
