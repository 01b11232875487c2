"""Smaller batches: the same answers and gradients, with the activations of one chunk at a time."""

import pytest
import torch
from torch import nn

from bench.harness.chunks import Chunked, in_chunks, is_out_of_memory, smaller
from bench.types import Defense


class Counting(nn.Module):
    """A linear network that notes how many images it gets at once, and holds no more than `most`."""

    def __init__(self, most=10**6):
        super().__init__()
        self.layer = nn.Linear(12, 3)
        self.most, self.seen = most, []

    def forward(self, x):
        self.seen.append(len(x))
        if len(x) > self.most:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte"
            )
        return self.layer(x.flatten(1)).tanh()


def gradient(module, x):
    x = x.clone().requires_grad_()
    logits = module(x)
    (grad,) = torch.autograd.grad(logits.square().sum(), x)
    return logits.detach(), grad


@pytest.mark.parametrize(
    ("batch", "halvings", "chunks"), [(8, 1, [4, 4]), (7, 1, [4, 3]), (5, 2, [2, 2, 1]), (1, 3, [1])]
)
def test_a_batch_is_answered_in_chunks_with_the_same_answers_and_gradients(batch, halvings, chunks):
    torch.manual_seed(0)
    net, x = Counting().eval(), torch.rand(batch, 3, 2, 2)
    whole = gradient(net, x)
    net.seen.clear()

    parts = gradient(smaller(net, batch, halvings), x)

    assert net.seen[: len(chunks)] == chunks
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        torch.testing.assert_close(smaller(net, batch, halvings)(x), whole[0])


def test_activations_of_one_chunk_at_a_time_are_kept():
    """Torch hands every tensor that it saves for the backward pass to this hook; those within a chunk are made anew."""

    def saved(module):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t
        ):
            module(x)
        return sum(kept)

    net = nn.Sequential(nn.Flatten(), *[layer for _ in range(8) for layer in (nn.Linear(64, 64), nn.Tanh())]).eval()
    x = torch.rand(64, 64, requires_grad=True)

    assert saved(Chunked(net, 8)) < 0.2 * saved(net)


def test_every_module_of_a_deterministic_defense_is_asked_in_chunks_and_a_stochastic_one_is_not():
    net = Counting(most=4).eval()
    defense = Defense(net, base=net, transfer_source=Defense(net))

    assert in_chunks(defense, 8, 0) is defense
    chunked = in_chunks(defense, 8, 1)
    for module in (chunked.model, chunked.base, chunked.transfer_source.model):
        assert module(torch.rand(8, 3, 2, 2)).shape == (8, 3)
        assert not module.training
    assert chunked.purifier is None
    with pytest.raises(MemoryError, match="give a smaller --batch"):
        in_chunks(Defense(net, stochastic=True), 8, 1)


def test_out_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        Counting(most=1)(torch.rand(2, 3, 2, 2))
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
