"""A toy defense of a file, and a run of it on a handful of digits."""

import re

from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
from bench.harness import matrix
from bench.harness.executors.local import Local
from bench.harness.executors.processes import Processes
from bench.harness.run import run
from bench.results.store import Store
from bench.threats import ThreatModel

DEFENSE = """
import os, torch
from torch import nn

class Pixels(nn.Module):
    '''Ten fixed templates: not good, but something to attack; noisy, so that shards matter.'''
    def __init__(self, noise):
        super().__init__()
        self.noise = noise
        self.weight = nn.Parameter(torch.randn(64, 10, generator=torch.Generator().manual_seed(0)))
    def forward(self, x):
        return (x + self.noise * torch.randn_like(x)).flatten(1) @ self.weight

def build():
    return Pixels(0.0)

def noisy():
    return Pixels(0.2)

class Fatal(Pixels):
    def forward(self, x):
        if len(x) > 8:
            os._exit(9)
        return super().forward(x)

def fatal():
    return Fatal(0.0)

class Raising(Pixels):
    def forward(self, x):
        if len(x) > 8:
            raise ValueError("cannot\\nwork")
        return super().forward(x)

def raising():
    return Raising(0.0)
"""


class Quiet:
    def __init__(self):
        self.ended = []
        self.passed = 0

    def begin(self, cells, stored, beside=()):
        self.cells, self.stored = list(cells), stored

    def advance(self, cell, passed):
        self.passed += passed

    def end(self, cell, outcome):
        self.ended.append((cell.title, outcome))


def fill(root, executor, *defenses, n=40, batch=16, attacks="fgsm,pgd-20[steps=3]"):
    examples = digits("test").first(n)
    request = Selection.of(",".join(map(str, defenses)), attacks, (ThreatModel.parse("Linf:0.1"),))
    plan, store, watcher = matrix.build(request, examples, batch=batch), Store(root), Quiet()
    return run(plan, examples, store, executor, watcher), watcher, plan, store


def documents(root):
    return {
        path.relative_to(root): [line for line in path.read_text().splitlines() if not re.search("seconds|seal", line)]
        for path in sorted(root.rglob("*.json"))
        if path.parent.name != "runs"  # named for the time
    }


LOCAL = Local()
PROCESSES = Processes(2)
