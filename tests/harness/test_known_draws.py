"""The verdict under known draws: exact where it can be computed, and never better than what the judge draws."""

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import nn

from bench.catalogue import resolve
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.request import Request, parse_one
from bench.catalogue.selection import Selection
from bench.datasets.examples import Examples
from bench.datasets.load import load
from bench.errors import NoGradient, StageError
from bench.harness import matrix
from bench.harness.cascade import Cascade, Stage, attack_of
from bench.harness.evaluate import evaluate
from bench.oracle.answers import FaultyDefense
from bench.oracle.randomness import seed_everything
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel
from bench.types import Defense, ImageSpec

LINF = ThreatModel.parse("Linf:0.1")
SPEC = ImageSpec((1, 2, 2), 4)
WEIGHT = torch.tensor([3.0, -2.0, 1.0, 4.0])
REACH = 0.1 * float(WEIGHT.abs().sum())  # how far an attack moves w.x: eps times its L1 norm


def known(*names):
    """The registered attack, or one with other parts that knows the draws in the same way."""
    ref, _ = resolve.composite(resolve.entry(Request("known-draws", {})), "stochastic", lambda part: True, "Linf")
    return replace(ref, stages=tuple(resolve.attack(parse_one(name, "attack"))[1] for name in names)) if names else ref


# A linear classifier is at its end within two steps; the usual hundred would only cost time.
SHORT = known("apgd-ce[steps=3]", "apgd-dlr[steps=3]")


def toy(n=24, seed=0):
    """Images near the middle of the box, so that no attack is clipped; all of class 0."""
    x = 0.5 + 0.04 * np.random.default_rng(seed).uniform(-1, 1, (n, 1, 2, 2)).astype(np.float32)
    return Examples("toy", "test", [f"toy-{i}" for i in range(n)], x, np.zeros(n, dtype=np.int64), SPEC)


def cell(n, draws, attack=None):
    part = Slice("toy", "test", n, "x")
    return Cell(DefenseRef("d", "d", "d", stochastic=True), attack or SHORT, LINF, part, 5, draws, batch=n)


def judged(model, shard, draws, attack=None, ref=None):
    ref = ref or SHORT
    return evaluate(cell(len(shard), draws, ref), Defense(model, stochastic=True), attack or attack_of(ref), shard)


def noise_of(shard, draws, drawn):
    """The random numbers of the evaluation draws, as the clean images were judged: `[draws, n]`."""
    found = []
    for draw in range(draws):
        seed_everything(5, shard.digest, "clean", draw)
        found.append(drawn(len(shard)))
    return torch.stack(found)


def logits_of(margin):
    """Four logits whose margin for class 0 is twice the given one."""
    return torch.stack([margin, -margin, -margin - 5, -margin - 6], 1)


class NoisyMargin(nn.Module):
    """w.(x - 1/2) + 1 and normal noise, drawn for the batch: the noise hides no direction."""

    def forward(self, x):
        return logits_of((x - 0.5).flatten(1) @ WEIGHT + 1 + torch.randn(len(x)))


class RandomSign(nn.Module):
    """1/2 + r w.(x - 1/2), r = 1 or -1 by the toss of a coin for each image: the coin is all of its robustness."""

    def forward(self, x):
        sign = torch.where(torch.rand(len(x)) < 0.5, -1.0, 1.0)
        return logits_of(0.5 + sign * ((x - 0.5).flatten(1) @ WEIGHT))


def test_where_the_noise_hides_nothing_the_counts_are_those_of_the_closed_form():
    """A draw with noise s is right under the strongest attack exactly if w.(x - 1/2) + 1 + s exceeds eps |w|."""
    shard, draws = toy(), 12
    margin = (torch.from_numpy(shard.x) - 0.5).flatten(1) @ WEIGHT + 1
    noisy = margin + noise_of(shard, draws, torch.randn)

    verdicts = judged(NoisyMargin(), shard, draws)[0].verdicts

    assert verdicts.clean.tolist() == (noisy > 0).sum(0).tolist()
    assert verdicts.adversarial.tolist() == (noisy > REACH).sum(0).tolist()
    assert 0 < verdicts.adversarial.sum() < verdicts.clean.sum() < draws * len(shard)


