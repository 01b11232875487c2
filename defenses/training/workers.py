"""Several processes that train one network together, as `torchrun` starts them; one alone is the usual case.

    torchrun --nproc-per-node 4 --no-python bench train at --dataset cifar10

Each process takes its share of every batch, and gradients are averaged before every update (synchronous
data parallelism: Goyal et al., arXiv:1706.02677). Losses that are means over a batch then have the gradient
of the whole batch. Batch statistics are those of a share, as in torch's DistributedDataParallel. The first
process alone watches, notes and writes.
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
    """The processes of a training, as one of them sees them.

    Attributes:
        rank: which one this is; 0 leads.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Workers:
        """Those of this process, inside `gathered`."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This one's part of a batch."""
        return rows[self.rank :: self.count]

    def require_even(self, batch: int) -> None:
        """Raise a BenchError unless every process gets equally many examples of a batch."""
        if batch % self.count:
            even = max(1, batch // self.count) * self.count
            raise BenchError(f"batch_size={batch} is no multiple of {self.count} processes: write batch_size={even}")

    def agree(self, *tensors: Tensor) -> None:
        """Give all of them the first one's values, in place."""
        if self.count == 1:
            return
        for tensor in tensors:
            # NCCL knows tensors on a GPU alone.
            held = tensor.cuda() if dist.get_backend() == "nccl" else tensor
            dist.broadcast(held, 0)
            tensor.copy_(held)

    def average(self, tensors: list[Tensor]) -> None:
        """Replace each by its mean over the processes, in place and in one exchange."""
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
        """Batch statistics and the like: what each process gathered on its own shares."""
        self.average([buffer for buffer in network.buffers() if buffer.is_floating_point()])


def device_of(device: str) -> str:
    """The device of this process: `cuda` stands for one of its own where there are several."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device


@contextmanager
def gathered(device: str) -> Iterator[Workers]:
    """The processes that `torchrun` started with this one; alone where it did not."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield Workers.here()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Workers.here()
    finally:
        dist.destroy_process_group()
