"""Archives of others from end to end: what pyautoattack has saved, judged by the defense itself."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bench
from bench import api
from bench.catalogue.loading import load_defense
from bench.catalogue.selection import defenses
from bench.checks.after import replay
from bench.datasets.load import load, published_order
from bench.errors import BenchError
from bench.results.outcome import Done
from bench.results.store import Store

N = 16
EXAMPLES = load("digits", "test", n=N)
OPTIONS = {"n": N, "executor": "local", "batch": 10}


@pytest.fixture(scope="module")
def at():
    (ref,) = defenses("at", EXAMPLES)
    return load_defense(ref, EXAMPLES.spec).model.eval()


@pytest.fixture(scope="module")
def theirs(at, tmp_path_factory):
    """What pyautoattack hands over, as its eval.py saves it, and the robust accuracy it reports."""
    from pyautoattack import AutoAttack

    attack = AutoAttack(at, norm="Linf", eps=0.2, version="custom", attacks=["apgd-ce"], seed=0)
    x, y = torch.from_numpy(EXAMPLES.x), torch.from_numpy(EXAMPLES.y)
    found = attack.run_standard_evaluation(x, y)
    x_adv = found[0] if isinstance(found, tuple) else found
    reported = attack.clean_accuracy(x_adv, y)
    path = tmp_path_factory.mktemp("theirs") / "aa_custom.pth"
    torch.save({"adv_complete": found}, path)
    return path, x_adv.detach().numpy(), float(reported)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder with attacks on the same images, to be copied."""
    folder = tmp_path_factory.mktemp("ran")
    api.run(
        defenses="at,standard",
        attacks="fgsm,square[queries=20]",
        threat="Linf:0.2",
        results=folder,
        checks="none",
        **OPTIONS,
    )
    return folder


@pytest.fixture
def folder(ran, tmp_path):
    return Path(shutil.copytree(ran, tmp_path / "results"))


def bring(path, folder, **more):
    given = {"checks": "none", "defense": "at", "threat": "Linf:0.2", **OPTIONS, **more}
    return api.import_archive(path, given.pop("defense"), given.pop("threat"), results=folder, **given)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_robust_accuracy_is_the_one_that_pyautoattack_reports(theirs, folder):
    path, _, reported = theirs

    results = bring(path, folder, source="Croce 2020")

    assert results.accuracy("at", "import:aa_custom").value == pytest.approx(reported)
    assert 0 < reported < results.accuracy("at").value


def test_the_best_known_is_the_and_that_numpy_computes(theirs, at, folder):
    """Per image over what is stored of the attacks and what the model answers to the archive."""
    path, x_adv, _ = theirs
    with torch.no_grad():
        held = (at(torch.from_numpy(x_adv)).argmax(1).numpy() == EXAMPLES.y) & (
            at(torch.from_numpy(EXAMPLES.x)).argmax(1).numpy() == EXAMPLES.y
        )
    counts = api.load(folder).only(defenses="at").examples().pivot(index="id", columns="attack", values="adversarial")
    expected = np.logical_and(held, counts.loc[list(EXAMPLES.ids)].to_numpy().all(axis=1))

    results = bring(path, folder)

    assert results.best_known("at").value == expected.mean()
    assert all(
        results.best_known("at").value <= results.accuracy("at", name).value for name in ("fgsm", "import:aa_custom")
    )
    assert results.best_known("at", "Linf:0.2") == results.best_known("at")


def test_again_is_a_no_op_and_another_process_reads_the_same(theirs, folder):
    path, _, _ = theirs
    first = bring(path, folder, source="Croce 2020").to_pandas()
    before = files(folder)

    again = bring(path, folder, source="Croce 2020").to_pandas()

    assert first.equals(again)
    assert files(folder) == before
    script = f"import bench; print(bench.load({str(folder)!r}).only(defenses='at').to_pandas().to_csv(index=False))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert told.stdout.strip() == bench.load(folder).only(defenses="at").to_pandas().to_csv(index=False).strip()
    assert ",best-known," in told.stdout


