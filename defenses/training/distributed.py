"""Training of one network by several processes, which `torchrun` starts; one process is the usual case.

    torchrun --nproc-per-node 4 --no-python bench train at --dataset cifar10

Each process takes its share of every batch, and gradients are averaged before every update (synchronous
data parallelism: Goyal et al., arXiv:1706.02677). A loss that is a mean over a batch then has the gradient
of the whole batch. Batch statistics are those of a share, as in torch's DistributedDataParallel. Only the
first process reports progress, notes its state and writes files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.errors import BenchError


@dataclass(frozen=True)
class Workers:
    """The processes of a training, from the point of view of one of them.

    Attributes:
        rank: the number of this process; 0 leads.
        count: the number of processes.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Workers:
        """Return the workers of this process, inside `gathered`."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """Return the part of a batch that belongs to this process."""
        return rows[self.rank :: self.count]

    def require_even(self, batch: int) -> None:
        """Raise a `BenchError` unless every process gets equally many examples of a batch."""
        if batch % self.count:
            even = max(1, batch // self.count) * self.count
            raise BenchError(f"batch_size={batch} is no multiple of {self.count} processes: write batch_size={even}")

    def agree(self, *tensors: Tensor) -> None:
        """Copy the first process's values to all processes, in place."""
        if self.count == 1:
            return
        for tensor in tensors:
            # NCCL exchanges only tensors on a GPU.
            held = tensor.cuda() if dist.get_backend() == "nccl" else tensor
            dist.broadcast(held, 0)
            tensor.copy_(held)

    def average(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in place and in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        done = 0
        for tensor in tensors:
            tensor.copy_(flat[done : done + tensor.numel()].view_as(tensor))
            done += tensor.numel()

    def average_gradients(self, network: nn.Module) -> None:
        self.average([parameter.grad for parameter in network.parameters() if parameter.grad is not None])

    def average_statistics(self, network: nn.Module) -> None:
        """Average the batch statistics and other buffers that each process gathered on its own shares."""
        self.average([buffer for buffer in network.buffers() if buffer.is_floating_point()])


def device_of(device: str) -> str:
    """Return the device of this process: with several processes `cuda` becomes one GPU for each."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device


@contextmanager
def gathered(device: str) -> Iterator[Workers]:
    """Join the processes that `torchrun` started, if it did; else yield this process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield Workers.here()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    # NCCL is the fast one between GPUs and has no CPU tensors, gloo has both.
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Workers.here()
    finally:
        dist.destroy_process_group()
