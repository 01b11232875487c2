import itertools

import pytest
import torch

from bench.attacks.lp.square import Square, _challenge, _move, _set_square, _State, _stripes, share
from bench.attacks.lp.square_budget import move_budget, tiles
from bench.oracle.geometry import norm
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense

LINF, L2, L1 = (ThreatModel.parse(text) for text in ("Linf:0.1", "L2:0.5", "L1:2"))


@pytest.fixture
def state(images):
    def build(n, x_best=None, shape=(3, 8, 8)):
        x = images(n, shape)
        zero = torch.zeros(n)
        best = x.clone() if x_best is None else x_best(x)
        none = zero.long()
        return _State(torch.arange(n), x, none, best, zero, zero[:, None, None], zero, zero, none, none)

    return build


def test_the_squares_shrink_on_the_published_schedule():
    """Halved after queries 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10,000, stretched."""
    queries = [0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001, 9999]

    shares = [share(query, 10_000, 0.8) for query in queries]
    half = share(26, 5_000, 0.8)

    assert shares == [0.8 / 2**k for k in [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]]
    assert half == 0.2


def test_stripes_put_every_pixel_on_a_corner_of_the_ball(images, stream):
    """One sign per column and channel."""
    x = images(4, (3, 8, 8))

    delta = _stripes(x, stream(4), LINF) - x

    assert torch.allclose(delta.abs(), torch.tensor(0.1), atol=1e-6)
    assert torch.allclose(delta, delta[:, :, :1].expand_as(delta), atol=1e-6)
    assert (delta[0] != delta[1]).any()


def test_a_move_sets_one_square_to_a_corner_of_the_ball(state):
    """`side` by `side` pixels change, by eps in every channel."""
    moving = state(1000)
    uniform = torch.rand(1000, 11, generator=torch.Generator().manual_seed(0))

    delta = _set_square(moving, 3, uniform, LINF) - moving.x

    changed = (delta != 0).all(1)
    assert (changed.flatten(1).sum(1) == 9).all()
    assert torch.allclose(delta.abs().amax((1, 2, 3)), torch.tensor(0.1), atol=1e-6)
    assert changed.any(0).all()  # every pixel is within reach, the last row and column too


def test_no_query_is_spent_on_a_move_that_changes_nothing(state):
    """At a corner already, the drawn sign may be the one in place; then the opposite is taken."""
    moving = state(64, lambda x: x + 0.1, shape=(1, 8, 8))
    uniform = torch.rand(64, 7, generator=torch.Generator().manual_seed(0))

    x_new = _set_square(moving, 1, uniform, LINF)

    assert ((x_new != moving.x_best).flatten(1).sum(1) == 1).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 3, 3), (2, 6, 9)])
@pytest.mark.parametrize("side", [1, 2, 5])
@pytest.mark.parametrize("threat", [L2, L1], ids=str)
def test_moves_stay_on_the_sphere_for_images_of_any_size(state, stream, shape, side, threat):
    """The budget is moved, not spent twice: away from the box the perturbation has length eps."""
    moving = state(8, lambda x: tiles(x, stream(8), threat), shape)
    uniform = torch.rand(8, 5 + 2 * shape[0], generator=torch.Generator().manual_seed(0))
    eps = float(threat.eps)

    start = norm(moving.x_best - moving.x, threat.family)
    moved = move_budget(moving.x, moving.x_best, side, uniform, threat)
    length = norm(moved - moving.x, threat.family)

    inside = (moving.x_best > 0).all() and (moving.x_best < 1).all()
    assert (length <= eps * (1 + 2e-6)).all()
    assert torch.allclose(start, torch.tensor(eps), rtol=2e-4) or not inside
    assert (length > 0.8 * eps).all()
    assert moved.min() >= 0
    assert moved.max() <= 1


@pytest.mark.parametrize("threat", [LINF, L2, L1], ids=str)
def test_a_move_is_the_same_in_any_batch_and_memory_layout(state, threat):
    """Squares are written through a flat view, which images stored in another order do not have."""
    many = state(8, lambda x: (x + 0.05).clamp(0, 1), (3, 8, 6))
    uniform = torch.rand(8, 11, generator=torch.Generator().manual_seed(0))

    def moved(x, x_best, numbers):
        return _move(_State(many.rows[: len(x)], x, *[x_best] * 8), 3, numbers, threat)

    def turned(images):
        return images.transpose(2, 3).contiguous().transpose(2, 3)

    whole, alone = moved(many.x, many.x_best, uniform), moved(many.x[5:6], many.x_best[5:6], uniform[5:6])

    assert torch.equal(whole[5:6], alone)
    assert torch.allclose(moved(turned(many.x), turned(many.x_best), uniform), whole, atol=1e-6)


def test_an_example_broken_at_the_start_costs_one_query(launch, halfspace, images):
    """And the point that broke it is the one returned."""
    model = halfspace()
    x = images(3)
    y = 1 - model(x).argmax(1)

    x_adv, oracle = launch(Square(queries=50), model, x, y, "Linf:0.000001", access="score")

    assert oracle.forwards.tolist() == [1, 1, 1]
    assert (model(x_adv).argmax(1) != y).all()


