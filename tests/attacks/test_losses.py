import pytest
import torch
import torch.nn.functional as F

from bench.attacks.losses import (
    best_wrong_probability,
    cross_entropy,
    dlr,
    dlr_targeted,
    margin,
    mean_margin,
    probability_margin,
)

LOSSES = {
    "best_wrong_probability": best_wrong_probability,
    "cross_entropy": cross_entropy,
    "dlr": dlr,
    "dlr_targeted": dlr_targeted(torch.tensor([1, 1])),
    "margin": margin,
    "mean_margin": mean_margin,
    "probability_margin": probability_margin,
}


@pytest.fixture
def logits():
    return torch.tensor([[3.0, 1.0, 0.5, -1.0, 0.0], [0.0, 2.0, 4.0, -3.0, 1.0]])


@pytest.fixture
def y():
    return torch.tensor([0, 0])


def test_the_losses_have_the_values_of_their_papers(logits, y):
    """Equations 6 and 7 of arXiv:2003.01690 and the margin, worked out by hand."""
    target = torch.tensor([1, 1])

    values = [margin(logits, y), dlr(logits, y), dlr_targeted(target)(logits, y)]

    assert values[0].tolist() == [-2.0, 4.0]
    assert values[1].tolist() == pytest.approx([-(3 - 1) / (3 - 0.5), -(0 - 4) / (4 - 1)])
    assert values[2].tolist() == pytest.approx([-(3 - 1) / (3 - 0.25), -(0 - 2) / (4 - 0.5)])


def test_the_mean_margin_counts_every_wrong_class_alike(logits, y):
    """Worked out by hand; its gradient is the same whatever the logits are, a decoy among them included."""
    decoyed = logits.clone()
    decoyed[:, 1] = decoyed[:, 0] - 1e-3
    logits.requires_grad_()
    decoyed.requires_grad_()

    (plain,), (other,) = (torch.autograd.grad(mean_margin(each, y).sum(), each) for each in (logits, decoyed))

    assert mean_margin(logits, y).tolist() == pytest.approx([(1 + 0.5 - 1 + 0) / 4 - 3, (2 + 4 - 3 + 1) / 4])
    assert torch.allclose(plain, torch.tensor([-1.0, 0.25, 0.25, 0.25, 0.25]).expand(2, 5))
    assert torch.equal(plain, other)


def test_the_cross_entropy_is_within_a_thousandth_of_the_log_odds(logits, y):
    """The value is the textbook cross-entropy plus 0.001 log((1 - p) / p)."""
    entropy = F.cross_entropy(logits, y, reduction="none")
    p = (-entropy).exp()

    value = cross_entropy(logits, y)

    assert torch.allclose(value, entropy + 1e-3 * ((1 - p) / p).log())


def test_the_cross_entropy_has_the_direction_of_the_textbook_gradient(logits, y):
    """An attack that normalizes its gradient takes the same steps."""
    logits = logits.requires_grad_()

    (ours,) = torch.autograd.grad(cross_entropy(logits, y).sum(), logits)
    (textbook,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), logits)

    assert torch.allclose(F.normalize(ours, dim=1), F.normalize(textbook, dim=1), atol=1e-6)


def test_the_cross_entropy_keeps_a_slope_where_the_textbook_one_is_flat():
    """At a logit gap of 300 float32 makes the gradient of -log p exactly zero; ours is not."""
    logits = torch.tensor([[300.0, 0.0]], requires_grad=True)
    y = torch.tensor([0])

    (ours,) = torch.autograd.grad(cross_entropy(logits, y).sum(), logits)
    (textbook,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), logits)

    assert textbook.abs().max() == 0
    assert ours[0, 1] > 0 > ours[0, 0]


def textbook(logits, y):
    """The best wrong probability and the true one, from a softmax in float64."""
    p = logits.double().softmax(1)
    true = p.gather(1, y[:, None]).squeeze(1)
    return p.scatter(1, y[:, None], -1).amax(1), true


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_probability_margin_is_within_a_thousandth_of_its_log_odds(classes):
    """L + 0.001 log((1 + L) / (1 - L)), with L the difference of two softmax probabilities (arXiv:2411.15210)."""
    generator = torch.Generator().manual_seed(classes)
    logits, y = 3 * torch.randn(64, classes, generator=generator), torch.arange(64) % classes
    wrong, true = textbook(logits, y)
    difference = wrong - true

    value = probability_margin(logits, y).double()

    assert torch.allclose(value, difference + 1e-3 * ((1 + difference) / (1 - difference)).log(), atol=1e-6)