def test_the_form_of_the_file_does_not_matter(theirs, folder, tmp_path):
    """The same arrays under other names are the same cell: nothing is added."""
    path, x_adv, _ = theirs
    bring(path, folder, name="same")
    before = files(folder)
    np.savez(tmp_path / "other.npz", adversarial=x_adv, ids=np.array(EXAMPLES.ids), labels=EXAMPLES.y)
    np.save(tmp_path / "plain.npy", x_adv)
    np.savez(
        tmp_path / "theirs.npz",
        x_adv=x_adv[::-1],
        indices=[published_order("digits", "test").index(i) for i in EXAMPLES.ids[::-1]],
    )

    for other in ("other.npz", "plain.npy", "theirs.npz"):
        bring(tmp_path / other, folder, name="same")

    assert files(folder) == before


def test_everything_works_after_the_original_is_gone(theirs, folder, tmp_path):
    """The verdicts are judged again from the folder (A13), and its own copy can be imported elsewhere."""
    copy = shutil.copy(theirs[0], tmp_path / "mine.pth")
    results = bring(copy, folder)
    copy.unlink()

    store = Store(folder)
    (cell,) = [each.cell for each in api.load(folder) if each.cell.attack.label == "import:mine"]
    # What is stored of a defense names no files, so that it is resolved anew, as every run does.
    cell = replace(cell, defense=defenses("at", EXAMPLES)[0])
    kept, done = store.images(cell), store.find(cell)
    part = EXAMPLES.part(0, len(kept.x_adv))
    assert replay.replay([replay.Stored(cell, part, kept.x_adv, done)], "cpu") == [0]
    (archive,) = (folder / "archives").iterdir()
    elsewhere = bring(archive, tmp_path / "elsewhere", name="mine")
    assert elsewhere.accuracy("at", "import:mine") == results.accuracy("at", "import:mine")
    assert api.verify(folder)[1] == []
    assert api.prune(folder, dry_run=True) == []


def test_shards_and_processes_give_the_same(theirs, folder, tmp_path):
    path, _, _ = theirs
    one = bring(path, folder)

    other = bring(path, tmp_path / "other", executor="processes", jobs=2)

    outcomes = [
        next(each.outcome for each in results if each.cell.attack.access == "archive") for results in (one, other)
    ]
    assert np.array_equal(*(each.verdicts.adversarial for each in outcomes))


def test_several_attacks_in_one_file_are_several_columns(theirs, folder, tmp_path):
    """As `run_standard_evaluation_individual` saves them."""
    x_adv = torch.from_numpy(theirs[1])
    torch.save({"apgd-ce": x_adv, "none": torch.from_numpy(EXAMPLES.x)}, tmp_path / "individual.pth")

    results = bring(tmp_path / "individual.pth", folder, name="smith")

    assert results.accuracy("at", "import:smith-none") == results.accuracy("at")
    assert results.accuracy("at", "import:smith-apgd-ce").value == theirs[2]


def test_images_that_the_archive_lacks_stay_as_they_are(theirs, folder, tmp_path):
    np.savez(tmp_path / "few.npz", x_adv=theirs[1][:4], ids=np.array(EXAMPLES.ids[:4]))

    results = bring(tmp_path / "few.npz", folder)

    (outcome,) = [each.outcome for each in results if each.cell.attack.access == "archive"]
    assert isinstance(outcome, Done)
    assert np.array_equal(outcome.verdicts.adversarial[4:], outcome.verdicts.clean[4:])
    assert (outcome.cost.forwards, outcome.cost.backwards) == (0, 0)


def test_a_stochastic_defense_is_judged_in_draws(theirs, tmp_path):
    results = bring(theirs[0], tmp_path / "new", defense="atop", draws=4)

    (outcome,) = [each.outcome for each in results]
    assert outcome.verdicts.draws == 4
    assert len(set(outcome.verdicts.adversarial.tolist())) > 2


def test_the_checks_of_a_run_are_made_and_the_archive_is_judged_again(theirs, folder):
    results = bring(theirs[0], folder, checks="auto")

    (found,) = [each.findings for each in results if each.cell.attack.access == "archive"]
    told = {finding.id: finding.verdict for finding in found}
    assert told["A13"] == "pass"
    assert "S05" in told
    assert not {"A01", "A03", "A12"} & set(told)


