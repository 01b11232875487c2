"""The pretended GPU refuses what a real one refuses, and computes what the CPU computes."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from gpu.pretend import MixedDevicesError, pretended_gpu


@pytest.fixture(autouse=True)
def pretending():
    with pretended_gpu():
        yield


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


class WithTable(nn.Module):
    """A model whose author forgot that a tensor that is no buffer does not move along."""

    def __init__(self, registered):
        super().__init__()
        if registered:
            self.register_buffer("table", torch.linspace(0, 1, 64))
        else:
            self.table = torch.linspace(0, 1, 64)

    def forward(self, x):
        return (x.flatten(1) * self.table)[:, :10]


def test_a_buffer_left_on_the_host_is_found():
    """The mistake that no test on a CPU can see; the remedy passes."""
    x = torch.rand(2, 1, 8, 8, device="cuda")

    with pytest.raises(MixedDevicesError, match="same device"):
        WithTable(registered=False).to("cuda")(x)

    assert WithTable(registered=True).to("cuda")(x).is_cuda
    copied = copy.deepcopy(WithTable(registered=False).to("cuda"))  # a copy alone is no mistake
    assert not copied.table.is_cuda


@pytest.mark.parametrize(
    "mistake",
    [
        lambda x: x + torch.zeros(8),
        lambda x: torch.cat([x, torch.rand(2, 1, 8, 8)]),
        lambda x: torch.zeros(8)[torch.arange(2, device="cuda")],
        lambda x: torch.zeros(2, 3)[torch.ones(2, dtype=torch.bool, device="cuda")],
        lambda x: x.numpy(),
        lambda x: nn.Conv2d(1, 1, 3)(x),
        lambda x: torch.where(x > 0.5, x, torch.zeros(2, 1, 8, 8)),
        lambda x: x.index_fill(0, torch.tensor([0]), 1.0),
        lambda x: nn.functional.cross_entropy(x.flatten(1), torch.tensor([0, 1])),
    ],
)
def test_what_cuda_refuses_is_refused(mistake):
    """Tensors of two devices do not meet, and numpy cannot read a GPU."""
    with pytest.raises((MixedDevicesError, TypeError)):
        mistake(torch.rand(2, 1, 8, 8, device="cuda"))


@pytest.mark.parametrize(
    "allowed",
    [
        lambda x: x * torch.tensor(2.0),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: x.clone().copy_(torch.rand(2, 1, 8, 8)),
        lambda x: x.cpu().cuda(),
        lambda x: torch.rand(2, 1, 8, 8).to(x),
        lambda x: torch.rand(2, 1, 8, 8).to(torch.float64).to("cuda:0"),
        lambda x: x.new_zeros(3),
        lambda x: torch.zeros_like(x),
        lambda x: copy.deepcopy(x),
        lambda x: x.to(torch.bfloat16),
    ],
)
def test_what_cuda_allows_is_allowed_and_stays_there(allowed):
    """Numbers and indices of the host may be used, and every way to the GPU leads to it."""
    assert allowed(torch.rand(2, 1, 8, 8, device="cuda")).device == torch.device("cuda", 0)


def test_the_way_back_is_as_explicit():
    """`.cpu()`, `.to("cpu")`, `.item()` and `.tolist()` leave the GPU."""
    x = torch.rand(2, 3, device="cuda")

    assert x.cpu().numpy().tolist() == x.to("cpu").tolist() == x.tolist()
    assert isinstance(x.sum().item(), float)
    assert not x.cpu().is_cuda


def test_a_training_moves_as_on_a_gpu_and_gives_the_numbers_of_the_cpu():
    """Weights, buffers, gradients, the state of the optimizer and copies: all there, all the same."""

    def trained(device):
        model = network().to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        torch.manual_seed(1)
        for _ in range(3):
            x = torch.rand(8, 1, 8, 8).to(device)
            with torch.autocast(device, torch.bfloat16):
                loss = nn.functional.cross_entropy(model(x), torch.arange(8, device=device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model, optimizer

    model, optimizer = trained("cuda")
    other, _ = trained("cpu")

    assert all(value.is_cuda for value in model.state_dict().values())
    assert all(weight.grad.is_cuda for weight in model.parameters())
    assert all(weight.is_cuda for weight in copy.deepcopy(model).parameters())
    moments = [value for state in optimizer.state_dict()["state"].values() for value in state.values()]
    assert all(value.is_cuda for value in moments if value.dim())
    for key, value in other.state_dict().items():
        assert torch.equal(model.state_dict()[key].cpu(), value)


def test_what_is_saved_there_is_read_anywhere():
    """A file written from the GPU holds the numbers."""
    held, x = io.BytesIO(), torch.rand(3, device="cuda")
    torch.save({"x": x}, held)
    held.seek(0)

    assert torch.equal(torch.load(held, map_location="cpu", weights_only=True)["x"].cpu(), x.cpu())


def test_nothing_stays_pretended():
    """Outside, torch is as it was."""
    inside = torch.cuda.get_device_name()
    with pretended_gpu():
        pass

    assert inside == "pretended GPU"
    assert torch.cuda.device_count() == 1
