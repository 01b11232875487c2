"""Accuracies of networks that were trained against the very attack that they are asked about, by their authors.

Both sets are of CIFAR-10: ATA of Kang et al. (arXiv:1908.08016) and acc* of Dai et al. (arXiv:2302.10980).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from bench.threats import ThreatModel

# Both are calibrated on networks for these images only.
CALIBRATED_ON = "cifar10"


def _sizes(family: str, sizes: Sequence[Fraction | int | float | str], values: str) -> dict[ThreatModel, float]:
    percent = [float(value) / 100 for value in values.split()]
    return {ThreatModel(family, Fraction(str(size))): value for size, value in zip(sizes, percent, strict=True)}


def _of_255(*sizes: int) -> list[str]:
    return [f"{size}/255" for size in sizes]


# Calibrated sizes and ATA in percent on CIFAR-10, from the README of ddkang/advex-uar; its Lp sizes are in 1/255.
ATA: Mapping[str, Mapping[ThreatModel, float]] = {
    "Linf": _sizes("Linf", _of_255(1, 2, 4, 8, 16, 32), "91.0 87.8 81.6 71.3 46.5 23.1"),
    "L2": _sizes("L2", _of_255(40, 80, 160, 320, 640, 2560), "90.1 86.4 79.6 67.3 49.9 17.3"),
    "L1": _sizes("L1", _of_255(195, 390, 780, 1560, 6240, 24960), "92.2 90.0 83.2 73.8 47.4 35.3"),
    "jpeg-linf": _sizes("jpeg-linf", ["1/32", "1/16", "1/8", "1/4", "1/2", 1], "89.7 87.0 83.1 78.6 69.7 35.4"),
    "jpeg-l1": _sizes("jpeg-l1", [2, 8, 64, 256, 512, 1024], "91.4 88.1 80.2 68.9 56.3 37.7"),
    "elastic": _sizes("elastic", ["1/8", "1/4", "1/2", 1, 2, 8], "87.4 81.3 72.1 58.2 45.4 27.8"),
}


def _steps(family: str, step: str, values: str) -> dict[ThreatModel, float]:
    """Return acc* at the twenty multiples of a step."""
    return _sizes(family, [Fraction(step) * at for at in range(1, 21)], values)


# acc* in percent on CIFAR-10, from `metrics.py` of multirobustbench/multirobustbench. Its bound of StAdv is a share of
# half the image's side, 16 pixels.
CLEAN_STAR = 0.9420
STAR: Mapping[ThreatModel, float] = {
    **_steps(
        "Linf",
        "1/200",
        "82.99 73.33 65.15 57.51 50.98 44.69 40.27 35.60 31.82 28.91 25.62 22.36 20.26 18.11 15.12 13.87 11.83 10.29 "
        "9.40 8.79",
    ),
    **_steps(
        "L2",
        "1/8",
        "85.70 78.20 71.93 65.33 59.95 54.84 50.31 45.99 42.22 38.97 35.94 33.25 30.63 28.60 25.88 24.56 22.44 20.81 "
        "19.39 17.36",
    ),
    **_steps(
        "L1",
        "3/2",
        "82.80 76.73 71.68 66.86 62.79 58.31 54.83 52.34 49.53 47.65 43.89 42.25 40.36 36.95 33.33 32.17 29.68 27.57 "
        "25.54 24.94",
    ),
    **_steps(
        "elastic",
        "1/20",
        "85.09 78.18 72.29 67.62 63.12 59.29 56.27 53.39 50.84 48.94 46.87 44.92 43.24 41.55 40.47 38.98 38.03 36.83 "
        "35.97 35.22",
    ),
    **_steps(
        "jpeg-l1",
        "1",
        "90.67 88.95 87.60 86.81 85.84 85.13 84.24 83.87 83.05 82.48 81.91 81.57 80.70 80.29 79.80 79.45 79.07 78.64 "
        "78.07 77.91",
    ),
    **_steps(
        "jpeg-linf",
        "1/100",
        "90.03 87.31 86.25 84.57 83.21 81.91 80.87 79.75 78.57 77.54 76.75 75.80 74.97 74.05 73.30 72.49 71.70 71.11 "
        "70.17 69.78",
    ),
    **_steps(
        "recolor",
        "1/200",
        "92.09 89.53 87.31 85.22 83.25 80.69 78.88 76.61 74.69 72.65 71.21 69.09 67.41 65.45 64.32 63.20 61.73 60.56 "
        "59.50 58.70",
    ),
    **_steps(
        "stadv",
        "2/25",
        "87.54 82.40 77.78 73.67 70.02 66.75 64.11 61.50 59.29 57.40 55.38 53.53 52.16 50.77 49.81 48.87 48.08 47.61 "
        "46.85 46.12",
    ),
    **_steps(
        "lpips",
        "1/40",
        "92.89 90.21 87.59 83.21 77.33 71.11 64.73 58.57 51.38 45.49 39.20 34.61 30.84 26.57 23.93 20.94 21.16 20.10 "
        "19.84 18.41",
    ),
}
