"""Whatever is drawn can be built, and the same is drawn again."""

from itertools import islice

import pytest

from bench.catalogue import resolve
from bench.catalogue.loading import load_attack
from bench.catalogue.search_space import SPACE, configurations


def first(seed, kind, n=300):
    return list(islice(configurations(seed, stochastic=kind == "stochastic"), n))


@pytest.mark.parametrize("kind", ["stochastic", "deterministic"])
def test_everything_that_is_drawn_is_an_attack_for_that_kind_of_defense(kind):
    """Its name is registered, its parameters are its own and in their ranges, and the catalogue does not refuse it."""
    for request in first(0, kind):
        entry, ref = resolve.attack(request)

        assert kind not in entry.not_for, request.label
        assert callable(load_attack(ref))
        assert kind == "stochastic" or "eot" not in request.parameters


@pytest.mark.parametrize("kind", ["stochastic", "deterministic"])
def test_a_seed_draws_the_same_attacks_and_another_one_others(kind):
    assert first(3, kind) == first(3, kind)
    assert first(3, kind) != first(4, kind)


@pytest.mark.parametrize("kind", ["stochastic", "deterministic"])
def test_every_value_of_every_axis_is_drawn_before_long(kind):
    drawn = {(each.name, key, value) for each in first(0, kind, 2000) for key, value in each.parameters.items()}

    wanted = {
        (family.name, key, value)
        for family in SPACE
        for key, values in family.axes.items()
        for value in values
        if kind in family.kinds and (kind == "stochastic" or key != "eot")
    }
    assert wanted <= drawn


@pytest.mark.parametrize("kind", ["stochastic", "deterministic"])
def test_a_search_begins_with_what_is_known_to_work(kind):
    """The strongest attack of its kind as it is registered is among the first ones."""
    known = {"stochastic": "across-draws", "deterministic": "apgd-ce"}

    assert known[kind] in [each.label for each in first(0, kind, 3)]
