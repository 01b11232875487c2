"""Other formats of a network: the same answers, from fewer or cheaper operations."""

import pytest
import torch
from torch import nn

from bench.harness.conversion import converted
from bench.harness.formats import FORMATS, PLAIN, Format


class Net(nn.Module):
    """Two convolutions with batch norms that have seen data, one with a bias."""

    def __init__(self, *, shared=False, watched=False):
        super().__init__()
        self.shared, self.watched = shared, watched
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.other = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        seen = self.first(x)
        x = self.norm(seen).relu()
        if self.watched:
            x = x + seen
        x = self.other(self.second(x)).relu()
        if self.shared:
            x = self.other(self.second(x)).relu()
        return self.head(x.mean((2, 3)))


def trained(**kind):
    torch.manual_seed(0)
    net = Net(**kind)
    for _ in range(5):
        net(3 * torch.rand(16, 3, 8, 8) + 1)
    return net.eval()


@pytest.fixture
def x():
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", FORMATS, ids=str)
def test_every_format_gives_the_same_logits(layout, x):
    """To float32 rounding, or to that of bfloat16."""
    net = trained()

    logits = converted(net, layout, x)(x)

    assert logits.dtype == torch.float32
    assert torch.allclose(logits, net(x), atol=0.05 if layout.half else 1e-5)


def test_the_network_as_given_is_not_touched(x):
    """A format is a copy: weights, layout and training flags of the original stay."""
    net = trained()
    before = {name: value.clone() for name, value in net.state_dict().items()}

    converted(net, Format(channels_last=True, fused=True), x)

    assert type(net.norm) is nn.BatchNorm2d
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(value.requires_grad for value in net.parameters())
    assert net.second.weight.is_contiguous()
    assert converted(net, PLAIN, x) is net


def test_batch_norms_are_folded_into_the_convolutions_before_them(x):
    other = converted(trained(), Format(fused=True), x).model

    assert [type(layer) for layer in (other.norm, other.other)] == [nn.Identity, nn.Identity]


def test_weights_in_bfloat16_are_rounded_once(x):
    """Not in every forward; `torch.autocast` would give the same answers."""
    net = trained()

    other = converted(net, Format(half=True, channels_last=True), x)

    assert {layer.weight.dtype for layer in (other.model.first, other.model.head)} == {torch.bfloat16}
    assert other.model.norm.weight.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(other(x), net.to(memory_format=torch.channels_last)(x).float())


class Noisy(nn.Module):
    """A defense that draws noise like its input, before a network with group norms."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.norm(self.first(x + torch.randn_like(x))).relu().mean((2, 3)))


@pytest.mark.parametrize("layout", FORMATS, ids=str)
def test_every_format_draws_the_same_noise(layout, x):
    """`randn_like` follows the layout of what it is like: other noise would be another draw."""
    torch.manual_seed(0)
    net = Noisy().eval()
    torch.manual_seed(1)
    expected = net(x)

    other = converted(net, layout, x)
    torch.manual_seed(1)
    assert torch.allclose(other(x), expected, atol=0.05 if layout.half else 1e-5)


def test_group_norms_stay_in_float32(x):
    """Their kernel for bfloat16 is several times slower."""
    net = Noisy().eval()
    seen = []
    other = converted(net, Format(half=True, channels_last=True), x)
    other.model.norm.layer.register_forward_hook(lambda layer, given, output: seen.append(given[0].dtype))

    other(x)

    assert seen == [torch.float32]
    assert other.model.norm(torch.rand(1, 8, 3, 3).bfloat16()).dtype == torch.bfloat16


def test_a_pair_that_runs_twice_is_left_alone(x):
    """Here it would be right all the same; where only one of the two runs twice it would not."""
    net = trained(shared=True)

    other = converted(net, Format(fused=True), x)

    assert type(other.model.other) is nn.BatchNorm2d
    assert type(other.model.norm) is nn.Identity
    assert torch.allclose(other(x), net(x), atol=1e-5)


def test_layers_with_hooks_are_left_alone(x):
    """A hook of the defense's own may change what passes by."""
    net = trained()
    net.first.register_forward_hook(lambda layer, given, output: 2 * output)

    other = converted(net, Format(fused=True), x)

    assert torch.allclose(other(x), net(x), atol=1e-5)


def test_an_output_that_something_else_takes_too_shows_in_the_answers(x):
    """Which is how the planner finds out: the format is not trusted."""
    net = trained(watched=True)

    other = converted(net, Format(fused=True), x)

    assert not torch.allclose(other(x), net(x), atol=1e-2)