def test_its_mean_estimates_the_accuracy_of_the_closed_form():
    """Over 40 images and 60 draws within four standard errors of the mean of Phi(margin - eps |w|)."""
    shard, draws = toy(40), 60
    margin = ((torch.from_numpy(shard.x) - 0.5).flatten(1) @ WEIGHT + 1 - REACH).double()
    rates = [NormalDist().cdf(value) for value in margin.tolist()]
    expected = sum(rates) / len(rates)
    error = (sum(rate * (1 - rate) for rate in rates) / draws) ** 0.5 / len(rates)

    verdicts = judged(NoisyMargin(), shard, draws)[0].verdicts

    assert abs(verdicts.adversarial.mean() / draws - expected) < 4 * error


def test_a_defense_that_is_nothing_but_randomness_is_left_with_nothing():
    """Known, every draw is lost, because eps |w| exceeds 1/2 + |w.(x - 1/2)|; unknown, no image loses but one side."""
    shard, draws = toy(), 12
    reach = 0.5 + ((torch.from_numpy(shard.x) - 0.5).flatten(1) @ WEIGHT).abs().max()
    assert reach < REACH
    unknown = resolve.attack(Request("apgd-ce", {"steps": "3"}))[1]

    without = judged(RandomSign(), shard, draws)[0].verdicts
    usual = judged(RandomSign(), shard, draws, ref=unknown)[0].verdicts

    assert without.adversarial.tolist() == [0] * len(shard)
    # Whatever x is, one sign of two leaves 1/2 + |w.(x - 1/2)| > 0: no attack without the coin goes below one half.
    assert abs(usual.adversarial.mean() / draws - 0.5) < 4 * (0.25 / draws / len(shard)) ** 0.5
    # The clean images were judged in the same draws by both.
    assert usual.clean.tolist() == without.clean.tolist()


def test_no_draw_gets_right_under_attack_what_it_gets_wrong_without():
    """An example that a draw misclassifies as it is needs no attack in this draw (V12)."""

    @dataclass(frozen=True)
    class Away:
        """Makes images easier instead of harder."""

        def __call__(self, oracle, x, y, threat, *, stream):
            oracle.gradient(x, y, lambda logits, y: logits[:, 1], torch.arange(len(x)))
            return x + float(threat.eps) * WEIGHT.sign().view(1, 1, 2, 2)

    shard, draws = toy(), 12
    stages = Cascade([Stage(SHORT.stages[0], Away())])

    verdicts = judged(NoisyMargin(), shard, draws, stages)[0].verdicts

    assert verdicts.clean.min() < draws
    assert verdicts.adversarial.tolist() == verdicts.clean.tolist()


def test_the_cost_is_that_of_the_whole_shard_in_every_draw():
    """Three queries in each of four draws, whatever they were about, and every image of the shard passed in each."""

    @dataclass(frozen=True)
    class Thrice:
        def __call__(self, oracle, x, y, threat, *, stream):
            for _ in range(3):
                oracle.gradient(x[:1], y[:1], lambda logits, y: logits[:, 1], torch.tensor([0]))
            return x

    shard = toy()
    done, _ = judged(NoisyMargin(), shard, 4, Cascade([Stage(SHORT.stages[0], Thrice())]))

    assert (done.cost.forwards, done.cost.backwards) == (4 * 3 * 24, 4 * 3 * 24)
    assert set(done.ledger.forwards) == {4 * 3}
    assert done.ledger.components["apgd-ce[steps=3]"].entered == int(done.verdicts.clean.sum())


def test_the_planned_passes_are_an_upper_bound_over_all_draws():
    """202 forwards and as many backwards per image and draw: the draws are those of the evaluation, not of EOT."""
    shard = toy()
    asked = cell(len(shard), 2, known())
    done, _ = judged(NoisyMargin(), shard, 2, ref=known())

    assert asked.passes() == 24 * 2 * (202 + 2 * 202)
    assert 0 < done.cost.forwards + 2 * done.cost.backwards <= asked.passes()