def test_the_best_wrong_probability_is_within_a_thousandth_of_its_log_odds(logits, y):
    wrong, _ = textbook(logits, y)

    value = best_wrong_probability(logits, y).double()

    assert torch.allclose(value, wrong + 1e-3 * (wrong / (1 - wrong)).log(), atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "of"),
    [
        (probability_margin, lambda wrong, true: wrong - true),
        (best_wrong_probability, lambda wrong, _: wrong),
        (cross_entropy, lambda _, true: -true),
    ],
)
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_losses_of_probabilities_have_the_directions_of_the_textbook_gradients(loss, of, size):
    """Also where nearly all probability is on one class, which only float64 can still differentiate.

    The direction of the cross-entropy's is that of minus the true probability, too.
    """
    generator = torch.Generator().manual_seed(1)
    logits = (size * torch.randn(64, 10, generator=generator)).requires_grad_()
    y = torch.arange(64) % 10

    (ours,) = torch.autograd.grad(loss(logits, y).sum(), logits)
    exact = logits.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(of(*textbook(exact, y)).sum(), exact)

    # Below, rounding to 1e-16 would show in the direction of the textbook's, too.
    plain = expected.norm(dim=1) > 1e-10
    assert plain.sum() > 10
    assert torch.allclose(F.normalize(ours.double(), dim=1)[plain], F.normalize(expected, dim=1)[plain], atol=1e-4)


@pytest.mark.parametrize("loss", [probability_margin, best_wrong_probability])
@pytest.mark.parametrize("gap", [20.0, 300.0, 3000.0])
def test_losses_of_probabilities_keep_a_slope_where_the_softmax_is_saturated(loss, gap):
    """At a gap of 300 float32 makes the gradient of the probabilities exactly zero; ours leads to the nearest class."""
    logits, y = torch.tensor([[gap, 1.0, 0.0], [0.0, gap, -gap]], requires_grad=True), torch.tensor([0, 0])

    (ours,) = torch.autograd.grad(loss(logits, y).sum(), logits)
    p = logits.softmax(1)
    (flat,) = torch.autograd.grad((p[:, 1] - p[:, 0]).sum(), logits)

    assert gap == 20 or flat.abs().max() == 0
    assert (ours[:, 1] > 1e-4).all()
    assert ours.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_constant_added_to_the_logits_changes_nothing(name, logits, y):
    """Values and gradients depend on differences of logits only."""
    loss = LOSSES[name]

    plain, shifted = loss(logits, y), loss(logits + 4096, y)

    assert torch.equal(plain, shifted)


@pytest.mark.parametrize("name", LOSSES)
def test_low_precision_logits_give_a_float32_loss(name, logits, y):
    """Attacks compare losses step by step; bfloat16 would round their progress away."""
    value = LOSSES[name](logits.bfloat16(), y)

    assert value.dtype == torch.float32


@pytest.mark.parametrize(("classes", "name"), [(2, "dlr"), (2, "dlr_targeted"), (3, "dlr_targeted")])
def test_too_few_classes_for_a_ratio_fall_back_to_the_margin(classes, name):
    """DLR needs three classes and its targeted form four; below that the plain gap is ascended."""
    logits = torch.tensor([[2.0, 0.5, 0.0]])[:, :classes]
    y = torch.tensor([0])

    value = {"dlr": dlr, "dlr_targeted": dlr_targeted(torch.tensor([1]))}[name](logits, y)

    assert value.tolist() == [-1.5]


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_an_example_ignores_its_companions(name, logits, y):
    """A loss is per example: the gradient of one row is zero in every other row."""
    logits = logits.requires_grad_()

    (grad,) = torch.autograd.grad(LOSSES[name](logits, y)[0], logits)

    assert grad[0].abs().max() > 0
    assert grad[1].abs().max() == 0
