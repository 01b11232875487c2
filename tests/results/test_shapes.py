"""What a stored document must hold, derived from the records that are made of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError
from bench.results.documents import read
from bench.results.outcome import Verdicts
from bench.results.shapes import Document, require_counts, shaped

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "format-3"
HERE = Path("a.json")


def document(pattern):
    return json.loads(next(GOLDEN.rglob(pattern)).read_text())


def changed(pattern, *places):
    """A document of the golden folder with one value replaced."""
    *path, last, value = places
    made = document(pattern)
    held = made
    for name in path:
        held = held[name]
    held[last] = value
    return made


@pytest.mark.parametrize("folder", ["results", "tests/golden"])
def test_everything_that_was_ever_published_has_its_shape(folder):
    paths = [path for path in (ROOT / folder).rglob("*.json") if path.name != "units.json"]

    assert len(paths) > 10
    for path in paths:
        assert isinstance(read(path), Document)


CELL, RUN, FOUND, KNOWN = "fgsm.*.json", "runs/*.json", "checks.*.json", "examples.*.json"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (changed(CELL, "key", "../../x"), "key is '../../x', not the key of a cell"),
        (changed(CELL, "cell", "seed", -1), "cell.seed is -1, not from 0 to 2^63 - 1"),
        (changed(CELL, "cell", "seed", True), "cell.seed is True, not a whole number"),
        (changed(CELL, "cell", "draws", 256), "cell.draws is 256, not from 1 to 255"),
        (changed(CELL, "cell", "slice", "n", 10**12), "cell.slice.n is 1000000000000, not from 1 to 10000000"),
        (changed(CELL, "cell", "threat", "Linf:8"), "cell.threat: eps '8' exceeds the [0, 1] box"),
        (changed(CELL, "cell", "defense", "trained_on", ["x"]), "cell.defense.trained_on[0]: threat 'x' has no eps"),
        (changed(CELL, "cell", "defense", "label", "\ud800"), "cell.defense.label"),
        (changed(CELL, "cell", "attack", "config", {"steps": float("nan")}), "cell.attack.config.steps is nan"),
        (changed(CELL, "cost", "forwards", 1.5), "cost.forwards is 1.5, not a whole number"),
        (changed(CELL, "provenance", "seconds", [1]), "provenance.seconds is a list, not a number"),
        (changed(CELL, "provenance", "code", "x"), "provenance.code is 'x', not a table"),
        (changed(CELL, "ledger", "forwards", "1 -2"), "ledger.forwards is '1 -2', not numbers between spaces"),
        (changed(RUN, "cells", 0, "skip", 3), "cells[0].skip is 3, not text"),
        (changed(RUN, "cells", 0, "cell", {}), "cells[0].cell has no 'attack'"),
        (changed(RUN, "cells", {}), "cells is a dict, not a list"),
        (changed(FOUND, "findings", 0, "verdict", "fine"), "findings[0].verdict is 'fine', not one of pass"),
        (changed(FOUND, "findings", 0, "message", None), "findings[0].message is None, not text"),
        (changed(KNOWN, "examples", 0, 7), "examples[0] is 7, not text"),
    ],
)
def test_a_value_that_its_record_does_not_declare_is_named_with_its_place(made, said):
    with pytest.raises(BenchError) as caught:
        shaped(made, HERE)

    assert f"'a.json' is damaged ({said}" in str(caught.value)


def test_a_purifier_before_a_purifier_without_end_is_refused():
    made = document(CELL)
    inner = made["cell"]["defense"]
    for _ in range(50):
        inner["behind"] = dict(inner)
        inner = inner["behind"]

    with pytest.raises(BenchError, match="is nested too deeply"):
        shaped(made, HERE)


def test_what_a_later_version_adds_passes():
    made = document(CELL)
    made["cell"]["attack"]["later"] = {"a": [1]}

    assert shaped(made | {"later": 1}, HERE)["later"] == 1


def test_a_missing_field_is_asked_for_by_name():
    with pytest.raises(BenchError, match=r"'a.json' is damaged \(it has no 'cells'\)"):
        shaped({"format": 3}, HERE)["cells"]


@pytest.mark.parametrize(
    ("clean", "adversarial", "name", "said"),
    [
        ([1, 1], [1], "a.json", "2 counts without attack and 1 under attack"),
        ([1, 1], [1, 1], "a.json", "2 counts for 3 examples"),
        ([1, 1, 1, 1], [1, 0, 0, 0], "a.json", "4 counts for 3 examples"),
        ([1, 1, 2], [1, 0, 0], "a.json", "a count is above its 1 draws"),
        ([1, 1, 0], [1, 0, 1], "a.json", "misclassified without attack is counted as robust"),
        ([], [], "a.shard-0.json", "0 counts for 3 examples"),
    ],
)
def test_counts_that_nobody_counted_are_refused(clean, adversarial, name, said):
    verdicts = Verdicts(1, np.array(clean, dtype=np.uint8), np.array(adversarial, dtype=np.uint8))

    with pytest.raises(BenchError, match=said):
        require_counts(verdicts, 3, 1, Path(name))


def test_counts_of_other_draws_than_the_cell_asks_for_are_refused():
    """Correct draws out of five would be a fifth of what they are out of one."""
    array = np.array([1, 0], dtype=np.uint8)

    require_counts(Verdicts(1, array, array), 2, 1, Path("a.json"))
    with pytest.raises(BenchError, match="counts of 5 draws, its cell asks for 1"):
        require_counts(Verdicts(5, array, array), 2, 1, Path("a.json"))
