"""Later restarts attack what is left, each example with its own random numbers."""

import itertools

import pytest
import torch

from bench.attacks.lp.apgd import APGD, APGDTargeted
from bench.attacks.lp.pgd import PGD
from bench.attacks.lp.square import Square
from bench.attacks.unforeseen.stadv import StAdv

CASES = {
    "pgd": (PGD(steps=3, n_restarts=3), "Linf:0.12"),
    "apgd": (APGD(steps=4, n_restarts=3), "Linf:0.12"),
    "apgd-t": (APGDTargeted(steps=3, targets=2, n_restarts=2), "Linf:0.12"),
    "square": (Square(queries=60, n_restarts=2), "Linf:0.15"),
    "stadv": (StAdv(steps=3, n_restarts=3), "stadv:0.4"),
}


def for_every_case(test):
    return pytest.mark.parametrize(("attack", "threat"), CASES.values(), ids=CASES)(test)


@for_every_case
def test_restarts_of_one_example_do_not_depend_on_the_others(launch, robust_digits, attack, threat):
    """An example attacked alone ends at the point it reaches among others, some of which break early."""
    model, x, y = robust_digits[0], robust_digits[1][:12], robust_digits[2][:12]

    together, _ = launch(attack, model, x, y, threat)
    alone = [launch(attack, model, x[[i]], y[[i]], threat, rows=[i])[0] for i in range(12)]

    broken = model(together).argmax(1) != y
    assert 0 < broken.sum() < 12
    same = (torch.cat(alone) - together).flatten(1).abs().amax(1) < 1e-4
    assert same.sum() >= 11  # rounding may turn the sign of one gradient that is nearly zero


@for_every_case
def test_restarts_start_elsewhere(launch, small_cnn, images, attack, threat):
    """Two runs from one start would waste the second: what each run asks first is different."""
    asked = []

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = small_cnn()

        def forward(self, x):
            asked.append(x.detach().clone())
            return self.model(x)

    model, x = Watched(), images(1)
    y = model.model(x).argmax(1)

    launch(attack, model, x, y, threat.split(":")[0] + ":0.001")

    length = getattr(attack, "steps", getattr(attack, "queries", 0)) + 1
    first = asked[len(asked) % length :: length]
    assert len(first) == attack.n_restarts * getattr(attack, "targets", 1)
    assert all((a != b).any() for a, b in itertools.pairwise(first))


def test_a_restart_queries_only_what_is_left(launch, robust_digits):
    """A broken example costs the same with one restart as with five."""
    model, x, y = robust_digits

    x_adv, one = launch(PGD(steps=5), model, x, y, "Linf:0.15")
    _, five = launch(PGD(steps=5, n_restarts=5), model, x, y, "Linf:0.15")

    broken = model(x_adv).argmax(1) != y
    assert broken.any()
    assert torch.equal(one.forwards[broken], five.forwards[broken])
    assert (five.forwards[~broken] > one.forwards[~broken]).all()