def test_a_tie_is_no_success(launch, images):
    """Rounded logits tie often; at a tie the harness may still read the right class."""

    class Tie(torch.nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 3)

    x = images(2)

    _, oracle = launch(Square(queries=20), Tie(), x, torch.tensor([0, 1]), LINF, access="score")

    assert oracle.forwards.tolist() == [21, 1]


def test_a_move_must_beat_the_point_held_by_a_standard_error(state):
    """Ten draws of 0.3 and 0.7 in turn are held, ten of 0.55 and of 0.65 challenge them.

    The deviation is 0.211 and the standard error of the difference of two means of ten is 0.094. Who
    wins starts with no draws of its own, and who is refused leaves the point and its record alone.
    """

    class Answers(torch.nn.Module):
        def forward(self, x):
            margin = torch.logit(torch.tensor([0.55, 0.65]))
            return torch.stack([torch.zeros(2), margin], 1)

    held = state(2, shape=(1, 8, 8))
    held.loss, held.total, held.squares = torch.full((2,), 0.5), torch.full((2,), 5.0), torch.full((2,), 2.9)
    held.drawn = held.wrong = torch.full((2,), 10)
    before, challenger = held.x_best, held.x + 0.1

    _challenge(Oracle(Defense(Answers(), stochastic=True), 2), held, challenger, 10)

    assert torch.equal(held.x_best[0], before[0])
    assert torch.equal(held.x_best[1], challenger[1])
    assert held.drawn.tolist() == held.wrong.tolist() == [10, 0]
    assert held.total.tolist() == [5.0, 0.0]


def strongest(model, x, y, threat):
    """The point of the ball with the largest error rate: it is a corner, known in closed form."""
    weight = model.halfspace.weight
    push = (weight[1 - y] - weight[y]).sign().view_as(x)
    return x + float(threat.eps) * push


@pytest.mark.parametrize("eot", [1, 10])
def test_square_lets_no_example_go_on_a_lucky_draw(launch, noisy_halfspace, images, eot):
    """Half of the draws are wrong and sixty of sixty are demanded, so the search goes on to its last move."""
    model = noisy_halfspace(noise=3.0)
    x = images(8)
    y = model.halfspace(x).argmax(1)

    _, oracle = launch(
        Square(queries=40, eot=eot), model, x, y, ThreatModel.parse("Linf:0.001"), stochastic=True, access="score"
    )

    assert oracle.forwards.tolist() == [eot * (2 * 40 + 1)] * 8


def test_square_lets_a_broken_example_go(launch, noisy_halfspace, images):
    """An error rate of one survives every fresh draw: the search ends long before its last move."""
    model = noisy_halfspace(noise=0.05)
    x = images(8)
    y = model.halfspace(x).argmax(1)
    threat = ThreatModel.parse("Linf:0.2")

    x_adv, oracle = launch(Square(queries=500, eot=10), model, x, y, threat, stochastic=True, access="score")

    assert (model.error_rate(x_adv, y) > 0.99).all()
    assert oracle.forwards.max() < 10 * (2 * 500 + 1) / 4


@pytest.mark.slow
def test_square_raises_the_error_rate_with_every_query(launch, noisy_halfspace, images):
    """The exact error rate of the noisy defense climbs with the number of moves, most of the way up."""
    model, threat = noisy_halfspace(noise=1.0), ThreatModel.parse("Linf:0.04")
    x = images(16)
    y = model.halfspace(x).argmax(1)

    points = [
        launch(Square(queries=queries, eot=10), model, x, y, threat, stochastic=True, access="score")[0]
        for queries in (10, 40, 120)
    ]

    rates = [model.error_rate(each, y).mean().item() for each in (x, *points, strongest(model, x, y, threat))]
    assert all(more > less + 0.05 for less, more in itertools.pairwise(rates))
    assert rates[3] > 0.6


@pytest.fixture
def believed(launch, monkeypatch):
    """The mean of sigmoid(margin) at the point Square holds, as it takes it to be, and as 2,000 draws give it."""

    def run(attack, model, x, y, threat):
        kept = []
        monkeypatch.setattr("bench.attacks.lp.square._Found.keep", lambda found, state: kept.append(state))
        launch(attack, model, x, y, threat, stochastic=True, access="score")
        (state,) = kept
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            gaps = torch.stack([_gap(model(state.x_best), y) for _ in range(2000)])
        return (state.total / state.drawn).mean().item(), gaps.sigmoid().mean().item()

    return run


def _gap(logits, y):
    return (logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None])).squeeze(1)


def test_square_is_not_fooled_by_the_draws_that_won(believed, noisy_halfspace, images):
    """What it takes its point to be worth is what the point is worth: the draws that won do not count.

    With them it would believe four points more than there are.
    """
    model = noisy_halfspace(noise=3.0)
    x = images(64)
    y = model.halfspace(x).argmax(1)

    taken, true = believed(Square(queries=30, eot=10), model, x, y, ThreatModel.parse("Linf:0.01"))

    assert taken == pytest.approx(true, abs=0.015)
