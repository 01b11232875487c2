"""Studies: those of ours, and mistakes in somebody's own."""

from __future__ import annotations

import pytest

from bench.catalogue import study
from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.harness.matrix import build
from bench.results.cell import Planned
from bench.threats import ThreatModel


@pytest.mark.parametrize("name", [name for name in study.names() if study.read(name).rungs])
def test_our_studies_name_attacks_that_exist(name):
    found = study.read(name)

    plan = build(
        Selection.of(found.options["defenses"], found.options["attacks"], (ThreatModel.parse("Linf:0.2"),)),
        digits("test").first(4),
    )

    assert {planned.cell.attack.label for planned in plan} == {rung.attack for rung in found.rungs}
    assert isinstance(plan[0], Planned)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("attcks = 'pgd-20'", "attcks"),
        ("n = 'many'", "a whole number"),
        ("n = true", "a whole number"),
        ("beside = ['basement']", "basement"),
        ("[[rungs]]\nname = 'blind'", "a name and an attack"),
        ("attacks = 'fgsm'\n[[rungs]]\nname = 'a'\nattack = 'fgsm'", "both attacks and rungs"),
        ("title = ", "is not TOML"),
    ],
)
def test_a_mistake_in_a_study_is_named(tmp_path, text, says):
    path = tmp_path / "mine.toml"
    path.write_text(text)

    with pytest.raises(BenchError, match=says):
        study.read(str(path))


def test_an_unknown_study_and_a_missing_file_are_mistakes():
    with pytest.raises(BenchError, match="did you mean ladder"):
        study.read("lader")
    with pytest.raises(BenchError, match="is not found"):
        study.read("nowhere.toml")
