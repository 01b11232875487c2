"""The named studies and the claims: each resolves, and each carries the numbers that were published, to the decimal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import api
from bench.catalogue import study
from bench.catalogue.selection import Selection
from bench.catalogue.weights import shipped
from bench.cli import main
from bench.datasets.cifar import CIFARS
from bench.datasets.load import load
from bench.errors import BenchError
from bench.harness.matrix import build
from bench.results.calibrations import ATA
from bench.threats import ThreatModel
from tests.checks.published.stated import EXAMPLES, example

ROOT = Path(__file__).parents[2]
NAMED = ("atop-ablation", "atop-table-l2", "atop-table-linf", "atop-table-unseen", "pat-unseen", "quick", "uar")
WITH_CLEAN = {shipped() / "cifar10" / f"atop-clean-rt{rt}.safetensors" for rt in ("none", "1", "2")}
# Of every kind of purifier, of which the digits have weights.
KINDS = ("atop-claims-autoencoder", "atop-claims-diffusion", "atop-claims-gan", "purifier-kinds")
WITHOUT_CLEAN = "atop[ft=off,rt=1],atop[ft=off,rt=2],atop[ft=off,rt=3],atop[rt=1],atop[rt=2],atop[rt=3]"

# Typed from the collection of published numbers, not from the files that are tested.
# Authors' comments, OpenReview u7559ZMvwY: (without AToP, with AToP) for RT1, RT2 and RT3 on CIFAR-10.
STANDARD = {1: ("93.36", "93.36"), 2: ("84.18", "90.04"), 3: ("75.98", "80.02")}
SKIPPED = {1: ("0.00", "43.16"), 2: ("69.14", "81.05"), 3: ("68.55", "72.07")}
CW_100 = {1: ("21.09", "87.89"), 2: ("87.70", "88.87"), 3: ("75.20", "76.56")}
PGD_1000 = {1: ("0.00", "39.45"), 2: ("67.97", "84.38"), 3: ("70.31", "73.44")}
IMAGENETTE_CW_100 = {1: ("64.26", "78.12"), 2: ("86.52", "88.48"), 3: ("67.38", "78.32")}
IMAGENETTE_PGD_1000 = {1: ("0.00", "47.07"), 2: ("77.34", "82.03"), 3: ("66.21", "72.85")}
# FGSM without AToP: on the classifier alone, through everything.
FGSM = {1: ("16.60", "39.84"), 2: ("55.08", "72.66"), 3: ("67.97", "67.19")}
FULL_GRADIENT = ("56.25", "64.06")
AUTOATTACK = {
    ("GAN", "cifar10"): ("59.57", "72.85"),
    ("GAN", "cifar100"): ("38.89", "43.55"),
    ("AE", "cifar10"): ("44.73", "59.18"),
    ("AE", "cifar100"): ("38.48", "40.23"),
}
XCIT = {"cifar10": ("88.48", "80.27"), "cifar100": ("73.44", "52.73")}
XCIT_ALONE = {"cifar10": ("90.06", "56.14"), "cifar100": ("67.34", "32.19")}
ROBUSTBENCH = {
    ("Cui2023Decoupled_WRN-28-10", "cifar10", "Linf"): "67.73",
    ("Wang2023Better_WRN-70-16", "cifar10", "Linf"): "70.69",
    ("Bartoldson2024Adversarial_WRN-94-16", "cifar10", "Linf"): "73.71",
    ("Wang2023Better_WRN-70-16", "cifar100", "Linf"): "42.67",
    ("Wang2023Better_WRN-28-10", "cifar10", "L2"): "83.68",
    ("Wang2023Better_WRN-70-16", "cifar10", "L2"): "84.97",
}
LINF = "Linf:8/255"


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """A CIFAR-10 of two random images a class, as an image folder."""
    root = tmp_path_factory.mktemp("data")
    for place, kind in enumerate(CIFARS["cifar10"].classes):
        folder = root / "cifar10" / "test" / kind
        folder.mkdir(parents=True)
        for index in range(2):
            pixels = np.random.default_rng([place, index]).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return root


def test_these_are_the_named_studies():
    assert {*NAMED, *KINDS} | {"atop-claims", "convergence", "ladder"} == set(study.names())


@pytest.mark.parametrize("dataset", ["digits", "cifar10"])
@pytest.mark.parametrize("name", NAMED)
def test_a_study_resolves_on_digits_and_on_cifar(name, dataset, cifar, tmp_path):
    """Every threat scales, every attack exists, and every defense has weights, but for one that says what to train."""
    given = {"study": name, "dataset": dataset, "data": cifar, "n": 2, "results": tmp_path}
    if (name, dataset) == ("atop-ablation", "cifar10") and not set(shipped().glob("cifar10/*")) >= WITH_CLEAN:
        with pytest.raises(BenchError, match="bench train atop-clean --dataset cifar10"):
            api.plan(**given)
        given["defenses"] = WITHOUT_CLEAN

    found = api.plan(**given)

    assert found.count("run") > 0
    assert found.images == 2


@pytest.mark.parametrize("name", KINDS)
def test_a_study_of_kinds_of_purifiers_claims_only_what_it_measures(name):
    """Every defense of a claim is run, and every protocol has an attack that it is defined for."""
    found = study.read(name)
    threats = tuple(map(ThreatModel.parse, ("Linf:0.2", "L2:1", "stadv:0.4")))
    asked = Selection.of(found.options["defenses"], found.options["attacks"], threats)
    run: dict[str, set[str]] = {}
    for planned in build(asked, load("digits", "test", n=2)):
        if planned.skip is None:
            run.setdefault(planned.cell.defense.label, set()).add(planned.cell.attack.label)

    assert {each for claim in found.claims for each in (claim.better, claim.worse)} == set(run)
    for label, attacks in run.items():
        for protocol in found.protocols:
            assert attacks & {*protocol.attacks, *protocol.otherwise}, (label, protocol)


def test_the_claims_of_every_kind_are_those_of_atop_claims():
    """Another purifier, and nothing else: names, protocols and what they are tested on."""
    usual = study.read("atop-claims")
    for kind in KINDS[:3]:
        found = study.read(kind)
        assert found.protocols == usual.protocols
        assert [(each.name, each.on) for each in found.claims] == [(each.name, each.on) for each in usual.claims]


def test_every_kind_is_compared_before_and_after_its_fine_tuning():
    found = study.read("purifier-kinds")

    pairs = {(each.worse, each.better) for each in found.claims}
    assert len(pairs) == 4
    assert {(each.worse, each.better, each.on) for each in found.claims} == {
        (*pair, on) for pair in pairs for on in ("standard", "seen", "unseen")
    }
    assert len(found.claims) == 12


def values(*names):
    """Every published value of these studies: defense, place, dataset, value, n, how often."""
    found = [each for name in names for each in study.read(name).published]
    return Counter((each.defense, each.place, each.dataset, str(each.value), each.n) for each in found)


def test_the_ablation_carries_what_the_authors_gave():
    expected = []
    for rt in (1, 2, 3):
        for which, defense in enumerate((f"atop[ft=off,rt={rt}]", f"atop[rt={rt}]")):
            for place, numbers in {
                "standard": STANDARD,
                f"blind ({LINF})": SKIPPED,
                f"blind[loss=margin,steps=100] ({LINF})": CW_100,
                f"blind[steps=1000] ({LINF})": PGD_1000,
            }.items():
                expected.append((defense, place, "cifar10", numbers[rt][which], 512))
        for which, place in enumerate((f"blind[step_size=1,steps=1] ({LINF})", f"fgsm ({LINF})")):
            expected.append((f"atop[ft=off,rt={rt}]", place, "cifar10", FGSM[rt][which], 512))
    for which, defense in enumerate(("atop[ft=off,rt=2]", "atop[rt=2]")):
        expected.append((defense, f"pgd-eot-200 ({LINF})", "cifar10", FULL_GRADIENT[which], 64))

    assert values("atop-ablation") == Counter(expected)


def test_the_tables_carry_what_the_authors_and_robustbench_gave():
    expected = []
    for (purifier, dataset), numbers in AUTOATTACK.items():
        for defense, number in zip(("ap[rt=2]", "atop[rt=2]"), numbers, strict=True):
            label = defense.replace("[", "[purifier=autoencoder,") if purifier == "AE" else defense
            expected.append((label, f"autoattack ({LINF})", dataset, number, 512))
    alone = "robustbench:Debenedetti2022Light_XCiT-S12[threat=Linf]"
    for label, n, pairs in ((f"atop[classifier={alone},rt=2]", None, XCIT), (alone, 10_000, XCIT_ALONE)):
        for dataset, (standard, robust) in pairs.items():
            expected += [(label, "standard", dataset, standard, n)]
            expected += [(label, f"autoattack ({LINF})", dataset, robust, n)]
    for (model, dataset, family), number in ROBUSTBENCH.items():
        threat = LINF if family == "Linf" else "L2:0.5"
        expected.append((f"robustbench:{model}[threat={family}]", f"autoattack ({threat})", dataset, number, 10_000))

    assert values("atop-table-linf", "atop-table-l2") == Counter(expected)


def test_values_whose_table_could_not_be_had_are_in_no_study():
    """Of the unseen attacks of either paper, and of UAR, there is none; what is second-hand says so."""
    assert values("atop-table-unseen", "pat-unseen", "uar") == Counter()
    second_hand = [each for name in study.names() for each in study.read(name).published if not each.verified]
    assert [(each.defense, str(each.value)) for each in second_hand] == [
        ("robustbench:Wang2023Better_WRN-70-16[threat=L2]", "84.97")
    ]


def test_every_published_value_says_how_its_protocol_differs():
    for name in study.names():
        for each in study.read(name).published:
            assert each.protocol, (name, each)


def test_the_sizes_of_uar_are_those_that_the_measure_is_calibrated_at():
    named = [ThreatModel.parse(each) for each in study.read("uar").options["threat"].split(",")]

    assert named == [threat for sizes in ATA.values() for threat in sizes]


# The claim files, by the same list: robust, the number it is compared with, standard, and the other attacks' numbers.
CLAIMS = {
    "atop-gan-cifar10": ("72.85", "59.57", None, ()),
    "atop-gan-cifar100": ("43.55", "38.89", None, ()),
    "atop-ae-cifar10": ("59.18", "44.73", None, ()),
    "atop-ae-cifar100": ("40.23", "38.48", None, ()),
    "atop-xcit-cifar10": ("80.27", None, "88.48", ()),
    "atop-xcit-cifar100": ("52.73", "32.19", "73.44", ()),
    "atop-rt1-classifier-only": ("39.45", None, None, ("87.89",)),
    **{f"atop-rt{rt}-classifier-only": (PGD_1000[rt][1], PGD_1000[rt][0], None, (CW_100[rt][1],)) for rt in (2, 3)},
    **{
        f"atop-rt{rt}-classifier-only-imagenette": (
            IMAGENETTE_PGD_1000[rt][1],
            IMAGENETTE_PGD_1000[rt][0],
            None,
            (IMAGENETTE_CW_100[rt][1],),
        )
        for rt in (1, 2, 3)
    },
    **{f"atop-rt{rt}-purifier-skipped": (SKIPPED[rt][1], SKIPPED[rt][0], STANDARD[rt][1], ()) for rt in (1, 2, 3)},
    "atop-rt2-full-gradient": ("64.06", "56.25", "90.04", ()),
    "atop-rt2-skipped-against-full": ("81.05", "64.06", "90.04", ()),
    "atop-rt2-fixed-mask": ("79.10", "84.77", None, ()),
    **{f"rt{rt}-fgsm-two-gradients": (FGSM[rt][1], None, STANDARD[rt][0], (FGSM[rt][0],)) for rt in (1, 2)},
    "rt1-tables-7-and-8": ("0.00", None, "93.36", ("16.60", "0")),
    "rt1-tables-7-and-8-imagenette": ("0.00", None, "91.99", ("18.95", "0")),
    "atop-training-log-epoch-50": ("88.28", None, "90.04", ("92.38", "88.48", "87.70")),
}


def test_there_is_a_claim_file_for_every_published_group():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == set(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_file_holds_what_was_published(name):
    claim = example(name).claim

    other = claim.comparison and str(claim.comparison.robust)
    standard = claim.standard if claim.standard is None else str(claim.standard)
    assert (str(claim.robust), other, standard, tuple(str(each.robust) for each in claim.numbers)) == CLAIMS[name]


def test_the_page_names_every_study_and_its_options():
    page = (ROOT / "docs" / "studies.md").read_text()

    for name in study.names():
        assert f"`{name}`" in page
    for key in ("defense", "attack", "column", "threat", "dataset", "value", "n", "source", "protocol", "verified"):
        assert f"| `{key}` |" in page


def test_stored_verdicts_are_read_as_a_study(capsys):
    """The published values stand beside our CIFAR-10 numbers; what was not measured has a reason and no number."""
    status = main(["table", "--study", "atop-table-unseen", "--results", str(ROOT / "results" / "cifar10")])
    assert "published values" not in capsys.readouterr().out
    assert status == 0

    assert main(["table", "--study", "quick", "--results", str(ROOT / "results" / "cifar10-claims")]) == 0
    told = capsys.readouterr().out
    assert "The whole story, small: published values beside ours" in told
    line = next(line for line in told.splitlines() if line.startswith("atop ") and "43.16" in line)
    results = api.load(ROOT / "results" / "cifar10-claims")
    ours = 100 * results.accuracy("atop", "blind", LINF).value
    assert f"{ours:.1f}" in line
    assert f"{ours - 43.16:+.1f} [" in line
