"""Float32 as it says: on a GPU torch rounds what convolutions take to TF32, a mantissa of ten bits, unless told not to.

A verdict near the boundary would then depend on the machine, and a success that is confirmed "in float32" would be
confirmed in something near it. cuDNN may also add in another order each time; the store refuses other bytes under
the same key, so it is asked for algorithms that do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 in float32 inside, in the same order each time; on a CPU nothing changes."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32, convolutions.deterministic
    convolutions.allow_tf32 = products.allow_tf32 = False
    convolutions.deterministic = True
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32, convolutions.deterministic = before
