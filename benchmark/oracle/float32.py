"""Float32 arithmetic without TF32 and in a fixed order.

By default torch rounds the inputs of convolutions on a GPU to TF32, whose mantissa has ten bits. A verdict near the
boundary would then depend on the machine, and a success confirmed "in float32" would be confirmed in less. cuDNN may
also add in another order each time; the store refuses other bytes under the same key, so we ask for deterministic
algorithms.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 in float32 inside, in the same order each time; on a CPU nothing changes."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    # The caller's settings come back afterwards: they belong to the user's process.
    before = convolutions.allow_tf32, products.allow_tf32, convolutions.deterministic
    convolutions.allow_tf32 = products.allow_tf32 = False
    convolutions.deterministic = True
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32, convolutions.deterministic = before
