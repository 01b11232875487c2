"""A search from the outside: what it finds, what it spends, and where it looks."""

import tomllib
from pathlib import Path

import pytest
import torch

import bench
from bench import api
from bench.api.search import AttackSearch
from bench.cli import main
from bench.datasets import digits as digits_module
from bench.errors import BenchError
from bench.results.outcome import Done
from bench.results.store import Store
from tests.api.decoy import Decoy

DECOY = f"{Path(__file__).with_name('decoy.py')}:build"
EPS, N, BUDGET = 0.08, 24, 5000
# By gradient, score and momentum, on every loss that a registered attack has by default.
PRESETS = "pgd-eot-20,cw-20,apgd-ce[eot=4],apgd-dlr[eot=4],across-draws[n_restarts=1],square-eot[queries=100]"


def searched(folder, **options):
    wanted = {"threat": f"Linf:{EPS}", "n": N, "checks": "none", "results": folder / "results", "device": "cpu"}
    return bench.search_attack(DECOY, BUDGET, **{**wanted, "out": folder / "found.toml", **options})


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search, in which nobody gets test images before the attack is written."""
    folder, real = tmp_path_factory.mktemp("search"), digits_module.digits

    def guarded(split):
        assert split != "test" or (folder / "found.toml").exists(), "the search looks at test images"
        return real(split)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_EXECUTOR", "local")
        patch.setattr(digits_module, "digits", guarded)
        return searched(folder, beside=PRESETS)


def accuracy(found, attack):
    return found.results.accuracy("decoy", attack).value


@pytest.mark.slow
def test_it_finds_what_no_preset_finds(found):
    """The presets leave every image that is right without attack; the truth in closed form is half of that.

    The loss that sees through the decoy is found, and with it most of what a linear attack can break.
    """
    test, model = digits_module.digits("test").first(N), Decoy()
    x, y = torch.from_numpy(test.x), torch.from_numpy(test.y)
    truth = float((model.withstood(x, y, EPS) & (model(x).argmax(1) == y)).float().mean())
    standard = found.results.accuracy("decoy").value

    for result in found.results[1:]:
        assert accuracy(found, result.cell.attack.label) >= standard - 0.05, result.cell.attack.label
    assert truth <= accuracy(found, "found") <= truth + 0.2
    assert standard > truth + 0.3
    assert "loss=mean" in found.searched.found.label


@pytest.mark.slow
def test_the_budget_is_kept_and_every_pass_is_counted(found):
    """The passes that it tells of are those of all cells that were computed, and no more than was allowed."""
    stored = Store(found.path.parent / "results").aside()
    ledgers = [stored.find(cell) for cell in cells(stored)]

    spent = sum(each.cost.forwards + each.cost.backwards for each in ledgers if isinstance(each, Done))

    assert spent == found.searched.passes <= BUDGET * N
    assert spent > BUDGET * N / 4


def cells(store):
    """Every cell of a folder, whether a run asked for it or not."""
    from bench.results.cell import Cell
    from bench.results.documents import read

    documents = (read(path) for path in sorted(store.root.rglob("*.json")))
    return [Cell.from_json(each["cell"], each["key"]) for each in documents if each and "verdicts" in each]


@pytest.mark.slow
def test_only_validation_images_are_searched_on(found):
    store = Store(found.path.parent / "results")

    assert {cell.slice.split for cell in cells(store.aside())} == {"validation"}
    assert {result.cell.slice.split for result in found.results} == {"test"}


@pytest.mark.slow
def test_the_same_call_finds_the_same_and_computes_nothing_again(found, tmp_path, monkeypatch):
    """The same bytes, in another folder too; in the same one every cell is there."""
    before = found.path.read_bytes()
    folder = found.path.parent / "results"

    def refuse(*_):
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr("bench.harness.executors.local.compute", refuse)
        again = searched(found.path.parent, beside=PRESETS)

    assert again.path.read_bytes() == before
    assert again.searched == found.searched
    assert searched(tmp_path).path.read_bytes() == before
    assert folder.is_dir()


@pytest.mark.slow
def test_a_run_of_the_file_has_the_verdicts_of_the_search(found, capsys):
    """They are stored: nothing is left to run."""
    words = ["--threat", f"Linf:{EPS}", "--n", str(N), "--checks", "none", "--device", "cpu"]

    status = main(
        [
            "run",
            "--defenses",
            DECOY,
            "--attacks",
            str(found.path),
            *words,
            "--results",
            str(found.path.parent / "results"),
        ]
    )

    told = capsys.readouterr()
    assert status == 0
    assert "1 cell stored already, 0 to run" in told.err
    assert f"{100 * accuracy(found, 'found'):.1f}" in told.out


@pytest.mark.slow
def test_the_file_says_what_was_found_and_how(found):
    told = tomllib.loads(found.path.read_text())

    assert told["attacks"] == list(found.searched.found.attacks)
    assert told["search"] == {
        "defense": "decoy",
        "dataset": "digits",
        "threat": f"Linf:{EPS}",
        "budget": BUDGET,
        "seed": 0,
        "n": N,
        "strategy": "successive halving",
        "tried": len(found.searched.tried) - 3,
        "left_out": 3,
        "passes": found.searched.passes,
        "validation_images": N,
        "validation_accuracy": round(found.searched.found.accuracy, 4),
    }
    # What it declares nothing for is named once each.
    assert sorted(each.attacks[0] for each in found.searched.left_out) == ["blind", "bpda", "derandomized"]


@pytest.mark.slow
def test_what_is_shown_names_the_file_the_passes_and_the_attacks_beside_it(found):
    text, told = repr(found), found.to_json()

    assert str(found.path) in text
    assert f"of {BUDGET:,} per image" in text
    assert "across-draws[n_restarts=1]" in text
    assert {row["attack"] for row in told["test"]} == {result.cell.attack.label for result in found.results}
    assert len(told["trials"]) == len(found.searched.tried)


@pytest.mark.slow
def test_random_search_tries_every_attack_on_all_images(tmp_path):
    found = searched(tmp_path, random=True)

    tried = [each for each in found.searched.tried if not each.reason]
    assert {each.images for each in tried} == {N}
    assert found.searched.passes <= BUDGET * N
    assert found.searched.strategy == "random search"
    assert len(found.searched.found.attacks) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budget": 0}, "--budget 0 is out of range"),
        ({"budget": 2}, "--budget 2 is too small for any attack"),
        ({"out": "found.json"}, "must end in .toml"),
        ({"threat": "stadv:0.4"}, "a search is under one of Linf, L2, L1"),
        ({"threat": "Linf:0.1,L2:1"}, "a search is under one of"),
        ({"defense": "at,atop"}, "names 2: an attack is searched for one"),
        ({"beside": "adaptve"}, "unknown attack 'adaptve'"),
        ({"n": 257}, "needs validation images.*holds 1 to 256"),
        ({"n": 0}, "out of range"),
    ],
)
def test_a_mistake_is_said_in_one_line_and_nothing_is_written(tmp_path, options, said):
    given = {"defense": "standard", "budget": 1000, "n": 8, "checks": "none", "results": tmp_path / "results"}
    given = {**given, "out": tmp_path / "found.toml", **options}

    with pytest.raises(BenchError, match=said) as refused:
        api.search_attack(given.pop("defense"), given.pop("budget"), **given)

    assert "\n" not in str(refused.value)
    assert not (tmp_path / "found.toml").exists()


def test_images_without_a_validation_split_are_refused(tmp_path):
    """A folder that has a test set alone: an attack found on it would be measured where it was made."""
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "data" / "test" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "data" / "test" / name / "0.png")

    with pytest.raises(BenchError, match=r"needs validation images.*has no validation/ folder"):
        api.search_attack("standard", 100, dataset=f"imagefolder:{tmp_path / 'data'}", results=tmp_path / "results")


def test_it_is_a_name_of_the_api():
    assert api.AttackSearch is AttackSearch
    assert bench.search_attack is api.search_attack
