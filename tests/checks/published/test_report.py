"""The audit as a whole, on what is known of AToP: what it finds, prints and returns."""

from __future__ import annotations

import dataclasses
import json
import math
from decimal import Decimal

import pytest

from bench.checks.published.claim import (
    AttackNumber,
    ClaimedProtocol,
    ClassifierAlone,
    PublishedClaim,
    PublishedComparison,
)
from bench.checks.published.faults import FAULTS
from bench.checks.published.reading import read_claim
from bench.checks.published.report import audit_claim
from bench.cli.audit import audit
from tests.checks.published.stated import CLAIM, CLEAN, EXAMPLES, ROOT, applying, example


def test_the_accuracy_of_the_classifier_alone_has_to_be_possible_too():
    claim = dataclasses.replace(CLAIM, classifier=ClassifierAlone(Decimal("80.02"), n=512))

    assert "classifier 80.02 is no k/512" in audit_claim(claim).findings


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_read_and_is_found_wanting(path, capsys):
    status = audit(path, as_json=False)

    out = capsys.readouterr().out
    claim = read_claim(path)
    assert status == 1
    assert out.startswith(claim.title)
    assert out.isascii()
    assert claim.source is not None
    assert path.read_text().startswith("# Number")
    assert max(map(len, out.splitlines())) <= 120