def test_a_defense_that_a_check_blocks_gets_no_number(tmp_path):
    """A dead network: its clean images are right by chance only, and S-checks forbid a number."""
    mine = tmp_path / "dead.py"
    mine.write_text(
        "import torch\nfrom torch import nn\n"
        "class Nan(nn.Module):\n    def forward(self, x):\n        return x.flatten(1)[:, :10] * float('nan')\n"
        "def build():\n    return Nan()\n"
    )
    np.save(tmp_path / "a.npy", EXAMPLES.x)

    results = bring(tmp_path / "a.npy", tmp_path / "new", defense=f"{mine}:build", checks="auto")

    assert [each.outcome for each in results] == [None]
    assert results[0].blocked
    lines = results.to_pandas()
    assert lines["accuracy"].isna().all()


def _swapped(x_adv):
    return x_adv[::-1].copy()


def _pushed(x_adv):
    moved = x_adv.copy()
    moved[3, 0, 0, 0] = EXAMPLES.x[3, 0, 0, 0] + (0.3 if EXAMPLES.x[3, 0, 0, 0] < 0.5 else -0.3)
    return moved


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_pushed, "^V04: 1 of 16 examples leave Linf:0.2: the largest distance is 0.3"),
        (_swapped, "^V04: .*in another order"),
        (lambda x: np.where(x == x.max(), np.nan, x), "^V02: "),
        (lambda x: x * 255, "^V03: "),
        (lambda x: x[:, :, :4], "^V02: "),
    ],
)
def test_what_is_refused_leaves_the_folder_as_it_was(change, told, theirs, folder, tmp_path):
    torch.save(torch.from_numpy(change(theirs[1])), tmp_path / "bad.pt")
    before = files(folder)

    with pytest.raises(BenchError, match=told):
        bring(tmp_path / "bad.pt", folder)

    assert files(folder) == before
    with pytest.raises(BenchError, match=told):
        bring(tmp_path / "bad.pt", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"threat": ""}, "--threat is missing"),
        ({"threat": "Linf:0.2,L2:1"}, "names 2: an archive was made under one"),
        ({"threat": "stadv:0.4"}, "^V07"),
        ({"defense": "at,ap"}, "names 2: an archive was made against one"),
        ({"defense": "nobody"}, "unknown defense"),
        ({"attacks": "fgsm"}, "an import takes no attacks: give file"),
        ({"name": "a b"}, "--name"),
        ({"source": "x" * 200}, "--source"),
        ({"n": 0}, "n=0"),
        ({"device": "toaster"}, "--device"),
    ],
)
def test_a_mistake_in_the_request_is_one_line_and_changes_nothing(more, told, theirs, folder):
    before = files(folder)

    with pytest.raises(BenchError, match=told) as error:
        bring(theirs[0], folder, **more)

    assert "\n" not in str(error.value)
    assert files(folder) == before


def test_another_archive_under_the_same_name_is_refused(theirs, folder, tmp_path):
    bring(theirs[0], folder, name="smith")
    before = files(folder)
    np.save(tmp_path / "other.npy", EXAMPLES.x)

    with pytest.raises(BenchError, match="give a --name"):
        bring(tmp_path / "other.npy", folder, name="smith")

    assert files(folder) == before


def test_a_run_beside_it_goes_on_as_before(theirs, folder):
    """The same run finds its cells finished, and a gate holds the attacks alone."""
    before = api.load(folder)
    bring(theirs[0], folder, name="smith")

    options = {"defenses": "at,standard", "attacks": "fgsm,square[queries=20]", "threat": "Linf:0.2"}
    again = api.run(results=folder, checks="none", **options, **OPTIONS)

    assert [each.cell.key for each in again] == [each.cell.key for each in before]
    report = api.gate(folder, again, allow_underpowered=True)
    assert report.exit_code == 0
    assert any("archives of others" in note for note in report.notes)


def test_attacks_of_a_file_that_get_one_name_are_refused_before_anything_is_stored(folder, tmp_path):
    """Otherwise the last of them alone would stay."""
    before = files(folder)
    np.savez(tmp_path / "two.npz", **{"apgd ce": EXAMPLES.x, "apgd-ce": EXAMPLES.x})

    with pytest.raises(BenchError, match="would both be called import:two-apgd-ce"):
        bring(tmp_path / "two.npz", folder)
    assert files(folder) == before
