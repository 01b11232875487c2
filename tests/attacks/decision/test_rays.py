"""RayS: what it finds of boundaries whose place is known, and what it asks for."""

import math

import pytest
import torch

from bench.attacks.decision.rays import RayS, _blocks
from bench.errors import BenchError
from bench.oracle.geometry import distance
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense


class Labels(torch.nn.Module):
    """A model that keeps every image it is asked about."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, []

    def forward(self, x):
        self.asked.append(x.clone())
        return self.model(x)


def at_one_distance(model, x, y, k=0):
    """One image and its exact Linf distance to the boundary."""
    return x[k : k + 1], y[k : k + 1], model.distance(x[k : k + 1], y[k : k + 1], "Linf").item()


@pytest.mark.parametrize(("factor", "queries", "breaks"), [(1.1, 400, True), (1.02, 1000, True), (0.98, 1000, False)])
def test_the_boundary_of_a_halfspace_is_found(launch, halfspace, images, factor, queries, breaks):
    """Within a tenth of the analytic distance after 400 labels, a fiftieth after 1000; never nearer."""
    model, x = halfspace(), images(4)
    y = model(x).argmax(1)
    for k in range(2):
        one, label, length = at_one_distance(model, x, y, k)

        x_adv, _ = launch(RayS(queries), model, one, label, f"Linf:{factor * length:.6f}", access="decision")

        assert bool(model(x_adv).argmax(1) != label) is breaks
        assert distance(x_adv, one, "Linf").item() <= factor * length + 1e-6


def test_it_asks_for_labels_alone_and_stops_where_it_broke(launch, halfspace, images):
    """The ledger is the number of labels of each row; a broken row is asked no more."""
    model, x = halfspace(), images(6)
    y = model(x).argmax(1)
    threat = ThreatModel("Linf", ThreatModel.parse(f"Linf:{model.distance(x, y, 'Linf').median().item():.4f}").eps)

    x_adv, oracle = launch(RayS(400), model, x, y, str(threat), access="decision")

    broken = model(x_adv).argmax(1) != y
    assert 0 < broken.sum() < 6
    assert (oracle.forwards[~broken] == 400).all()
    assert (oracle.forwards[broken] < 400).all()
    assert oracle.backwards.sum() == 0


def test_what_broke_is_what_was_asked(launch, halfspace, images):
    """The image handed in is, to the last bit, one that the model was asked about."""
    model, x = halfspace(), images(1)
    y, seen = model(x).argmax(1), Labels(model)

    x_adv, _ = launch(RayS(400), seen, x, y, f"Linf:{1.5 * model.distance(x, y, 'Linf').item():.5f}", access="decision")

    assert torch.equal(seen.asked[-1], x_adv)
    assert (model(x_adv).argmax(1) != y).all()


def test_no_boundary_in_reach_hands_in_the_best_direction(launch, halfspace, images):
    """On the surface of the ball, along the signs whose boundary is nearest: nearly those of the weights."""
    model, x = halfspace(), images(1)
    y = model(x).argmax(1)
    eps = 0.8 * model.distance(x, y, "Linf").item()

    x_adv, _ = launch(RayS(1000), model, x, y, f"Linf:{eps:.6f}", access="decision")

    towards = (model.weight[1 - y] - model.weight[y]).sign().view_as(x)
    assert ((x_adv - x).sign() == towards).float().mean() >= 0.9
    assert torch.allclose((x_adv - x).abs(), torch.tensor(eps), atol=1e-5)


def test_blocks_halve_from_the_whole_image_to_single_pixels():
    """1, 2, 4, ... blocks; where the size is no power of two the last ones are shorter or missing."""
    blocks = _blocks(12).tolist()

    assert blocks[0] == [0, 0]
    assert blocks[1:8] == [[0, 12], [0, 6], [6, 6], [0, 3], [3, 3], [6, 3], [9, 3]]
    assert [length for _, length in blocks[8:]] == [2] * 6 + [1] * 12
    assert len(_blocks(1)) == 2


def test_after_the_last_block_they_are_cut_from_another_order(launch):
    """Two pixels far apart have to darken together: no block of neighbors does that to them alone."""

    class Pair(torch.nn.Module):
        """Wrong where pixels 3 and 40 darken by 0.1 and pixel 10 brightens."""

        def forward(self, x):
            change = (x - 0.5).flatten(1)
            gap = torch.stack([-change[:, 3], -change[:, 40], change[:, 10]]).amin(0) - 0.1
            easy = change.amin(1) - 0.45  # all far brighter: a first way across
            return torch.stack([torch.zeros(len(x)), torch.maximum(gap, easy)], 1)

    x, y = torch.full((1, 1, 8, 8), 0.5), torch.zeros(1, dtype=torch.int64)

    few, _ = launch(RayS(180), Pair(), x, y, "Linf:0.2", access="decision")
    many, _ = launch(RayS(3000), Pair(), x, y, "Linf:0.2", access="decision")

    assert Pair()(few).argmax(1) == 0
    assert Pair()(many).argmax(1) == 1


def test_a_stochastic_defense_is_declined(launch, noisy_halfspace, images):
    """Single answers of it mean nothing."""
    with pytest.raises(BenchError, match="trusts single answers"):
        launch(RayS(), noisy_halfspace(), images(1), torch.tensor([0]), "Linf:0.1", stochastic=True, access="decision")


def test_logits_are_refused_to_a_decision_based_attack(halfspace, images):
    """The access right that RayS is registered with gives labels and nothing else."""
    oracle = Oracle(Defense(halfspace()), 1, access="decision")

    with pytest.raises(PermissionError, match="asked for logits"):
        oracle.logits(images(1), torch.tensor([0]))
    assert oracle.labels(images(1), torch.tensor([0])).shape == (1,)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (1, 1, 3)])
def test_any_shape_will_do(launch, images, shape):
    """Sizes that are no power of two, down to one pixel."""
    x = images(2, shape)
    bright = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(math.prod(shape), 2)).eval()
    with torch.no_grad():
        bright[1].weight.copy_(torch.stack([torch.ones(math.prod(shape)), torch.zeros(math.prod(shape))]))
        bright[1].bias.copy_(torch.tensor([-0.3 * math.prod(shape), 0.0]))

    x_adv, _ = launch(RayS(100), bright, x, torch.zeros(2, dtype=torch.int64), "Linf:0.35", access="decision")

    assert (bright(x_adv).argmax(1) == 1).all()