EXPECTED = {
    "atop-gan-cifar10": (True, True, {"F3", "F8", "F9"}),
    "atop-gan-cifar100": (True, False, {"F3", "F8", "F9"}),
    "atop-ae-cifar10": (True, True, {"F3", "F8", "F9"}),
    "atop-xcit-cifar10": (None, None, set()),
    "atop-xcit-cifar100": (None, None, set()),
    "atop-rt1-classifier-only": (True, None, {"F4"}),
    "atop-rt2-purifier-skipped": (True, True, {"F4", "F6"}),
    "atop-rt3-purifier-skipped": (True, False, {"F4", "F6"}),
    "atop-rt2-full-gradient": (True, False, set()),
    "atop-rt2-skipped-against-full": (True, True, {"F4", "F6"}),
    "rt1-fgsm-two-gradients": (True, None, {"F3"}),
    "rt2-fgsm-two-gradients": (True, None, {"F3"}),
    "atop-ae-cifar100": (True, False, {"F3", "F8", "F9"}),
    "atop-rt1-purifier-skipped": (True, True, {"F4", "F6"}),
    "atop-rt2-classifier-only": (True, True, {"F4"}),
    "atop-rt3-classifier-only": (True, False, {"F4"}),
    "atop-rt1-classifier-only-imagenette": (True, True, {"F4"}),
    "atop-rt2-classifier-only-imagenette": (True, False, {"F4"}),
    "atop-rt3-classifier-only-imagenette": (True, True, {"F4"}),
    "rt1-tables-7-and-8-imagenette": (True, None, {"F4"}),
    "atop-rt2-fixed-mask": (True, True, set()),
    "rt1-tables-7-and-8": (True, None, {"F4"}),
    "atop-training-log-epoch-50": (True, None, {"F4", "F8", "F9"}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_verdicts_on_an_example_are_the_known_ones(name):
    possible, resolved, attack_faults = EXPECTED[name]

    audited = example(name)

    assert audited.numbers[0].possible is possible
    assert (audited.contrast.resolved if audited.contrast else None) is resolved
    assert applying(audited.claim) & {"F3", "F4", "F6", "F8", "F9"} == attack_faults


def test_every_example_is_expected():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == set(EXPECTED)


def test_the_released_evaluation_of_atop_has_all_faults_but_the_two_of_its_training_notebooks():
    assert applying(example("atop-gan-cifar10").claim) == {fault.id for fault in FAULTS} - {"F4", "F6"}


def test_the_two_impossible_numbers_of_atop_are_found():
    assert "the same purifier without AToP 38.89 is no k/512" in example("atop-gan-cifar100").findings
    assert "standard 80.02 is no k/512" in example("atop-rt3-purifier-skipped").findings


def test_64_images_do_not_resolve_the_gain_of_atop():
    """64.06 against 56.25 at n=64: 41 against 36 images."""
    audited = example("atop-rt2-full-gradient")

    assert [item.count for item in audited.numbers] == [41, 461]
    assert audited.contrast.other.count == 36
    assert audited.contrast.p == pytest.approx(0.47, abs=0.005)
    assert audited.contrast.needed > 64


def test_skipping_the_purifier_overstates_but_the_protocols_differ_in_two_things():
    audited = example("atop-rt2-skipped-against-full")

    assert audited.contrast.points == "+16.99"
    assert (audited.contrast.claimed.n, audited.contrast.other.n) == (512, 64)
    assert "the two numbers compared come from different protocols" in audited.findings
    assert audited.contrast.other.wilson(64).high < 0.8105


def test_the_training_log_shows_label_leaking():
    (line,) = example("atop-training-log-epoch-50").orders

    assert line.startswith("FGSM (purifier skipped) 92.38 is above the standard accuracy 90.04")


def test_the_gradient_of_rt1_is_masked():
    (line,) = example("rt1-fgsm-two-gradients").orders

    assert "FGSM (full gradient) is 23.24 points above FGSM (purifier skipped)" in line


def test_the_gradient_of_rt2_is_masked_too():
    (line,) = example("rt2-fgsm-two-gradients").orders

    assert "FGSM (full gradient) is 17.58 points above FGSM (purifier skipped): the gradient is masked" in line


def test_the_json_says_all_that_the_screen_says(capsys):
    status = audit(EXAMPLES / "atop-gan-cifar100.toml", as_json=True)

    document = json.loads(capsys.readouterr().out)
    audited = example("atop-gan-cifar100")
    assert status == 1
    assert document["findings"] == audited.findings
    assert document["numbers"][0] | {"possible_n": []} == {
        "name": "robust",
        "printed": "43.55",
        "n": 512,
        "verdicts_per_example": 1,
        "possible": True,
        "counts": [223],
        "nearest": [],
        "wilson": [39.32, 47.88],
        "clopper_pearson": [39.21, 47.97],
        "possible_n": [],
    }
    assert document["comparison"]["resolved"] is False
    assert document["comparison"]["nearest"] == ["199/512 = 38.867", "200/512 = 39.062"]
    assert [fault["id"] for fault in document["faults"]] == [f"F{i}" for i in range(1, 15)]
    assert math.isclose(document["comparison"]["p_unpaired"], audited.contrast.p)


def test_a_claim_without_findings_says_so_and_exits_with_zero(tmp_path, capsys):
    lines = ['title = "t"', 'source = "s"', 'dataset = "d"', 'threat = "Linf:0.2"', "robust = 45.0", "standard = 80.0"]
    lines += ["n = 1000", "[protocol]"]
    for item in dataclasses.fields(CLEAN):
        value = getattr(CLEAN, item.name)
        lines += [] if value is None else [f"{item.name} = {json.dumps(value)}"]
    (tmp_path / "claim.toml").write_text("\n".join(lines))

    status = audit(tmp_path / "claim.toml", as_json=False)

    assert status == 0
    assert capsys.readouterr().out.endswith("nothing found\n")


def test_every_field_and_every_fault_is_in_the_documentation():
    page = (ROOT / "docs" / "claims.md").read_text()

    for kind in (PublishedClaim, ClaimedProtocol, PublishedComparison, ClassifierAlone, AttackNumber):
        for item in dataclasses.fields(kind):
            assert f"`{item.name}`" in page or f"[{item.name}]" in page, item.name
    for fault in FAULTS:
        effect = "overstates" if fault.effect == "overstates" else "either way"
        assert f"| {fault.id} | {fault.title} | {effect}: {fault.does} |" in page
