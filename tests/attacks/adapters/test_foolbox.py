"""HopSkipJump, run by foolbox on a budget."""

import warnings

import pytest
import torch

from bench.attacks.adapters.foolbox import Foolbox, HopSkipJump, _Witness
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense


@pytest.fixture(autouse=True)
def _quietly_imported():
    """What the libraries warn of while they are imported is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class TestHopSkipJump:
    """The registered one, on a budget of labels."""

    @pytest.mark.parametrize("family", ["Linf", "L2"])
    def test_the_boundary_of_a_halfspace_is_found_from_labels(self, launch, halfspace, images, family):
        """1000 labels: within a fifth of its distance in L2, and twice that in Linf; never nearer."""
        pytest.importorskip("foolbox")
        model, x = halfspace(), images(1)
        y = model(x).argmax(1)
        length, found = model.distance(x, y, family).item(), []

        for factor in (0.97, {"L2": 1.2, "Linf": 2.0}[family]):
            x_adv, _ = launch(HopSkipJump(1000), model, x, y, f"{family}:{factor * length:.6f}", access="decision")
            found.append(bool(model(x_adv).argmax(1) != y))

        assert found == [False, True]

    def test_the_budget_is_kept(self, launch, halfspace, images):
        """300 labels per row, and the few that found its starting point."""
        pytest.importorskip("foolbox")
        model, x = halfspace(), images(3)

        _, oracle = launch(HopSkipJump(300), model, x, model(x).argmax(1), "L2:0.0001", access="decision")

        assert (oracle.forwards >= 301).all()
        assert (oracle.forwards <= 325).all()

    def test_the_nearest_wrong_point_of_all_queries_counts(self, halfspace, images):
        """Not the last one; and points the model is right about do not, however near."""
        model, x = halfspace(), images(2)
        y = model(x).argmax(1)
        towards = torch.stack([(model.weight[1 - label] - model.weight[label]).detach() for label in y]).view_as(x)
        way = towards / towards.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        length = model.distance(x, y, "L2").float().view(-1, 1, 1, 1)
        oracle = Oracle(Defense(model), 2, access="decision")
        witness = _Witness(oracle, x, y, ThreatModel.parse("L2:0.0001"), 9)

        for factor in (3.0, 1.1, 2.0, 0.9):
            witness(x + factor * length * way)

        assert torch.allclose(witness.nearest, x + 1.1 * length * way)

    def test_a_row_without_a_starting_point_keeps_its_image(self, launch, images):
        """A model that gives one label to everything: foolbox would refuse the whole batch."""
        pytest.importorskip("foolbox")
        constant = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
        torch.nn.init.zeros_(constant[1].weight)
        x = images(2)
        y = constant(x).argmax(1)

        by_name, _ = launch(Foolbox("HopSkipJumpAttack", {"steps": 2}), constant, x, y, "L2:1", access="decision")
        registered, _ = launch(HopSkipJump(50), constant, x, y, "L2:1", access="decision")

        assert torch.equal(by_name, x)
        assert torch.equal(registered, x)
