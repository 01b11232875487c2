"""Makes docs/gallery.md and its pictures: `make gallery`.

Those of committed results are made of them; the others of a small run on digits, which takes about two minutes.
With names, only these: `make gallery ONLY='table.svg leaderboard.svg'`.
"""

from __future__ import annotations

import contextlib
import html
import io
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, PICTURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "pictures"
# Columns of the terminal that is drawn, and the size of one character of it in pixels.
COLUMNS, WIDE, HIGH, EDGE = 128, 7.8, 18, 16

_RUN = (
    "bench run --attacks pgd-20,pgd-eot-20,apgd-ce,stadv --threat Linf:0.2,stadv:0.4 --n 64 --results gallery-results"
)
_LADDER = "bench run --study ladder --defenses ap,atop --threat Linf:0.2 --n 64 --results gallery-results"


@dataclass(frozen=True)
class Picture:
    """A picture of the gallery.

    Attributes:
        name: of the file in docs/pictures/.
        title, alt, caption: of the page.
        command: what a user types for it, in the root of the repository.
        draw: takes the command and returns the bytes of the file.
        before: the command that measures what it shows; empty where that is committed.
    """

    name: str
    title: str
    alt: str
    caption: str
    command: str
    draw: Callable[[str], bytes]
    before: str = ""


def typed(command: str) -> str:
    """Return what a command prints in this process."""
    from bench.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(shlex.split(command)[1:])
    return printed.getvalue()


def terminal(command: str) -> bytes:
    """Return a picture of a terminal in which a command has just printed."""
    return screen([f"$ {command}", "", *typed(command).rstrip().splitlines()])


def screen(lines: list[str]) -> bytes:
    """Return lines of text as an SVG that needs nothing from elsewhere; every character keeps its column."""
    columns = max(114, *(len(line) for line in lines))
    width, height = round(columns * WIDE + 2 * EDGE), len(lines) * HIGH + 2 * EDGE + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        "white-space:pre;fill:#d7e0e8}.typed{fill:#8fd3de}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#16222c"/>',
        *(f'<circle cx="{EDGE + 5 + 18 * at}" cy="17" r="5" fill="#3c5364"/>' for at in range(3)),
    ]
    for at, line in enumerate(lines):
        text = "".join(each for each in line if each.isprintable())
        kind = ' class="typed"' if at == 0 else ""
        if text.strip():
            parts.append(
                f'<text{kind} xml:space="preserve" x="{EDGE}" y="{EDGE + 20 + HIGH * at + 13}" '
                f'textLength="{len(text) * WIDE:g}" lengthAdjust="spacingAndGlyphs">{html.escape(text)}</text>'
            )
    return "\n".join([*parts, "</svg>\n"]).encode()


