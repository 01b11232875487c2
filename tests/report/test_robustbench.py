"""Entries of RobustBench: its fields and types, numbers from verdicts alone, and nothing that nobody said."""

import ast
import json

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.machine.system import package_folder
from bench.report.robustbench import export
from bench.results.accuracy import defense_rows
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.results.outcome import Done, Evidence, Failed, Verdicts
from bench.threats import ThreatModel
from bench.types import Card

LINF, L2 = ThreatModel.parse("Linf:8/255"), ThreatModel.parse("L2:0.5")
# The fields of all 188 files of model_info/*/{Linf,L2} at github.com/RobustBench/robustbench 78fcc9e, with their types;
# footnote, external and unreliable are in some of them only.
PUBLISHED = {
    **dict.fromkeys(("link", "name", "authors", "dataset", "venue", "architecture", "eps", "clean_acc"), str),
    **dict.fromkeys(("reported", "autoattack_acc", "footnote", "external"), str),
    "additional_data": bool,
    "number_forward_passes": int,
    "unreliable": bool,
}
CARD = Card(
    facts={
        "title": "Overfitting in adversarially robust deep learning",
        "link": "https://arxiv.org/abs/2002.11569",
        "authors": "Leslie Rice, Eric Wong, J. Zico Kolter",
        "venue": "ICML 2020",
        "architecture": "WideResNet-34-20",
        "additional_data": False,
        "number_forward_passes": 1,
        "reported": 58,
    }
)
PASSED = Finding("S01", "pass", "-", "-", "S01: fine")


