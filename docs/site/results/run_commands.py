"""The commands that measured a folder of results, from what the folder holds."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

import bench
from bench.catalogue import ATTACKS
from bench.datasets.imported import ACCESS
from bench.report.plain import flat
from bench.results.cell import Cell
from bench.threats import ThreatModel

_DEFAULTS = {"seed": 0, "draws": 10, "batch": 128}
_WIDTH = 110


def commands(results: bench.Results, folder: str) -> list[str]:
    """Return commands that ask for the cells of a folder, each folded for a page; what is stored is not run again.

    There are several where one would ask for more: for another number of images, or where some defenses met attacks
    that others did not.

    Args:
        results: of the folder; corruptions and archives of others have commands of their own.
        folder: as it is to be typed.
    """
    found: list[str] = []
    for group in results.groups():
        cells = [each.cell for each in group if not each.cell.threat.is_shift and each.cell.attack.access != ACCESS]
        # Defenses that met the same attacks share a command, and attacks that were run under the same threat models.
        met: dict[frozenset[tuple[str, ThreatModel]], list[Cell]] = {}
        for label in dict.fromkeys(cell.defense.label for cell in cells):
            own = [cell for cell in cells if cell.defense.label == label]
            met.setdefault(frozenset((cell.attack.label, cell.threat) for cell in own), []).extend(own)
        for shared in met.values():
            found += [_command(part, folder) for part in _products(shared)]
    return found


def of_study(study: str, results: bench.Results, folder: str) -> list[str]:
    """Return the commands that run a study and find its cells in a folder, one for each set of images."""
    found = []
    for group in results.groups():
        cells = [each.cell for each in group]
        words = ["bench run", f"--study {study}", *_images(cells), *_more(cells), f"--results {folder}"]
        found.append(_folded(words))
    return found


def _products(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells in parts, each of which is all that its attacks and threat models ask for."""
    under: dict[str, dict[ThreatModel, None]] = {}
    for cell in cells:
        under.setdefault(cell.attack.label, {})[cell.threat] = None
    threats = dict.fromkeys(cell.threat for cell in cells)
    if all(set(_fitting(label, threats)) <= set(held) for label, held in under.items()):
        return [list(cells)]
    apart: dict[frozenset[ThreatModel], list[Cell]] = {}
    for cell in cells:
        apart.setdefault(frozenset(under[cell.attack.label]), []).append(cell)
    return list(apart.values())


def _fitting(label: str, threats: Iterable[ThreatModel]) -> list[ThreatModel]:
    entry = {each.name: each for each in ATTACKS}.get(label.partition("[")[0])
    return [] if entry is None else [threat for threat in threats if threat.family in entry.families]


def _command(cells: Sequence[Cell], folder: str) -> str:
    defenses, attacks, threats = (
        ",".join(dict.fromkeys(flat(str(each)) for each in named))
        for named in (
            (cell.defense.label for cell in cells),
            (cell.attack.label for cell in cells),
            (cell.threat for cell in cells),
        )
    )
    asked = [f"--defenses {_quoted(defenses)}", f"--attacks {_quoted(attacks)}", f"--threat {_quoted(threats)}"]
    return _folded(["bench run", *_images(cells), *asked, *_more(cells), f"--results {folder}"])


def _images(cells: Sequence[Cell]) -> list[str]:
    name = cells[0].slice.dataset
    return [f"--dataset {_quoted(dataset(name))}", *([] if name == "digits" else ["--data FOLDER"])]


def dataset(stored: str) -> str:
    """Return the name of a dataset as it is typed: `imagenette-160[resize=64]` for `imagenette-160-resize64`."""
    if stored.startswith("imagefolder-"):
        return "imagefolder:PATH"
    base, framing = re.fullmatch(r"(.*?)((?:-(?:resize|crop)\d+)*)", stored, re.S).groups()  # type: ignore[union-attr]
    options = ",".join(f"{name}={size}" for name, size in re.findall(r"-(resize|crop)(\d+)", framing))
    return f"{base}[{options}]" if options else base


def _more(cells: Sequence[Cell]) -> list[str]:
    """Return the options that differ from their defaults, and the number of images."""
    held = {
        "seed": {cell.seed for cell in cells},
        "draws": {cell.draws for cell in cells if cell.draws > 1} or {_DEFAULTS["draws"]},
        "batch": {cell.batch for cell in cells},
    }
    told = [f"--{key} {min(values)}" for key, values in held.items() if values != {_DEFAULTS[key]}]
    return [f"--n {cells[0].slice.n}", *told]


def _quoted(text: str) -> str:
    if re.fullmatch(r"[\w.,:/=+#@%-]+", text):
        return text
    return f'"{text}"' if re.fullmatch(r"[\w.,:/=+#@%\[\] -]+", text) else shlex.quote(text)


def _folded(words: Sequence[str]) -> str:
    """Return a command in lines that end with a backslash."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > _WIDTH:
            lines.append("    ")
        lines[-1] += word if not lines[-1].strip() else f" {word}"
    return " \\\n".join(lines)
