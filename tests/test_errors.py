"""Errors that users read: one line each, with the nearest name, and nothing that a table would stumble over."""

import pytest
import torch

from bench.errors import BenchError, NoGradient, StageError, differentiable, is_no_gradient, one_line, unknown


def test_a_name_is_answered_with_its_neighbours_whatever_its_case():
    assert (
        str(unknown("attack", "PGD20", ["fgsm", "pgd-20", "square"])) == "unknown attack 'PGD20': did you mean pgd-20?"
    )


def test_a_name_like_no_other_is_answered_with_all_there_are_in_order():
    assert str(unknown("split", "zzz", ["train", "test"])) == "unknown split 'zzz': known are test, train"


def test_of_a_zoo_no_more_is_listed_than_fits():
    """What is left out is counted."""
    message = str(unknown("model", "?", [f"model-{index:03d}" for index in range(100)]))

    assert message.count("model-") == 60
    assert message.endswith("model-059 and 40 more")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n lines\tof  text"), "ValueError: two lines of text"),
        (RuntimeError("\x1b[31mred\x00"), "RuntimeError: [31mred"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("x" * 1000), f"ValueError: {'x' * 300}"),
        (StageError("pgd-20: ValueError: no"), "pgd-20: ValueError: no"),
        (ValueError("S02: one logit"), "S02: one logit"),
        (ValueError("V01: a pixel is at 1.5"), "V01: a pixel is at 1.5"),
        (ValueError("Sorry"), "ValueError: Sorry"),
    ],
    ids=["lines", "control characters", "no text", "long", "of a stage", "of a check", "of the verifier", "no check"],
)
def test_an_error_is_one_printable_line(error, line):
    """Findings and stages say themselves what they are; every other error is named by its kind."""
    assert one_line(error) == line


def leaf():
    return torch.zeros(2, requires_grad=True)


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: torch.autograd.grad(x.detach().sum(), x),
        lambda x: x.numpy(),
        lambda x: torch.autograd.grad((x.detach().requires_grad_() * 2).sum(), x),
    ],
    ids=["a graph that ends", "another runtime", "a graph of its own"],
)
def test_whatever_torch_says_of_a_missing_gradient_is_said_in_our_words(ask):
    with pytest.raises(NoGradient, match="use square, rays or a surrogate"), differentiable():
        ask(leaf())


def test_an_error_of_another_kind_stays_what_it_is():
    with pytest.raises(RuntimeError, match="out of memory") as raised, differentiable():
        raise RuntimeError("out of memory")

    assert type(raised.value) is RuntimeError


def test_a_missing_gradient_is_known_again_from_its_line():
    """Also where the stage of a cascade tells it; a mistake that mentions gradients is none."""
    assert is_no_gradient(one_line(NoGradient()))
    assert is_no_gradient(one_line(StageError(f"apgd-ce: {one_line(NoGradient())}")))
    assert not is_no_gradient(one_line(BenchError("no gradient: use square")))


def test_one_line_of_a_hostile_error_is_a_short_line_without_control_characters():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert one_line(Mute()) == "Mute: its message cannot be read"
    assert one_line(type("\n\x1b[31mRed", (Exception,), {})("a\nb")) == "[31mRed: a b"
    for error in (RuntimeError("S01" + "x" * 10**7), type("Long" * 10**5, (Exception,), {})("x" * 10**7)):
        assert len(one_line(error)) <= 2000
