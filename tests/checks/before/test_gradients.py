"""S09, S10 and S17 on templates, whose gradients are known: where there is one, where it saturates, what optimizes."""

import pytest
import torch

from bench.checks.before.gradients import ascend, existence, gradient, optimization, saturation, slopes, usable
from bench.oracle.answers import margin
from tests.checks.before.models import Linear, Wrapped, on_the_bench


def test_the_slopes_are_those_of_the_templates():
    """Of the margin: the nearest other template less that of the label; of the cross-entropy: p - onehot."""
    subject = on_the_bench(Linear(0.1))
    weight, y = subject.model.weight, subject.y

    found = slopes(subject)

    rival = subject.clean.scatter(1, y[:, None], -torch.inf).argmax(1)
    share = subject.clean.softmax(1) - torch.nn.functional.one_hot(y, 10)
    torch.testing.assert_close(found.margin.flatten(1), weight[rival] - weight[y])
    torch.testing.assert_close(found.cross_entropy.flatten(1), share @ weight)
    torch.testing.assert_close(found.logits, subject.clean)
    assert usable(found).all()


def test_the_slopes_of_a_stochastic_defense_are_the_mean_of_its_draws():
    """Templates that are scaled by a draw: the gradient is scaled by the mean of both."""

    def scaled(self, x, logits):
        self.drawn = [*getattr(self, "drawn", []), 1 + torch.rand(()).item()]
        return self.drawn[-1] * logits

    subject = on_the_bench(Wrapped(scaled), stochastic=True)
    subject.random = True
    subject.model.drawn = []

    found = slopes(subject)

    one, two = subject.model.drawn
    rival = found.logits.scatter(1, subject.y[:, None], -torch.inf).argmax(1)
    plain = subject.model.weight[rival] - subject.model.weight[subject.y]
    assert one != two
    torch.testing.assert_close(found.margin.flatten(1), (one + two) / 2 * plain)


@pytest.mark.parametrize(
    ("how", "count", "verdict"),
    [
        (lambda self, x, logits: logits, "0/32", "pass"),
        (lambda self, x, logits: logits.detach(), "32/32", "flag"),
        (lambda self, x, logits: logits + 0 * (x - x).sqrt().sum(), "32/32", "flag"),
    ],
    ids=["templates", "cut off", "no number"],
)
def test_a_gradient_that_is_missing_or_no_number_is_counted(how, count, verdict):
    subject = on_the_bench(Wrapped(how))

    found = existence(subject, slopes(subject))

    assert (found.verdict, found.value) == (verdict, count)


def test_an_error_of_the_backward_pass_is_told_with_the_remedy():
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, logits):
            return logits.clone()

        @staticmethod
        def backward(ctx, grad):
            raise ZeroDivisionError("no\nway back")

    subject = on_the_bench(Wrapped(lambda self, x, logits: Broken.apply(logits)))

    found = existence(subject, slopes(subject))

    assert found.verdict == "flag"
    assert "BPDA or black-box attacks are needed (ZeroDivisionError: no way back)" in found.message


@pytest.mark.parametrize(("scale", "saturated"), [(1.0, False), (1000.0, True)])
def test_the_cross_entropy_saturates_where_a_label_leads_by_more_than_float32_tells(scale, saturated):
    """An example whose label leads by 104 or more has a softmax of exactly one, hence no slope."""
    subject = on_the_bench(Linear(scale))
    flat = int((margin(subject.clean, subject.y) < -104).sum())

    found = saturation(subject, slopes(subject))

    assert (flat > 0) is saturated
    assert found.value == f"{flat}/32"
    assert (found.verdict == "info") is saturated


def test_optimization_inside_a_forward_is_seen_and_a_forward_alone_is_none():
    def descending(self, x, logits):
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (grad,) = torch.autograd.grad(leaf.square().sum(), leaf)
        return logits + 0 * grad.sum()

    assert optimization(on_the_bench(Linear())).verdict == "pass"
    assert optimization(on_the_bench(Wrapped(descending))).verdict == "info"


def test_a_gradient_is_that_of_the_loss_with_the_logits_it_was_of():
    subject = on_the_bench(Linear())

    grad, logits = gradient(subject, subject.x, lambda logits: logits[:, 3])

    assert torch.equal(logits, subject.clean)
    torch.testing.assert_close(grad.flatten(1), subject.model.weight[3].expand(32, 64))


def test_an_ascent_reaches_the_best_corner_of_the_ball_and_stays_in_the_box():
    """Of two templates, so that the rival is the same all the way; in half of the steps, for the others find none."""

    def two(self, x, logits):
        if x.requires_grad:
            self.steps = getattr(self, "steps", 0) + 1
            logits = logits if self.steps <= 2 else logits.detach() + 0 * logits
        return torch.cat([logits[:, :2], torch.full_like(logits[:, 2:], -1e3)], 1)

    subject = on_the_bench(Wrapped(two))
    y = torch.zeros_like(subject.y)

    x_adv = ascend(subject, subject.x, y, steps=4)

    towards = (subject.model.weight[1] - subject.model.weight[0]).view(1, 1, 8, 8).sign()
    torch.testing.assert_close(x_adv, (subject.x + subject.eps * towards).clamp(0, 1))
    assert ascend(on_the_bench(Wrapped(lambda self, x, logits: logits.detach())), subject.x, y, steps=2) is None
