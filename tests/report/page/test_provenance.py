"""Where the numbers come from, as the page tells it."""

import shlex

from bench.report.page.provenance import provenance
from tests.report.page.simulated import HOSTILE, cells, hostile


def test_the_command_asks_for_the_same_cells():
    words = shlex.split(provenance(cells(), {}).command)
    given = dict(zip(words[2::2], words[3::2], strict=True))

    assert words[:2] == ["bench", "run"]
    assert given == {
        "--dataset": "digits",
        "--defenses": "at,ap,masked",
        "--attacks": "pgd-20,stadv",
        "--threat": "Linf:8/255,stadv:0.4,L2:0.5",
        "--n": "4",
        "--seed": "0",
        "--batch": "64",
        "--draws": "10",
    }


def test_a_name_cannot_end_the_command():
    """Whoever pastes it runs one command with odd arguments, not two."""
    words = shlex.split(provenance(hostile(), {}).command)

    assert words[:2] == ["bench", "run"]
    assert len(words) == 16
    assert "\n" not in provenance(hostile(), {}).command
    assert HOSTILE[5] in words[5]


def test_versions_and_code_are_counted_over_the_finished_cells():
    made = {cells()[0].cell.key: {"torch": "2.13.0", "python": "3.11.7"}}
    facts = {fact.name: fact.values for fact in provenance(cells(), made).facts}

    assert facts["torch"] == (("2.13.0", 1), ("not recorded", 4))
    assert facts["code of the harness"] == (("c0ffee", 0),)
    assert facts["digest of the images"] == (("images-4", 0),)
    assert facts["protocol of the harness"] == (("1", 0),)


def test_each_defense_and_attack_is_named_with_its_digest():
    found = provenance(cells(), {})

    assert [(each.label, each.digest) for each in found.defenses] == [
        (name, f"{name}-digest") for name in ("at", "ap", "masked")
    ]
    assert [each.about for each in found.defenses][:2] == [
        "deterministic; trained on Linf:8/255",
        "stochastic; no adversary in training",
    ]
    assert [(each.label, each.digest) for each in found.attacks] == [
        ("pgd-20", "pgd-20-digest"),
        ("stadv", "stadv-digest"),
    ]
