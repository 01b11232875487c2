"""Names of trainings: a kind of purifier and a network are two things."""

from __future__ import annotations

import pytest

from bench.defenses.training.naming import FALLBACK, FOLDER, STARTS_FROM, TrainingName, starts_from, training_of
from bench.defenses.training.recipe import KINDS
from bench.errors import BenchError


def test_every_training_has_a_kind_of_recipe_and_starts_from_trainings():
    assert set(STARTS_FROM) == set(KINDS)
    assert set().union(*STARTS_FROM.values()) <= set(STARTS_FROM)


@pytest.mark.parametrize(
    ("name", "parts", "starts"),
    [
        ("at", ("at", "", ""), ()),
        ("at-resnet-18-w32", ("at", "", "resnet-18-w32"), ()),
        ("ap-gan", ("ap", "gan", ""), ("standard",)),
        ("atop-autoencoder", ("atop", "autoencoder", ""), ("standard", "ap-autoencoder")),
        ("atop-clean", ("atop-clean", "", ""), ("standard", "ap")),
        ("atop-resnet-18", ("atop", "", "resnet-18"), ("standard-resnet-18", "ap-resnet-18")),
        ("atop-diffusion", ("atop-diffusion", "", ""), ("standard", "diffpure")),
        ("diffpure-resnet-18", ("diffpure", "", "resnet-18"), ("standard-resnet-18",)),
    ],
)
def test_a_name_says_the_training_the_purifier_and_the_network(name, parts, starts):
    """The classifier before which `atop-gan` is trained is that of `atop`; that of a larger network is larger."""
    assert training_of(name) == parts
    assert TrainingName(*parts).joined == name
    assert starts_from(name) == starts


def test_both_suffixes_can_stand_together_where_there_is_a_recipe(monkeypatch, tmp_path):
    """`ap-gan-resnet-18` is no training until somebody writes its recipe."""
    with pytest.raises(BenchError, match="unknown training 'ap-gan-resnet-18'"):
        training_of("ap-gan-resnet-18")
    for name in ("ap-gan-resnet-18", "atop-gan-resnet-18"):
        (tmp_path / FALLBACK).mkdir(exist_ok=True)
        (tmp_path / FALLBACK / f"{name}.toml").write_text((FOLDER / FALLBACK / "ap-gan.toml").read_text())
    monkeypatch.setattr("bench.defenses.training.naming.FOLDER", tmp_path)

    assert training_of("ap-gan-resnet-18") == ("ap", "gan", "resnet-18")
    assert starts_from("atop-gan-resnet-18") == ("standard-resnet-18", "ap-gan-resnet-18")


def test_an_unknown_training_suggests_the_nearest_one():
    """A mistyped name says what was meant, and a classifier has no purifier."""
    for name, said in (
        ("atopp", "did you mean atop"),
        ("at-resnet18", "did you mean at-resnet-18"),
        ("atop-gam", "did you mean atop-gan"),
        ("trades-resnet-18", "known are"),
        ("standard-gan", "did you mean standard"),
        ("<img src=x onerror=alert(1)>", "unknown training"),
    ):
        with pytest.raises(BenchError, match=f"unknown training '{name}'" if "<" not in name else said) as caught:
            training_of(name)
        assert "\n" not in str(caught.value)
