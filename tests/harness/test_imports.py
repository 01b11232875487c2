"""Cells of archives: their names and keys, and what a results folder may not hold twice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.catalogue.refs import DefenseRef
from bench.datasets.digits import digits
from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.harness import imports
from bench.harness.pairing import Paired
from bench.results.cell import Planned
from bench.threats import ThreatModel

EXAMPLES = digits("test").first(4)
LINF = ThreatModel.parse("Linf:0.2")
X_ADV = (EXAMPLES.x + 0.1).clip(0, 1)


def archive(label="import:smith", x_adv=X_ADV, **changes):
    return replace(Paired(label, np.arange(len(x_adv)), x_adv, EXAMPLES.fingerprints[: len(x_adv)], 10), **changes)


def planned(defense="at", digest="d", threat=LINF, source="Smith 2026", seed=0, stochastic=False, **changes):
    ref = DefenseRef(defense, "bench.defenses.at:load", digest, stochastic)
    return imports.build(
        archive(**changes), ref, threat, EXAMPLES, folder=Path("kept"), source=source, seed=seed, draws=5, batch=64
    )


def test_the_key_names_the_arrays_and_not_where_they_came_from():
    """Neither who made them nor the folder nor how many more the archive held; but every pixel."""
    key = planned().cell.key

    assert key == planned(source="somebody else", held=99).cell.key
    assert key != planned(x_adv=(EXAMPLES.x + 0.11).clip(0, 1)).cell.key
    assert key != planned(x_adv=X_ADV[:3]).cell.key


def test_a_cell_says_what_it_was_made_of():
    cell = planned(stochastic=True).cell

    assert (cell.attack.label, cell.attack.access, cell.draws) == ("import:smith", ACCESS, 5)
    assert cell.attack.config["covers"] == 4
    assert cell.attack.config["file"].startswith("kept/archives/smith.")
    assert (cell.passes(), planned().cell.draws) == (0, 1)


@pytest.mark.parametrize(
    ("name", "file", "attack", "label"),
    [
        ("", "x/aa_standard_1.pth", "", "import:aa_standard_1"),
        ("smith", "a.pt", "apgd-ce", "import:smith-apgd-ce"),
        ("", "<img src=x onerror=alert(1)>.pt", "", "import:img-src-x-onerror-alert-1"),
        ("", "\x1b[31m.pt", "../../etc", "import:31m-etc"),
        ("", "[].pt", "", "import:archive"),
    ],
)
def test_labels_are_safe_whatever_the_file_is_called(name, file, attack, label):
    assert imports.label_of(name, Path(file), attack) == label


@pytest.mark.parametrize("name", ["a b", "<b>", "=cmd", "../a", "a:b", "\n"])
def test_a_name_with_other_characters_is_refused(name):
    with pytest.raises(BenchError, match="--name"):
        imports.label_of(name, Path("a.pt"))


def test_a_source_is_one_printable_line():
    assert imports.source_of(" Smith\n2026,\x1b[31m arXiv ") == "Smith 2026,[31m arXiv"
    with pytest.raises(BenchError, match="at most 120"):
        imports.source_of("x" * 121)


def test_the_same_archive_again_is_no_mistake():
    imports.required_apart(planned(), [planned()])
    imports.required_apart(
        planned(), [planned(label="import:jones", x_adv=X_ADV[:2]), planned(defense="ap", digest="x")]
    )


def test_another_archive_or_source_under_the_same_name_is_refused():
    with pytest.raises(BenchError, match="another archive here: give a --name"):
        imports.required_apart(planned(x_adv=X_ADV[:2]), [planned()])
    with pytest.raises(BenchError, match="stored with the source 'Smith 2026'"):
        imports.required_apart(planned(source=""), [planned()])


def test_another_defense_under_the_same_name_is_refused():
    """Its row would mix the verdicts of two; but the same archive on new weights takes the place of the old one."""
    attacked = replace(planned().cell.attack, label="pgd-20", access="gradient")
    stored = Planned(replace(planned().cell, attack=attacked))

    with pytest.raises(BenchError, match="--label"):
        imports.required_apart(planned(digest="new"), [stored])
    imports.required_apart(planned(digest="new"), [planned()])


def test_two_attacks_of_a_file_do_not_get_one_name():
    """The second cell would take the place of the first: the best known accuracy would be without it."""
    labels = [imports.label_of("", Path("a.npz"), name) for name in ("apgd ce", "apgd-ce")]
    assert labels == ["import:a-apgd-ce"] * 2

    with pytest.raises(BenchError, match="'apgd ce' and 'apgd-ce' would both be called import:a-apgd-ce"):
        imports.require_distinct(["apgd ce", "apgd-ce"], labels, Path("a.npz"))
    imports.require_distinct(["apgd-ce", "apgd-t"], ["import:a-apgd-ce", "import:a-apgd-t"], Path("a.npz"))
