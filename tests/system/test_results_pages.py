"""The texts about results/: what `make results` makes of the verdicts is what is committed, and follows them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.selection import Selection
from bench.datasets.examples import Examples
from bench.errors import BenchError
from bench.harness.matrix import build
from bench.results.cell import Cell, Planned, Result, Slice
from bench.results.finding import Finding
from bench.results.outcome import Cost, Done, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel
from bench.types import ImageSpec

ROOT = Path(__file__).resolve().parents[2]
MAKER = ROOT / "docs" / "site" / "results"

sys.path.insert(0, str(MAKER))
try:
    import page_file
    import page_tables
    import page_training
    import prose
    import run_commands
finally:
    sys.path.remove(str(MAKER))


def _maker():
    """The module that `python docs/site/results` runs; its siblings are imported already, or found beside it."""
    spec = importlib.util.spec_from_file_location("results_maker", MAKER / "__main__.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(MAKER))
    try:
        spec.loader.exec_module(loaded)
    finally:
        sys.path.remove(str(MAKER))
    return loaded


maker = _maker()
PAGES = page_file.pages()

LINF, L2 = ThreatModel.parse("Linf:0.2"), ThreatModel.parse("L2:1")
HOSTILE = "<img src=x onerror=alert(1)>|[a](javascript:b)\x1b[31m\n# h"
N = 60
PAGE = '''
title = "Simulated"
note = """
Under PGD `atop` keeps {{ accuracy('atop', 'pgd-20', 'Linf:0.2') }}, {{ relation('atop', 'at', 'pgd-20@Linf:0.2') }} AT.
"""
[[tables]]
columns = ["standard", "pgd-20@Linf", "worst-unseen"]
[[compared]]
a = "atop"
b = "at"
columns = "pgd-20"
[[claims]]
study = "results/simulated/claims.toml"
'''
CLAIMS = """
title = "What is claimed"
[[protocols]]
name = "adaptive"
attacks = "pgd-20"
[[claims]]
name = "AToP above AT on unseen attacks"
better = "atop"
worse = "at"
on = "unseen"
"""


@pytest.fixture(autouse=True)
def read_again():
    """Results are read once in a run of the generator, and here once in a test."""
    maker.load.cache_clear()


def committed():
    return [pytest.param(page, id=page.folder.name) for page in PAGES]


@pytest.mark.parametrize("page", committed())
def test_the_files_of_a_folder_are_what_its_verdicts_say(page):
    report = page.folder / "report.html"
    for path, content in maker.made(page, report=report.is_file()).items():
        assert path.read_bytes() == content, f"{path.relative_to(ROOT)}: make results"
    if report.is_file():
        assert report.stat().st_size <= maker.LARGEST_REPORT


def test_the_files_about_all_folders_are_what_the_verdicts_say():
    for path, content in maker.together(PAGES).items():
        assert path.read_bytes() == content, f"{path.relative_to(ROOT)}: make results"


def test_every_folder_with_a_readme_has_a_page():
    """A README without one was typed by hand."""
    told = {path.parent.name for path in (ROOT / "results").glob("*/README.md")}
    assert told == {page.folder.name for page in PAGES}


@pytest.mark.parametrize("page", committed())
def test_the_commands_ask_for_the_cells_that_are_stored(page):
    """The oracle is the matrix that `bench run` would make of them, on images of the same kind."""
    readme = (page.folder / "README.md").read_text(encoding="utf-8")
    asked = set()
    for command in re.findall(r"^    (bench run --dataset .*(?:\n        .*)*)", readme.partition("\n## ")[0], re.M):
        words = shlex.split(command.replace("\\\n", " "))
        options = dict(zip(words[2::2], words[3::2], strict=True))
        stored = bench.load(page.folder)[0].cell.slice
        n = int(options["--n"])
        assert f"results/{page.folder.name}" == options["--results"]
        images = Examples(stored.dataset, "test", [str(at) for at in range(n)], np.zeros((n, 3, 32, 32), np.float32),
                          np.zeros(n, np.int64), ImageSpec((3, 32, 32), 10))  # fmt: skip
        threats = tuple(map(ThreatModel.parse, options["--threat"].split(",")))
        plan = build(Selection.of(options["--defenses"], options["--attacks"], threats), images)
        asked |= {(n, each.cell.defense.label, each.cell.attack.label, each.cell.threat) for each in plan}
    results = bench.load(page.folder)
    assert asked == {(e.cell.slice.n, e.cell.defense.label, e.cell.attack.label, e.cell.threat) for e in results}


def right(robust, *, draws=1, clean=N):
    counts = [np.where(np.arange(N) < k, draws, 0).astype(np.uint8) for k in (clean, robust)]
    return Done(Verdicts(draws, *counts), Cost(N, N))


def cell(defense, threat, *, attack="pgd-20", draws=1, seen=(LINF,), n=N):
    part = Slice("digits", "test", n, f"images-{n}", tuple(f"{at}:{at}" for at in range(n)))
    return Cell(DefenseRef(defense, defense, f"{defense}-digest", draws > 1, seen),
                AttackRef(attack, attack, f"{attack}-digest"), threat, part, 0, draws, 128, "1")  # fmt: skip


def tree(root, cells, page=PAGE):
    """A repository with one folder of simulated results, cells with their outcomes, and what the generator fills."""
    folder = root / "results" / "simulated"
    store = Store(folder)
    store.ask([Planned(one) for one, _ in cells])
    for one, done in cells:
        if isinstance(done, str):
            store.fail(one, done)
        elif done is not None:
            store.finish(one, [done], {})
    (folder / "page.toml").write_text(page, encoding="utf-8")
    (folder / "claims.toml").write_text(CLAIMS, encoding="utf-8")
    (root / "docs").mkdir(exist_ok=True)
    (root / "README.md").write_text(f"# R\n\n{maker.BEGIN}\nto be replaced\n{maker.END}\n\nmore\n", encoding="utf-8")
    return folder, store


def usual(atop=30):
    return [
        *((cell("atop", threat, draws=10), right(atop, draws=10)) for threat in (LINF, L2)),
        (cell("at", LINF), right(40)),
        (cell("at", L2), right(10)),
    ]


def readme_of(folder):
    maker.load.cache_clear()
    return maker.readme(page_file.read(folder / "page.toml"), report=False)


def rows(text, first):
    return [[each.strip() for each in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith(first)]


def test_a_page_file_is_enough_for_a_new_folder(tmp_path):
    folder, _ = tree(tmp_path, usual())

    maker.main([], tmp_path)

    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert rows(readme, "| atop (mean")[0][1:3] == ["100.0 [94.0, 100.0]", r"50.0\* [37.7, 62.3]"]
    assert "`atop` keeps 50.0 % [37.7, 62.3], below AT." in " ".join(readme.split())
    assert "    bench run --dataset digits --defenses atop,at --attacks pgd-20 --threat Linf:0.2,L2:1 --n 60" in readme
    assert rows(readme, "| AToP above AT")[0][1:5] == ["adaptive", "50.0", "16.7", "+33.3"]
    assert rows(readme, "| AToP above AT")[0][6] == "holds"
    assert "no card to show for atop: its verdicts are of other weights or code than those here" in readme
    assert {path.name for path in folder.iterdir()} >= {"table.md", "leaderboard.csv", "report.html"}
    top = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "[Simulated](results/simulated/README.md)" in top
    assert "**holds, +33.3**" in top
    assert "to be replaced" not in top
    assert top.endswith("\n\nmore\n")
    findings = (tmp_path / "docs" / "findings.md").read_text(encoding="utf-8")
    assert rows(findings, "| AToP above AT") == rows(readme, "| AToP above AT")


def test_a_verdict_that_changes_changes_the_text(tmp_path):
    """Of one cell in a copy: the number, the sentence, the test and the claim."""
    folder, _ = tree(tmp_path, usual())
    before = readme_of(folder)
    shutil.rmtree(folder)
    folder, _ = tree(tmp_path, [(each, right(55, draws=10) if each.defense.label == "atop" else done)
                                for each, done in usual()])  # fmt: skip

    after = readme_of(folder)

    assert "below AT." in before
    assert "above AT." in after
    assert rows(before, "| atop | at | pgd-20 Linf")[0][7] == "at"
    assert rows(after, "| atop | at | pgd-20 Linf")[0][7] == "atop"
    assert rows(after, "| AToP above AT")[0][4] == "+75.0"


def test_one_stored_verdict_of_a_published_folder_changes_its_readme(tmp_path):
    """A digit of a document of CIFAR-10, sealed again as if it had been measured so."""
    shutil.copytree(ROOT / "results", tmp_path / "results", ignore=shutil.ignore_patterns("baseline"))
    folder = tmp_path / "results" / "cifar10"
    page = page_file.read(folder / "page.toml")
    assert maker.made(page, report=True)[folder / "README.md"] == (folder / "README.md").read_bytes()
    (path,) = (folder / "cifar10" / "stadv-0.8" / "at").glob("stadv.*.json")
    document = json.loads(path.read_text())
    counts = document["verdicts"]["adversarial"]
    at = next(
        i for i, (a, b) in enumerate(zip(document["verdicts"]["clean"], counts, strict=True)) if (a, b) == ("1", "0")
    )
    document["verdicts"]["adversarial"] = f"{counts[:at]}1{counts[at + 1 :]}"
    reseal(path, document)
    maker.load.cache_clear()

    changed = maker.made(page, report=True)

    old = float(rows((folder / "README.md").read_text(), "| at (")[0][6].partition(" ")[0])
    new = float(rows(changed[folder / "README.md"].decode(), "| at (")[0][6].partition(" ")[0])
    assert new == pytest.approx(old + 100 / 256, abs=0.1)
    assert changed[folder / "table.md"] != (folder / "table.md").read_bytes()
    assert changed[folder / "leaderboard.csv"] != (folder / "leaderboard.csv").read_bytes()


def reseal(path, document):
    held = {name: value for name, value in document.items() if name not in ("digest", "provenance")}
    document["digest"] = hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(document))


def test_a_blocked_defense_has_no_number_anywhere(tmp_path):
    folder, store = tree(tmp_path, usual())
    one = cell("atop", LINF, draws=10)
    block = [Finding("S05", "block", "1", "0", "it answers with NaN")]
    results = bench.load(folder)
    stored = next(each.cell for each in results if each.cell.defense.label == "atop")
    store.keep_preflight(stored.defense, stored.slice, block, one.key)

    readme = readme_of(folder)

    told = [cell for row in rows(readme, "| atop (") for cell in row[1:]]
    assert told
    assert set(told) == {"BLOCK"}
    assert "`atop` keeps no number (blocked), not comparable with AT" in " ".join(readme.split())
    assert rows(readme, "| atop | at |") == [["atop", "at", "pgd-20", "-", "-", "-", "-", "-"]]
    assert "atop has no number, a check blocks it: it answers with NaN" in readme
    assert rows(readme, "| AToP above AT")[0][2:] == ["-", "-", "-", "-", "not measured", "-"]


def test_what_failed_or_is_missing_is_no_number_and_a_bound_is_marked(tmp_path):
    cells = usual()
    cells[0] = (cells[0][0], "boom")
    folder, _ = tree(tmp_path, [*cells, (cell("at", L2, attack="fgsm"), None)])

    readme = readme_of(folder)

    assert rows(readme, "| atop (mean")[0][2] == "FAIL"
    assert "keeps no number (failed), not comparable with AT" in " ".join(readme.split())
    assert "pgd-20 (Linf:0.2) is left out: failed for A" in readme
    assert rows(readme, "| at (")[0][3].startswith("&lt;= 16.7")
    assert [row[2] for row in rows(readme, "| atop | at |")] == ["pgd-20 L2:1"]


def test_a_hostile_name_stays_text_wherever_it_stands(tmp_path):
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    page = PAGE.replace('a = "atop"', f"a = {json.dumps(HOSTILE)}").replace(
        'title = "Simulated"', f"title = {json.dumps(HOSTILE)}"
    )
    folder, _ = tree(tmp_path, [*usual(), (cell(HOSTILE, LINF), right(20)), (cell(HOSTILE, L2), right(20))], page)

    maker.main([], tmp_path)

    for path in (folder / "README.md", tmp_path / "docs" / "findings.md", tmp_path / "README.md"):
        text = path.read_text(encoding="utf-8")
        tokens = [each for block in markdown.parse(text) for each in (block, *(block.children or ()))]
        raw = [each.content for each in tokens if each.type in ("html_inline", "html_block")]
        assert all(re.fullmatch(r"<br>|<!--.*?-->", each.strip(), re.S) for each in raw), raw
        assert not [each for each in tokens if each.type == "link_open" and "javascript" in each.attrs["href"]]
        assert "\x1b" not in text
    assert len(rows((folder / "README.md").read_text(encoding="utf-8"), "| &lt;img")) >= 2


def test_a_worst_case_over_some_attacks_has_a_head_of_its_own(tmp_path):
    """As published, beside adaptive: of the attack on the classifier alone, and of all attacks."""
    columns = '["worst-unseen", { head = "unseen, as published", attacks = "blind", column = "worst-unseen" }]'
    page = PAGE.replace('["standard", "pgd-20@Linf", "worst-unseen"]', columns)
    blind = (cell("atop", L2, attack="blind", draws=10), right(50, draws=10))
    folder, _ = tree(tmp_path, [*usual(), blind], page)

    readme = readme_of(folder)

    assert "| unseen, as published |" in readme
    assert "- unseen, as published: worst-unseen over blind alone" in readme
    assert rows(readme, "| atop (mean")[0][1:] == ["50.0 [37.7, 62.3]", "83.3 [72.0, 90.7]"]
    # Another defense never met it: a gap, not a number.
    assert rows(readme, "| at (")[0][2] == "..."


def test_several_sets_of_images_have_a_command_each_and_a_table_names_its_own(tmp_path):
    more = [(replace(each, slice=cell("x", LINF, n=30).slice), None) for each, _ in usual()]
    folder, _ = tree(tmp_path, [*usual(), *more])

    page = re.sub('note = """.*?"""', "", PAGE, flags=re.S)
    (folder / "page.toml").write_text(page, encoding="utf-8")
    with pytest.raises(BenchError, match=r"chooses 2 of the sets of images here, of \[60, 30\]"):
        readme_of(folder)
    (folder / "page.toml").write_text(re.sub(r"(\[\[.*\]\])", rf"\1\nn = {N}", page), encoding="utf-8")

    assert re.findall(r"--n (\d+)", readme_of(folder).partition("\n## ")[0]) == ["60", "30"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("below AT", "by 12.5 points below AT", "the number '12.5' is typed by hand"),
        ("AT.", "AT, which is 57 %.", "the number '57' is typed by hand"),
        ("'pgd-20', 'Linf:0.2'", "'pgd-21'", "names 0 numbers here"),
        ("accuracy('atop'", "acuracy('atop'", "'acuracy' is undefined"),
        ('columns = "pgd-20"', 'colums = "pgd-20"', "did you mean columns"),
        ('columns = "pgd-20"', 'columns = "pdg-20"', "did you mean pgd-20"),
        ('b = "at"', 'b = "att"', "did you mean at or atop"),
        ("'at', 'pgd-20@Linf:0.2'", "'at', 'pgd-20'", "names 2 numbers of atop and at"),
        ('a = "atop"\n', "", "has no a"),
        ('title = "Simulated"', "", "no title"),
        ('title = "Simulated"', "title = 3", "must be text"),
        ('"pgd-20@Linf"', '"pgd-20@Lunf"', "unknown column 'pgd-20@Lunf'"),
        ('"pgd-20@Linf"', "{ column = 'worst-all' }", "a column is a name or a table of attacks, column, head"),
        ("{{ relation", "{{ ''.__class__.__mro__ }} {{ relation", "unsafe"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_page_is_one_line(tmp_path, old, new, says):
    page = PAGE.replace(old, new) if old in PAGE else PAGE.replace("AT.", f"AT, {new}.")
    assert page != PAGE
    folder, _ = tree(tmp_path, usual(), page)

    with pytest.raises(BenchError, match=re.escape(says)) as caught:
        readme_of(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fine", ["L2 and Linf 8/255 on CIFAR-10", "`--n 256`", "[a](b/c-2.md)", "ResNet-18, AToP's RT2"]
)
def test_a_name_with_digits_is_no_number(tmp_path, fine):
    folder, _ = tree(tmp_path, usual(), PAGE.replace("AT.", f"AT, {fine}."))

    assert fine in readme_of(folder)


def test_an_unknown_folder_is_named_and_nothing_is_written(tmp_path):
    folder, _ = tree(tmp_path, usual())

    with pytest.raises(BenchError, match=re.escape("results/cifar11 has no page.toml")):
        maker.main(["cifar11"], tmp_path)
    assert not (folder / "README.md").exists()


def test_parameters_are_counted_as_torch_counts_them():
    """Running statistics of norms are stored and not learned."""
    from bench.catalogue.weights import shipped
    from bench.defenses.networks import by_name

    for name in ("standard", "ap"):
        path = shipped() / "cifar10" / f"{name}.safetensors"
        network, _ = by_name.restore(name, {name: path}, ImageSpec((3, 32, 32), 10))
        assert page_training.learned(path) == sum(each.numel() for each in network.parameters())


@pytest.mark.parametrize(("seconds", "told"), [(27.2, "27 s"), (60, "1 min"), (2681.6, "45 min"), (15120, "4.2 h")])
def test_a_training_is_told_in_the_unit_that_suits_it(seconds, told):
    assert page_training.duration(seconds) == told


def test_a_card_tells_what_it_is_to_tell(tmp_path):
    card = {
        "note": "as `bench train --note` wrote it",
        "notes": ["training images rounded to even values"],
        "data": {"notes": "recompressed"},
        "half": {"differs": 0},
        "unfinished": {"done": 10, "of": 2000},
        "processes": 2,
        "recipe": {"steps": 10},
    }

    assert page_training._remarks(card) == [
        "as `bench train --note` wrote it",
        "training images rounded to even values",
        "recompressed",
        "adversarial examples of 10 steps",
        "stored in half precision",
        "stopped after 10 of 2,000 updates",
        "trained by 2 processes",
    ]


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("cifar10", "cifar10"),
        ("imagenette-160-resize64", "imagenette-160[resize=64]"),
        ("imagenette-320-resize256-crop224", "imagenette-320[resize=256,crop=224]"),
        ("imagefolder-pets-resize64", "imagefolder:PATH"),
    ],
)
def test_a_dataset_is_typed_as_it_is_read(stored, typed):
    assert run_commands.dataset(stored) == typed


def test_a_command_is_split_where_one_would_ask_for_more():
    """Two attacks under different threat models of one family, and a defense that met fewer attacks."""
    store = Store(Path("nowhere"))
    held = [cell("at", LINF), cell("at", LINF, attack="fgsm"), cell("at", L2), cell("ap", LINF)]
    results = bench.Results(tuple(Result(one, None) for one in held), store)

    found = [dict(zip((w := shlex.split(each.replace("\\\n", " ")))[2::2], w[3::2], strict=True)) for each in
             run_commands.commands(results, "results/x")]  # fmt: skip

    assert [(each["--defenses"], each["--attacks"], each["--threat"]) for each in found] == [
        ("at", "pgd-20", "Linf:0.2,L2:1"),
        ("at", "fgsm", "Linf:0.2"),
        ("ap", "pgd-20", "Linf:0.2"),
    ]


def test_a_text_can_reach_no_more_than_the_numbers():
    names = prose.templates().globals
    assert not {"open", "__import__", "eval"} & set(names)
    with pytest.raises(BenchError):
        prose.Prose(bench.Results((), Store(Path("nowhere")))).rendered("{{ n.__class__.__base__.__subclasses__() }}")
    assert page_tables.escaped("a|b <c>") == r"a\|b &lt;c>"
