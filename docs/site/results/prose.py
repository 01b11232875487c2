"""Sentences with numbers: what may stand between `{{` and `}}` in the texts of a page.toml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from page_tables import differences, part
from page_training import duration, networks, standard

import bench
from bench.errors import BenchError, unknown
from bench.report.render import ALARM

_HERE = Path(__file__).parent
_HEADLINES = ("deterministic", "mean", "one-shot")


@functools.cache
def templates() -> jinja2.Environment:
    """Return the templates beside this module; a name that is not defined is an error, not an empty text."""
    return SandboxedEnvironment(
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, whose tables make names harmless themselves
    )


class Prose:
    """The numbers of a folder, by the names that a text uses.

    Args:
        results: of the folder.
    """

    def __init__(self, results: bench.Results) -> None:
        self._results = results

    def rendered(self, text: str) -> str:
        """Return a text with its placeholders filled.

        Raises:
            BenchError: a placeholder names something that is not there.
        """
        names = {"accuracy": self.accuracy, "relation": self.relation, "card": self.card, "n": self.sizes}
        try:
            return templates().from_string(text.strip()).render(names)
        except jinja2.TemplateError as error:
            raise BenchError(f"a text of page.toml cannot be filled ({error}): see docs/results-folder.md") from error

    def accuracy(self, defense: str, attack: str = "", threat: str = "", judge: str = "", n: int = 0) -> str:
        """Return an accuracy with its interval, or in words that there is none.

        Args:
            defense: its label.
            attack: its label, or `worst-seen`, `worst-unseen`, `worst-all`; without one, the standard accuracy.
            threat: needed if the attack was run under several.
            judge: `mean`, `worst` or `majority` of a stochastic defense; the first by default.
            n: the number of images, where there are several.
        """
        rows = [row for table in self._results.to_json() if n in (0, table["n"]) for row in table["rows"]]
        mine = [row for row in rows if row["defense"] == defense]
        if not mine:
            raise unknown("defense of these results", defense, dict.fromkeys(row["defense"] for row in rows))
        wanted = attack or "standard"
        mine = [row for row in mine if wanted == (row["attack"] if row["column"] == "attack" else row["column"])]
        mine = [row for row in mine if threat in ("", row["threat"])]
        mine = [row for row in mine if row["judged"].startswith((judge,) if judge else _HEADLINES)]
        if len(mine) != 1:
            raise BenchError(f"{defense} x {wanted} {threat} {judge} names {len(mine)} numbers here: name one")
        return _number(mine[0])

    def relation(self, a: str, b: str, name: str, n: int = 0) -> str:
        """Return how two defenses compare in one number by the paired test: `above`, `below`, `not separated from`.

        `not comparable with`, if one of them has no number there, or only an upper bound that is the higher one.

        Args:
            a: the first defense.
            b: the second one.
            name: `standard`, `autoattack@Linf:8/255`, `worst-unseen`.
            n: the number of images, where there are several.
        """
        found, _ = differences(part(self._results, n), a, b, name)
        if len(found) > 1:
            raise BenchError(f"{name!r} names {len(found)} numbers of {a} and {b}: name one with its threat model")
        words = {"A": "above", "B": "below", "not separated": "not separated from"}
        return words.get(found[0].better, "not comparable with") if found else "not comparable with"

    def card(self, weights: str, fact: str = "standard") -> str:
        """Return a fact of the card of some weights.

        Args:
            weights: their name: `atop-rt1`.
            fact: `standard` (accuracy without attack), `parameters`, `epochs`, `training` (how long it took) or
                `architecture`; or a place in the card: `recipe.classification_weight`. What the card calls an accuracy
                is in percent.
        """
        found = networks(self._results)[0]
        if weights not in found:
            raise unknown("weights of these results", weights, found)
        network = found[weights]
        facts: dict[str, Any] = {
            "standard": lambda: f"{standard(network.card)} %",
            "parameters": lambda: f"{network.parameters:,}",
            "epochs": lambda: str(network.card["recipe"]["epochs"]),
            "training": lambda: duration(network.seconds),
            "architecture": lambda: network.architecture,
        }
        if fact in facts:
            return str(facts[fact]())
        held: Any = network.card
        for key in fact.split("."):
            if not isinstance(held, dict) or key not in held:
                raise unknown(f"fact of the card of {weights}", fact, (*facts, *network.card))
            held = held[key]
        return (
            f"{100 * held:.1f} %"
            if fact.endswith("accuracy")
            else f"{held:g}"
            if isinstance(held, float)
            else str(held)
        )

    @property
    def sizes(self) -> str:
        """Return how many test images there are: `256`."""
        return " or ".join(f"{group[0].cell.slice.n:,}" for group in self._results.groups())


def _number(row: dict[str, Any]) -> str:
    if row["accuracy"] is None:
        return f"no number ({row['outcome']})"
    bound = "at most " if row["outcome"] == "partial" else ""
    flagged = f" ({ALARM} a check flags it)" if row["checks"] else ""
    return f"{bound}{row['accuracy']:.1f} % [{row['low']:.1f}, {row['high']:.1f}]{flagged}"
