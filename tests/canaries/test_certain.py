"""Honest defenses in closed form, and those that are certain: no check raises an alarm about one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.checks.before.preflight import preflight
from bench.datasets.digits import digits
from bench.types import Defense


class Answering(nn.Module):
    """A function of the images."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def squared(x, points):
    return (x.flatten(1)[:, None] - points.flatten(1)).square().sum(2)


def kernel(of):
    """Ridge regression; `of(x, points)` is large where they are alike."""

    def build(known, y):
        weight = torch.linalg.solve(of(known, known) + 0.1 * torch.eye(len(known)), F.one_hot(y, 10) - 0.1)
        return lambda x: 10 * of(x, known) @ weight

    return build


def neighbors(known, y):
    """Those of each class, weighed by how far they are."""
    of_class = F.one_hot(y, 10).float().log()
    return lambda x: (of_class - squared(x, known)[:, :, None] / 0.5).logsumexp(1)


def bayes(known, y):
    """A Gaussian in every pixel."""
    classes = [known[y == k].flatten(1) for k in range(10)]
    mean, variance = torch.stack([each.mean(0) for each in classes]), torch.stack([each.var(0) for each in classes])
    variance = variance + 0.02
    return lambda x: -0.5 * ((x.flatten(1)[:, None] - mean).square() / variance + variance.log()).sum(2)


CLOSED = {
    "Gaussian kernel": kernel(lambda x, points: (-squared(x, points) / 8).exp()),
    "Laplacian kernel": kernel(lambda x, points: (-torch.cdist(x.flatten(1), points.flatten(1), p=1) / 10).exp()),
    "soft nearest neighbors": neighbors,
    "naive Bayes": bayes,
}


@pytest.mark.parametrize("name", CLOSED)
def test_a_classifier_in_closed_form_raises_no_alarm(name, honest):
    data = digits("train").first(512)

    answer = CLOSED[name](torch.from_numpy(data.x), torch.from_numpy(data.y))

    assert not honest(name, Defense(Answering(answer)))


def test_the_nearest_class_mean_raises_no_alarm(centroids, honest):
    assert not honest("nearest class mean", Defense(centroids()))


def bounds(network, x, eps):
    """Interval bounds of the logits within eps."""
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    for layer in network:
        if isinstance(layer, nn.Linear):
            middle, reach = layer((low + high) / 2), F.linear((high - low) / 2, layer.weight.abs())
            low, high = middle - reach, middle + reach
        else:
            low, high = layer(low), layer(high)
    return low, high


class Proving:
    """Softplus of the interval bounds, each class against the rest; eps grows to 0.2 in so many steps."""

    def __init__(self, steps):
        self.steps, self.step = steps, 0

    def __call__(self, network, x, y):
        self.step += 1
        low, high = bounds(network, x, 0.2 * min(1, self.step / self.steps))
        own = F.one_hot(y, 10)
        return (F.softplus(torch.where(own > 0, -low, high)) * (1 + 3 * own)).sum(1).mean()


@pytest.fixture(scope="module")
def proved(trained):
    return trained(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)),
        epochs=60,
        loss=Proving(500),
    )


def test_a_network_trained_by_interval_bounds_raises_no_alarm(proved, honest):
    assert not honest("interval bounds", Defense(proved))


def flat_where_sure(proved, model, classes, start):
    """A constant where `proved` is sure of a class, the model elsewhere, a ramp between."""
    constant = 10 * F.one_hot(classes, 10).float()

    def answer(x):
        sure = ((proved(x)[:, classes] - start) / 0.5 + 1).clamp(0, 1)
        return model(x) * (1 - sure.amax(1, keepdim=True)) + sure / sure.sum(1, keepdim=True).clamp_min(1) @ constant

    return answer


def test_a_defense_that_is_flat_where_it_is_certain_raises_no_alarm(proved, robust, test_digits, honest):
    """Interval bounds prove that nothing within eps changes the answer to some images."""
    data = digits("train")
    classes, x = torch.tensor([0, 6]), torch.from_numpy(test_digits.x[:64])
    others = torch.from_numpy(data.y)[:, None] != classes
    start = torch.where(others, proved(torch.from_numpy(data.x))[:, classes], -torch.inf).amax(0)
    defense = Defense(Answering(flat_where_sure(proved, robust, classes, start)))

    alarms = honest("flat where certain", defense)

    assert (bounds(proved, x, 0.2)[0][:, classes] > start).any(1).sum() >= 2
    assert not alarms
    assert "flat because nothing near changes" in preflight(defense, test_digits, eps=0.2)[8].message
