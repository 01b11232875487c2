"""Keys name versions of our code, and golden verdicts defend them."""

from __future__ import annotations

import importlib
import json
import shutil

import pytest

from bench.catalogue import ATTACKS, DEFENSES, identity, sources, versions
from bench.catalogue.selection import Selection
from bench.datasets.load import load
from bench.harness import matrix
from bench.machine import system as _system
from bench.threats import ThreatModel
from tests import vouch

UNITS = {unit.name: unit for unit in versions.units()}
TARGETS = sorted({entry.target for entry in (*ATTACKS, *DEFENSES) if entry.target.startswith("bench.")})


@pytest.mark.parametrize("name", UNITS)
def test_somebody_has_vouched_for_the_code_there_is(name):
    """It was changed and nobody computed its golden verdicts again: run `make vouch`, and commit what it writes."""
    row, unit = json.loads(vouch.GOLDEN.read_text())["units"].get(name, {}), UNITS[name]

    assert (row.get("version"), row.get("code")) == (unit.version, unit.code), "run 'make vouch'"
    assert versions.vouched()[name] == unit.code


def test_nothing_is_vouched_for_that_is_not_there():
    rows = json.loads(vouch.GOLDEN.read_text())["units"]

    assert set(rows) == set(UNITS) == set(versions.vouched())


def test_everything_that_is_registered_is_a_unit_with_golden_verdicts():
    """Without them a version is defended by nothing but the digest of the code."""
    rows = json.loads(vouch.GOLDEN.read_text())["units"]

    bare = {name for name, row in rows.items() if not row["golden"]}

    assert bare == {
        versions.HARNESS,  # those of everything else
        *("attacks of advlib", "attacks of torchattacks"),
        *("models of hf", "models of robustbench", "models of timm", "models of torchvision"),
    }


@pytest.mark.slow
def test_the_golden_verdicts_are_what_the_code_gives():
    """A few of them: `make vouch` computes all that changed."""
    rows = json.loads(vouch.GOLDEN.read_text())["units"]
    names = ("attack fgsm", "attack pgd-20", "attack stadv", "attack hue", "defense at", "defense atop")

    now = vouch.golden([UNITS[name] for name in names], jobs=1)

    assert {name: vouch.differences(rows[name]["golden"], now[name]) for name in names} == {name: [] for name in names}