def figure(command: str) -> bytes:
    """Return the figure that a command writes, as a smaller PNG of 128 colors."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        words = shlex.split(command)
        path = Path(folder) / words[-1]
        typed(shlex.join([*words[:-1], str(path)]))
        file = io.BytesIO()
        picture = Image.open(path).convert("RGB")
        picture = picture.resize((1400, round(picture.height * 1400 / picture.width)), Image.Resampling.LANCZOS)
        picture.quantize(128).save(file, "png", optimize=True)
    return file.getvalue()


def adversarial(command: str) -> bytes:
    """Return a grid: clean digits, what was added under attack (gray is nothing), and the adversarial images."""
    import numpy as np
    from PIL import Image

    names: dict[str, object] = {}
    exec(compile(command, "docs/gallery.md", "exec"), names)  # noqa: S102  (a command of this file)
    kept = names["kept"]
    clean, adversarial = (np.asarray(each)[:12, 0] for each in (kept.clean, kept.adversarial))  # type: ignore[attr-defined]
    rows = [clean, 0.5 + (adversarial - clean) / (2 * abs(adversarial - clean).max()), adversarial]
    tiles = [np.concatenate([np.pad(image, 1, constant_values=1) for image in row], axis=1) for row in rows]
    pixels = np.repeat(np.repeat(np.concatenate(tiles), 8, axis=0), 8, axis=1)
    file = io.BytesIO()
    Image.fromarray((pixels * 255).round().astype("uint8")).quantize(64).save(file, "png", optimize=True)
    return file.getvalue()


GALLERY = (
    Picture(
        name="table.svg",
        title="A table",
        alt="Terminal: accuracies on 256 CIFAR-10 images under AutoAttack, stAdv and ReColorAdv, with their intervals.",
        caption="Standard and robust accuracy with 95 % intervals, the worst case per example to the right.",
        command="bench table --results results/cifar10 --attacks autoattack,stadv,recolor",
        draw=terminal,
    ),
    Picture(
        name="matrix.png",
        title="The matrix as a figure",
        alt="Heat map: CIFAR-10 accuracies with intervals, a row for each defense, then the worst cases.",
        caption="The same for a paper or a slide: every accuracy with its interval.",
        command="bench plot matrix --results results/cifar10 --attacks autoattack,stadv,recolor --out matrix.png",
        draw=figure,
    ),
    Picture(
        name="forest.png",
        title="Which intervals overlap",
        alt="A panel for each defense, a point with its interval for each attack on CIFAR-10 and for the worst cases.",
        caption="The accuracies as points with their intervals.",
        command="bench plot forest --results results/cifar10 --attacks autoattack,stadv,recolor --out forest.png",
        draw=figure,
    ),
    Picture(
        name="cost.png",
        title="What an attack costs",
        alt="Robust accuracy on CIFAR-10 against passes per image, with the strongest attack at each cost.",
        caption="Robust accuracy against passes per image.",
        command="bench plot cost --results results/cifar10 --out cost.png",
        draw=figure,
    ),
    Picture(
        name="leaderboard.svg",
        title="A ranking",
        alt="Terminal: the leaderboard of the CIFAR-10 results, defenses ranked by their worst case, with ties.",
        caption="Defenses whose difference is not resolved share a rank.",
        command="bench leaderboard --results results/cifar10",
        draw=terminal,
    ),
    Picture(
        name="ladder.svg",
        title="A ladder",
        alt="Terminal: the ladders of AP and AToP on digits. Robust accuracy falls as the attacker knows more.",
        caption="What each rung of an attacker's knowledge takes away from a purifier.",
        command=_LADDER,
        draw=terminal,
        before=_LADDER,
    ),
    Picture(
        name="adversarial.png",
        title="Adversarial images",
        alt="Twelve handwritten digits in three rows: clean, the change that PGD-20 makes, and the adversarial images.",
        caption="Clean digits, the change that PGD-20 makes against adversarial training (gray: none), and the result.",
        command="import bench\n\n"
        'kept = bench.load("gallery-results").images("at", "pgd-20")\n'
        "kept.clean, kept.adversarial, kept.predictions",
        draw=adversarial,
        before=_RUN,
    ),
    Picture(
        name="check.svg",
        title="A check",
        alt="Terminal: the checks of a defense that adds noise have found that its answers are random.",
        caption="What the checks say of a defense before any attack.",
        command="bench check ./docs/examples/mine.py:build",
        draw=terminal,
    ),
)


def page() -> str:
    """Return docs/gallery.md."""
    parts = ["# Gallery", "Each picture is made by the command below it (`make gallery`)."]
    for each in GALLERY:
        parts += [f"## {each.title}", each.caption, f"[![{each.alt}](pictures/{each.name})](pictures/{each.name})"]
        if each.before and each.before != each.command:
            parts.append(f"```sh\n{each.before}\n```")
        kind = "sh" if each.command.startswith("bench ") else "python"
        parts.append(f"```{kind}\n{each.command}\n```")
    return "\n\n".join(parts) + "\n"


def main(names: Sequence[str] = ()) -> None:
    """Write page and pictures, all or those of these names, measuring first what has to be measured."""
    os.environ["COLUMNS"] = str(COLUMNS)
    PICTURES.mkdir(exist_ok=True)
    chosen = [each for each in GALLERY if not names or each.name in names]
    with tempfile.TemporaryDirectory() as folder:
        # Commands name folders of the repository; what they measure goes elsewhere.
        for name in ("results", "docs"):
            (Path(folder) / name).symlink_to(ROOT / name)
        os.chdir(folder)
        for before in dict.fromkeys(each.before for each in chosen if each.before):
            typed(before)
        for each in chosen:
            (PICTURES / each.name).write_bytes(each.draw(each.command))
            print(f"{each.name}: {(PICTURES / each.name).stat().st_size:,} bytes", file=sys.stderr)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
