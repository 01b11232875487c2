"""Streams: pure, per example, uniform."""

import torch

from bench.oracle.randomness import Stream, preserved_generators, seed_everything, seed_of

IDS = [f"image-{index}" for index in range(500)]


def test_a_row_sees_the_same_numbers_in_any_batch():
    whole = Stream.of(IDS, 0, "digits", "pgd").at("start", 0).uniform(3, 4)

    alone = Stream.of([IDS[7]], 0, "digits", "pgd").at("start", 0).uniform(3, 4)
    shuffled = Stream.of(IDS[::-1], 0, "digits", "pgd").rows(torch.tensor([len(IDS) - 8])).at("start", 0).uniform(3, 4)

    assert torch.equal(whole[7:8], alone)
    assert torch.equal(whole[7:8], shuffled)


def test_a_stream_consumes_nothing():
    stream = Stream.of(IDS, 1)

    assert torch.equal(stream.uniform(5), stream.uniform(5))
    assert torch.equal(stream.uniform(5), stream.uniform(9)[:, :5])


def test_purposes_seeds_and_examples_are_independent():
    stream = Stream.of(IDS, 1)
    others = [stream.at("a"), stream.at("b"), stream.at("a", 1), Stream.of(IDS, 2)]

    columns = torch.stack([stream.uniform(64).flatten(), *(other.uniform(64).flatten() for other in others)])

    correlation = torch.corrcoef(columns) - torch.eye(len(columns))
    assert float(correlation.abs().max()) < 0.02


def test_uniform_is_uniform():
    values = Stream.of(IDS, 3).uniform(200).flatten().sort().values

    gap = (values - torch.linspace(0, 1, len(values))).abs().max()

    assert float(gap) < 1.63 / len(values) ** 0.5  # Kolmogorov-Smirnov, 1 %
    assert float(values[0]) >= 0
    assert float(values[-1]) < 1


def test_normal_has_the_moments_of_a_normal():
    values = Stream.of(IDS, 4).normal(200).flatten().double()

    assert abs(float(values.mean())) < 0.01
    assert abs(float(values.var()) - 1) < 0.02
    assert abs(float((values**4).mean()) - 3) < 0.1


def test_integers_reach_every_value_below_high_alike():
    counts = torch.bincount(Stream.of(IDS, 5).integers(7, 100).flatten(), minlength=7)

    assert counts.sum() == 50_000
    assert float(counts.min()) > 50_000 / 7 * 0.95


def test_seeds_are_the_same_on_every_machine():
    """A golden value: a change of it would make every stored verdict incomparable."""
    assert seed_of(0, "digits", "pgd-20") == 0xF1B1FA3E0F17C7D0
    assert Stream.of(["digit-0001"], 0).bits(1).item() == 6550909256370206820


def test_generators_are_left_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    with preserved_generators():
        seed_everything("anything")
        torch.rand(10)

    assert torch.equal(torch.rand(3), expected)
