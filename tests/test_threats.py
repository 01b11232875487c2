"""Threat models: exact, printable, and strict about what a user may write."""

from fractions import Fraction

import pytest

from bench.errors import BenchError
from bench.threats import FAMILIES, ThreatModel, show_fraction


@pytest.mark.parametrize(
    ("text", "family", "eps", "shown"),
    [
        ("Linf:8/255", "Linf", Fraction(8, 255), "Linf:8/255"),
        ("linf:0.2", "Linf", Fraction(1, 5), "Linf:0.2"),
        ("L2:1.0", "L2", Fraction(1), "L2:1"),
        ("L2:1e-2", "L2", Fraction(1, 100), "L2:0.01"),
        ("stadv:0.4", "stadv", Fraction(2, 5), "stadv:0.4"),
        ("l0:8", "L0", Fraction(8), "L0:8"),
    ],
)
def test_a_threat_is_read_exactly_and_printed_as_written(text, family, eps, shown):
    threat = ThreatModel.parse(text)

    assert (threat.family, threat.eps) == (family, eps)
    assert str(threat) == shown
    assert ThreatModel.parse(str(threat)) == threat


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Linf", "has no eps: write FAMILY:EPS"),
        ("Linf:8", "did you mean 8/255?"),
        ("Linf:1.5", "must be at most 1"),
        ("Linf:0", "at least 1e-6"),
        ("Linf:-1/255", "at least 1e-6"),
        ("Linf:1e-9", "below float32 resolution"),
        ("Linf:nan", "is not a number"),
        ("Linf:8/255x", "is not a number"),
        ("Linf:8/0", "is not a number"),
        ("Linf:1e999999999", "is not a number"),
        ("L0:2.5", "takes whole numbers, such as L0:4"),
        ("L0:0", "at least 1e-6"),
        ("Linfinity:0.1", "did you mean Linf?"),
        ("wasserstein:0.1", "known are"),
    ],
)
def test_a_wrong_threat_is_named_with_its_remedy(text, says):
    with pytest.raises(BenchError, match=r".") as error:
        ThreatModel.parse(text)

    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_training_covers_its_family_up_to_its_eps():
    trained = ThreatModel.parse("Linf:8/255")

    assert trained.covers(ThreatModel.parse("Linf:8/255"))
    assert trained.covers(ThreatModel.parse("Linf:4/255"))
    assert not trained.covers(ThreatModel.parse("Linf:9/255"))
    assert not trained.covers(ThreatModel.parse("L2:1/255"))


def test_the_families_of_a_distance_are_those_that_two_images_show():
    measured = [name for name in FAMILIES if ThreatModel(name, Fraction(1)).is_lp]

    assert measured == ["Linf", "L2", "L1", "L0"]


def test_the_usual_numbers_of_pixels_are_whole():
    for eps in FAMILIES["L0"].eps:
        assert ThreatModel.parse(f"L0:{eps}").eps.denominator == 1


def test_a_fraction_is_a_short_decimal_where_that_is_exact():
    assert [show_fraction(Fraction(*pair)) for pair in [(1, 5), (8, 255), (3, 1), (1, 8), (1, 3)]] == [
        "0.2",
        "8/255",
        "3",
        "0.125",
        "1/3",
    ]