def test_the_kept_images_are_those_of_the_first_draw_and_answered_as_kept():
    shard = toy()
    _, kept = judged(RandomSign(), shard, 3)
    seed_everything(5, shard.digest, "clean", 0)
    answers = RandomSign()(torch.from_numpy(kept.x_adv)).argmax(1)

    assert kept.adversarial.tolist() == answers.tolist()
    assert (kept.adversarial != 0).all()
    assert abs(kept.x_adv - shard.x).max() <= 0.1 + 1e-6


def test_the_same_cell_gives_the_same_verdicts_and_leaves_the_generators_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, two = (judged(RandomSign(), toy(), 3)[0].verdicts for _ in range(2))

    assert torch.equal(torch.get_rng_state(), before)
    assert one.adversarial.tolist() == two.adversarial.tolist()


def test_a_defense_whose_draws_nobody_can_know_has_no_verdict():
    """A generator of its own is not seeded by anybody: that must not look like robustness."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.generator = torch.Generator().manual_seed(0)

        def forward(self, x):
            return logits_of((x - 0.5).flatten(1) @ WEIGHT + torch.randn(len(x), generator=self.generator))

    with pytest.raises(FaultyDefense, match=r"^S03: seeds of torch, numpy and Python do not make its answers repeat"):
        judged(Own(), toy(), 3)


def test_an_attack_that_crashes_is_named_and_one_without_a_gradient_is_left_out():
    def raising(error):
        def call(oracle, x, y, threat, *, stream):
            raise error

        return call

    first, second = SHORT.stages
    working = attack_of(SHORT).stages[0].attack

    done, _ = judged(NoisyMargin(), toy(), 2, Cascade([Stage(first, raising(NoGradient())), Stage(second, working)]))
    assert done.evidence.unable == ("apgd-ce[steps=3]",)
    with pytest.raises(NoGradient):
        judged(NoisyMargin(), toy(), 2, Cascade([Stage(first, raising(NoGradient()))]))
    with pytest.raises(StageError, match=r"apgd-ce\[steps=3\]: ValueError: no"):
        judged(NoisyMargin(), toy(), 2, Cascade([Stage(first, raising(ValueError("no")))]))


def test_an_attack_that_returns_less_than_it_saw_is_told():
    """It breaks every image on its way and hands in the image as it was (A05)."""

    @dataclass(frozen=True)
    class Forgetful:
        def __call__(self, oracle, x, y, threat, *, stream):
            far = (WEIGHT < 0).float().view(1, 1, 2, 2).expand_as(x)  # w.(x - 1/2) is -5 there
            oracle.gradient(far, y, lambda logits, y: logits[:, 1], torch.arange(len(x)))
            return x

    done, _ = judged(NoisyMargin(), toy(), 2, Cascade([Stage(SHORT.stages[0], Forgetful())]))

    # In which draws it is right as it is depends on the noise: each image that is right in some was broken there.
    assert done.evidence.silent == int((done.verdicts.clean > 0).sum())


@pytest.mark.parametrize(("name", "skip"), [("at", True), ("atop", False)])
def test_a_deterministic_defense_refuses_the_column_in_one_line(name, skip):
    examples = load("digits", "test", n=4)
    selection = Selection.of(name, "known-draws", (ThreatModel.parse("Linf:0.2"),))
    (planned,) = matrix.build(selection, examples)

    assert planned.cell.attack.known_draws
    assert planned.parts == ()
    if skip:
        told = "known-draws is not for deterministic defenses: it has no draws to know: use apgd-ce,apgd-dlr"
        assert planned.skip == told
    else:
        assert planned.skip is None
        assert [stage.label for stage in planned.cell.attack.stages] == ["apgd-ce", "apgd-dlr"]


def test_a_reference_is_read_as_it_was_written_and_its_digest_says_that_draws_were_known():
    ref = known()
    parts = [resolve.attack(Request(name, {}))[1] for name in ("apgd-ce", "apgd-dlr")]

    assert AttackRef.from_json(ref.to_json()).known_draws
    assert AttackRef.from_json(ref.to_json()).digest == ref.digest
    assert "known_draws" not in parts[0].to_json()
    assert (
        ref.digest
        != resolve.composite(resolve.entry(Request("autoattack-rand", {})), "stochastic", lambda _: True, "Linf")[
            0
        ].digest
    )
