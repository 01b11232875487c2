"""Defenses in a file: one is broken, one changes in use."""

from __future__ import annotations

# Logits of the shipped network for images in [0, 255], as probabilities, and with a memory.
BROKEN = """
    import torch
    from torch import nn
    from bench.harness.task import load_defense
    from bench.catalogue.request import Request
    from bench.catalogue.resolve import defense
    from bench.types import ImageSpec

    class Around(nn.Module):
        def __init__(self, change):
            super().__init__()
            self.inner = load_defense(defense(Request("at", {}), "digits", None), ImageSpec((1, 8, 8), 10)).model
            self.change, self.calls = change, 0

        def forward(self, x):
            self.calls += 1
            return self.change(self.inner, x, self.calls)

    def bytes_wanted():
        return Around(lambda inner, x, calls: inner(x / 255))

    def probabilities():
        return Around(lambda inner, x, calls: inner(x).softmax(1))

    def tired():
        return Around(lambda inner, x, calls: inner(x) if calls < 1000 else inner(x).roll(1, 1))
"""