def test_other_verdicts_and_other_passes_are_differences_and_a_flip_of_rounding_is_none():
    row = {"draws": 1, "clean": "1111", "adversarial": "1010", "passes": [100, 90]}

    assert vouch.differences({"a": row}, {"a": row}) == []
    assert vouch.differences({"a": row}, {"a": {**row, "adversarial": "1011", "passes": [105, 95]}}) == []
    assert vouch.differences({"a": row}, {"a": {**row, "adversarial": "1111"}}) == [
        "a: 1010 in 100+90 passes -> 1111 in 100+90 passes"
    ]
    assert len(vouch.differences({"a": row}, {"a": {**row, "passes": [101, 90]}})) == 1
    assert len(vouch.differences({"a": row}, {"a": {**row, "adversarial": "1011", "passes": [50, 90]}})) == 1
    flipped = {**row, "adversarial": "1011", "passes": [105, 95]}
    assert len(vouch.differences({"a": row, "b": row}, {"a": flipped, "b": flipped})) == 2
    assert vouch.differences({"a": row}, {}) == ["a is gone"]
    assert vouch.differences({}, {"a": row}) == ["a is new"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_digest_covers_every_module_the_code_takes_something_from(target):
    """Held against the modules that Python really resolved the names from."""
    name = target.partition(":")[0]
    module = importlib.import_module(name)
    homes = {getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in vars(module).values()}

    covered = sources.closure([name])

    assert name in covered
    assert {home for home in homes if isinstance(home, str) and home.startswith("bench.")} - set(
        sources.HARMLESS
    ) <= covered


def test_an_attack_does_not_depend_on_its_neighbors():
    """Adding an attack must not make anybody vouch for all the others."""
    covered = sources.closure(["bench.attacks.lp.pgd"])

    assert {"bench.attacks.lp.pgd", "bench.attacks.search", "bench.attacks.losses", "bench.oracle.geometry"} <= covered
    assert not {"bench.attacks.lp.square", "bench.attacks.unforeseen.stadv", "bench.attacks.lp.apgd"} & covered


def test_the_harness_is_all_that_verdicts_pass_through():
    """`features` is the ruler of a threat model and was in no digest: 83.3 % stood where 45.8 % was true."""
    covered = sources.closure(versions._HARNESS_MODULES)

    assert {
        "bench.oracle.activations",
        "bench.threats",
        "bench.results.outcome",
        "bench.harness.task",
        "bench.results.cell",
    } <= covered


def key_of(attack="ppgd", threat="lpips:0.3"):
    (planned,) = matrix.build(Selection.of("at", attack, (ThreatModel.parse(threat),)), load("digits", "test", n=4))
    return planned.cell.key


def test_no_path_no_module_and_no_source_text_is_in_a_key(monkeypatch):
    """A target that moved is the same attack and the same defense."""
    before = key_of()
    for registry, name in ((ATTACKS, "ppgd"), (DEFENSES, "at")):
        entry = registry.get(name)
        moved = {**entry.__dict__, "target": entry.target.replace("bench.", "bench.room.")}
        monkeypatch.setitem(registry._entries, name, type(entry)(**moved))
    monkeypatch.setattr(versions, "_of", lambda unit: str(unit.version))

    assert key_of() == before


@pytest.mark.parametrize("what", ["protocol", "attack", "defense"])
def test_a_raised_version_is_another_key(monkeypatch, what):
    before = key_of()
    if what == "protocol":
        monkeypatch.setattr(versions, "PROTOCOL", 2)
    else:
        registry, name = (ATTACKS, "ppgd") if what == "attack" else (DEFENSES, "at")
        monkeypatch.setitem(
            registry._entries, name, type(registry.get(name))(**{**registry.get(name).__dict__, "version": 2})
        )

    assert key_of() != before


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of all our code that may be edited."""
    for name, package in (("benchmark", "bench"), ("attacks", "bench.attacks"), ("defenses", "bench.defenses")):
        ignored = shutil.ignore_patterns("__pycache__", "weights")
        shutil.copytree(_system.package_folder(package), tmp_path / name, ignore=ignored)
    folders = {"bench": "benchmark", "bench.attacks": "attacks", "bench.defenses": "defenses"}
    monkeypatch.setattr(sources, "package_folder", lambda package: tmp_path / folders[package])
    forget()
    yield tmp_path
    forget()


def forget():
    for cached in (sources._digest, sources.file_of, sources._imports, sources._tree, sources._alone, sources._whole):
        cached.cache_clear()
    versions._noted.cache_clear()
    versions._of_untouched.cache_clear()


# The file, what stood there, and what stands there now.
HARMLESS_EDITS = {
    "a comment in the types": ("benchmark/threats.py", "class ThreatModel", "# a comment\nclass ThreatModel"),
    "a docstring of the judge": ("benchmark/harness/evaluate.py", "The only place where verdicts", "Where verdicts"),
    "a private function of the judge": ("benchmark/harness/evaluate.py", "_as_counts", "_packed"),
    "a private constant of the task": ("benchmark/harness/task.py", "_QUERIES_PER_LOOK", "_PATIENCE"),
    "a private method of Square's state": ("benchmark/oracle/oracle.py", "_portions", "_shares"),
    "a local variable of a walk": ("attacks/search.py", "held_loss", "loss_before"),
    "a reformatted statement": (
        "benchmark/results/outcome.py",
        "parts]).min(axis=0)",
        "parts]).min(\n        axis=0\n    )",
    ),
    "the words of an error": ("benchmark/threats.py", "has no eps: write", "lacks its eps: write"),
    "a comment in a defense": ("defenses/atop.py", "def load", "# Loads.\ndef load"),
    "the order of imports": (
        "benchmark/harness/evaluate.py",
        "import numpy as np\nimport torch\n",
        "import torch\nimport numpy as np\n",
    ),
}
HARMFUL_EDITS = {
    "the ruler of lpips": ("benchmark/oracle/activations.py", "MOST_LAYERS = 5", "MOST_LAYERS = 1"),
    "queries between two looks": ("benchmark/harness/task.py", "_QUERIES_PER_LOOK = 8", "_QUERIES_PER_LOOK = 64"),
    "the best case for the worst": ("benchmark/results/outcome.py", "parts]).min(axis=0)", "parts]).max(axis=0)"),
    "what is borderline": ("benchmark/harness/evaluate.py", "BORDERLINE = 1e-4", "BORDERLINE = 1e-3"),
    "the draws that a judge takes": (
        "benchmark/harness/evaluate.py",
        "for draw in range(draws):",
        "for draw in range(1):",
    ),
    "the step of PGD": ("attacks/lp/pgd.py", "step_size: float = 0.25", "step_size: float = 0.2"),
    "the squares of Square": ("attacks/lp/square.py", "p_init: float = 0.8", "p_init: float = 0.9"),
    "the momentum of APGD": ("attacks/lp/apgd_dense.py", "_MOMENTUM = 0.75", "_MOMENTUM = 0.7"),
    "the noise of a random transform": (
        "defenses/transforms.py",
        "missing_rate: float = 0.25",
        "missing_rate: float = 0.3",
    ),
    "the shards of a cell": ("benchmark/results/cell.py", "min(start + self.batch", "min(start + 2 * self.batch"),
}


def edit(tree, path, old, new):
    text = (tree / path).read_text()
    assert old in text, f"{old!r} is not in {path} any more: name another edit"
    (tree / path).write_text(text.replace(old, new))
    forget()


def unvouched():
    return [unit.name for unit in versions.units() if versions.vouched()[unit.name] != unit.code]


@pytest.mark.parametrize("what", HARMLESS_EDITS)
def test_an_edit_that_changes_nothing_needs_nobody_to_vouch_for_it_and_keeps_every_key(tree, what):
    before = key_of()

    edit(tree, *HARMLESS_EDITS[what])

    assert unvouched() == []
    assert key_of() == before


@pytest.mark.parametrize("what", HARMFUL_EDITS)
def test_an_edit_that_can_reach_a_verdict_has_to_be_vouched_for(tree, what):
    edit(tree, *HARMFUL_EDITS[what])

    assert unvouched() != []


def test_bytes_stand_for_digests_only_where_all_were_noted_of_the_same_bytes(tree, monkeypatch):
    """What is noted of code in part vouched for must not pass for all of it: it did, while this was written."""
    now = {unit.name: unit.code for unit in versions.units()}
    monkeypatch.setattr(versions, "VOUCHED", tree / "vouched.json")

    versions.note({**now, "harness": "of before"})
    assert not versions._of_untouched()
    assert versions.of_harness() != "1"

    versions.note(now)
    assert versions._of_untouched()
    assert versions.of_harness() == "1"
    edit(tree, *HARMFUL_EDITS["the ruler of lpips"])
    assert not versions._of_untouched()
    assert versions.of_harness() != "1"


def test_until_then_its_numbers_stand_apart(tree):
    """The case of the review: the ruler is another one, so what is stored was measured with another ruler."""
    before = key_of()

    edit(tree, *HARMFUL_EDITS["the ruler of lpips"])
    (planned,) = matrix.build(
        Selection.of("at", "ppgd", (ThreatModel.parse("lpips:0.3"),)), load("digits", "test", n=4)
    )

    assert planned.cell.key != before
    assert planned.cell.protocol.startswith(f"{versions.PROTOCOL}+")
    assert versions.edited([planned.cell.attack, planned.cell.defense]) == ["harness", "ppgd"]


def test_a_plug_in_of_somebody_else_is_known_by_its_code(tmp_path, monkeypatch):
    """Nobody makes its author declare versions."""
    package = tmp_path / "stranger"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "attack.py").write_text("STEP = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    identity.of_code.cache_clear()

    before = versions.of_attack("strange", "stranger.attack:Attack", 1)
    (package / "attack.py").write_text("STEP = 2\n")
    identity.of_code.cache_clear()

    assert versions.of_attack("strange", "stranger.attack:Attack", 1) != before
    assert versions.of_attack("strange", "stranger.attack:Attack", 2) != before


def test_code_that_nobody_vouched_for_is_said_before_a_run(tree, tmp_path, capsys):
    from bench.cli import main

    edit(tree, *HARMFUL_EDITS["the step of PGD"])

    assert (
        main(
            [
                "run",
                "--defenses",
                "at",
                "--attacks",
                "pgd-20",
                "--threat",
                "Linf:0.2",
                "--n",
                "4",
                "--checks",
                "none",
                "--executor",
                "local",
                "--results",
                str(tmp_path / "results"),
            ]
        )
        == 0
    )
    assert "note: pgd-20: this code is not the one that golden verdicts vouch for" in capsys.readouterr().err