def result(
    attack, held, *, threat=LINF, draws=1, n=10_000, defense="at", findings=(PASSED,), access="gradient", **evidence
):
    ref = AttackRef(attack, attack, attack, access=access, config={"source": "Smith 2026"})
    cell = Cell(
        DefenseRef(defense, defense, defense, draws > 1), ref, threat, Slice("cifar10", "test", n, "x"), 0, draws, n
    )
    if not isinstance(held, int):
        return Result(cell, held, findings)
    index = np.arange(n)
    counts = [np.where(index < k, draws, 0).astype(np.uint8) for k in (8534 * n // 10_000, held)]
    return Result(cell, Done(Verdicts(draws, *counts), evidence=Evidence(**evidence)), findings)


def entries(results, card=CARD):
    rows = defense_rows(results)
    return export(rows, {row.defense.label: card for row in rows})


def one(*results, card=CARD):
    (entry,) = entries(results, card).entries.values()
    return entry


def test_an_entry_is_that_of_the_published_example():
    """RobustBench's README shows this one, of Rice et al. (2020); 53.42 % is 5342 of 10,000."""
    found = one(result("autoattack", 5342))

    assert found == {
        "link": "https://arxiv.org/abs/2002.11569",
        "name": "Overfitting in adversarially robust deep learning",
        "authors": "Leslie Rice, Eric Wong, J. Zico Kolter",
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": "cifar10",
        "venue": "ICML 2020",
        "architecture": "WideResNet-34-20",
        "eps": "8/255",
        "clean_acc": "85.34",
        "reported": "58",
        "autoattack_acc": "53.42",
        "footnote": "",
        "unreliable": False,
    }
    assert [name for name in found if name not in ("footnote", "unreliable")] == list(found)[:12]


@pytest.mark.parametrize(
    "card", [CARD, None, Card(), Card(facts={name: [1] for name in ("title", "link", "additional_data")})]
)
@pytest.mark.parametrize("draws", [1, 5])
def test_fields_and_types_are_those_of_the_published_files(card, draws):
    found = one(result("autoattack", 300, n=500, draws=draws), result("pgd-20", 200, n=500, draws=draws), card=card)

    assert set(found) <= set(PUBLISHED)
    assert all(type(value) is PUBLISHED[name] for name, value in found.items())
    assert {
        "link",
        "name",
        "authors",
        "venue",
        "architecture",
        "reported",
        "eps",
        "clean_acc",
        "autoattack_acc",
    } <= set(found)


def test_the_fields_are_those_of_the_package_where_it_is_installed():
    """Read from its source, because it imports nothing on a machine with another torchvision."""
    try:
        source = (package_folder("robustbench") / "utils.py").read_text(encoding="utf-8")
    except (BenchError, OSError, ImportError):
        pytest.skip("robustbench is not installed")
    (info,) = [
        each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.ClassDef) and each.name == "ModelInfo"
    ]
    known = {each.target.id for each in info.body if isinstance(each, ast.AnnAssign)}

    # Its class lacks three fields that were added by hand to the published files.
    assert set(PUBLISHED) - known <= {"unreliable", "external", "footnote"}
    assert set(one(result("autoattack", 5342))) - known <= {"unreliable", "external", "footnote"}


def test_what_no_card_says_is_empty_or_left_out_and_named():
    found = entries([result("autoattack", 5342)], card=None)

    (entry,) = found.entries.values()
    assert {"additional_data", "number_forward_passes"}.isdisjoint(entry)
    assert entry["link"] == entry["name"] == entry["venue"] == entry["reported"] == ""
    (note,) = found.notes
    for name in ("link", "name", "authors", "additional_data", "number_forward_passes", "venue", "architecture"):
        assert name in note


def test_the_best_known_is_external_with_its_maker():
    """By the per-example worst case, which here is 5,000 - 1 images that Smith broke beyond."""
    archive = result("import:smith", 5000, access=ACCESS)

    found = one(result("autoattack", 5342), archive)

    assert (found["autoattack_acc"], found["external"]) == ("53.42", "50.00")
    assert "50.00% robust accuracy is due to the worst case over autoattack, Smith 2026." in found["footnote"]
    assert "external" not in one(result("autoattack", 5342), result("import:weak", 6000, access=ACCESS))


def test_a_stochastic_defense_is_unreliable_as_there():
    found = one(result("autoattack", 5342, draws=10))

    assert found["unreliable"] is True
    assert "mean-of-10" in found["footnote"]


@pytest.mark.parametrize(
    ("findings", "unreliable"),
    [((PASSED,), False), ((Finding("A09", "flag", "-", "-", "A09: masked"),), True), ((), None)],
)
def test_reliable_is_only_what_was_checked(findings, unreliable):
    """Without the field RobustBench prints 'Unknown'."""
    assert one(result("autoattack", 5342, findings=findings)).get("unreliable") is unreliable


def test_parts_without_a_gradient_make_it_unreliable():
    found = one(result("autoattack", 5342, findings=(), unable=("apgd-ce", "apgd-t")))

    assert found["unreliable"] is True
    assert "no gradient for apgd-ce, apgd-t" in found["footnote"]


def test_fewer_images_than_the_test_set_are_named():
    assert one(result("autoattack", 100, n=256))["footnote"] == "Measured on 256 images of the test set."


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ([result("pgd-20", 5000)], "autoattack is not finished"),
        ([result("autoattack", Failed("RuntimeError: no"))], "autoattack is not finished"),
        ([result("autoattack", None)], "autoattack is not finished"),
        ([result("core", 5000)], "autoattack is not finished"),
        (
            [result("autoattack", 1, findings=(Finding("S05", "block", "-", "-", "S05: no"),))],
            "forbids a number: S05: no",
        ),
        ([result("autoattack", 1, threat=ThreatModel.parse("L1:12"))], "leaderboards for Linf and L2"),
    ],
)
def test_only_a_finished_autoattack_that_no_check_blocks_has_an_entry(results, told):
    with pytest.raises(BenchError, match=told) as error:
        entries(results)
    assert "\n" not in str(error.value)

    beside = entries([*results, result("autoattack", 5000, defense="other")])
    assert list(beside.entries) == ["cifar10/Linf/other.json"]
    assert any(told in note for note in beside.notes)


def test_every_threat_model_has_a_file_of_its_own(tmp_path):
    """Two sizes of one norm, too; and the files are JSON of one entry."""
    small = ThreatModel.parse("Linf:4/255")
    results = [result("autoattack", 5000 + k, threat=at) for k, at in enumerate((LINF, L2, small))]

    paths = entries(results).write(tmp_path)

    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "cifar10/Linf/at.json",
        "cifar10/L2/at.json",
        "cifar10/Linf/at_4-255_n10000_seed0_1.json",
    ]
    assert [json.loads(path.read_text())["autoattack_acc"] for path in paths] == ["50.00", "50.01", "50.02"]


@pytest.mark.parametrize("label", ["<img src=x onerror=alert(1)>", "../../etc/passwd", "=cmd|x", "\x1b[31m\n", "/"])
def test_a_hostile_label_stays_in_the_folder_and_on_a_line(label, tmp_path):
    found = entries([result("autoattack", 5000, defense=label)], card=Card(facts={"title": f"{label}\n{label}"}))

    (path,) = found.write(tmp_path)

    assert path.resolve().parent == (tmp_path / "cifar10" / "Linf").resolve()
    assert all(note.isprintable() for note in found.notes)
    assert json.loads(path.read_text())["name"].isprintable()
