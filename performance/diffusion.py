"""What the gradient of a purifier by diffusion takes: memory and time, where steps are kept and where computed again.

python performance/diffusion.py                       # 32 images of 32x32, 10 denoising steps, width 32
python performance/diffusion.py --images 128 --steps 4 --width 16

The network is untrained, because weights change neither memory nor time. Each way is measured in a fresh process, on
one thread: the rise of the peak (`VmHWM`) over what the network and a forward alone took, and the CPU seconds of one
gradient of the images. Both processes draw the same numbers, so their gradients must be equal to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from bench.defenses import diffpure
from bench.defenses.networks.denoiser import Diffusion
from bench.types import ImageSpec

SPEC = ImageSpec((3, 32, 32), 10)
LEVEL = 0.1  # of DiffPure for CIFAR-10 (arXiv:2205.07460)
MIB = 2**20
WAYS = {"kept": False, "computed again": True}


def measure(images: int, steps: int, width: int, checkpointed: bool) -> dict[str, float | str]:
    """Take one gradient through the whole process, and say what it cost."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    denoiser, schedule = diffpure.build(diffpure.architecture(SPEC, width), SPEC)
    denoiser.eval().requires_grad_(False)
    purifier = Diffusion(denoiser, schedule, t=LEVEL, steps=steps, checkpointed=checkpointed)
    x = torch.rand(images, *SPEC.shape).requires_grad_()
    with torch.no_grad():
        purifier(x)
    before, began = peak(), time.process_time()
    torch.manual_seed(1)
    (gradient,) = torch.autograd.grad(purifier(x).square().sum(), x)
    seconds = time.process_time() - began
    told = hashlib.sha256(gradient.numpy().tobytes()).hexdigest()
    return {"rise": (peak() - before) / MIB, "peak": peak() / MIB, "seconds": seconds, "gradient": told}


def peak() -> int:
    """Return the most bytes that this process has held so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def main() -> int:
    """Measure both ways, each in a process of its own, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--way", choices=WAYS, help="measure this one here, and print JSON")
    options = parser.parse_args()
    asked = (options.images, options.steps, options.width)
    if options.way:
        print(json.dumps(measure(*asked, WAYS[options.way])))
        return 0
    print("{} images of 32x32, {} denoising steps, width {}".format(*asked))
    found = {}
    for way in WAYS:
        sizes = [f"--{name}={value}" for name, value in zip(("images", "steps", "width"), asked, strict=True)]
        command = [sys.executable, __file__, *sizes, "--way", way]
        answered = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  (this file)
        found[way] = json.loads(answered.stdout)
        row = found[way]
        print(
            f"steps {way:14}  rise {row['rise']:7.0f} MiB  peak {row['peak']:7.0f} MiB  {row['seconds']:6.1f} s of CPU"
        )
    same = len({row["gradient"] for row in found.values()}) == 1
    print(f"the gradients are {'equal to the bit' if same else 'NOT EQUAL'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
