"""The families of threat models: what eps measures in each, and how large it usually is.

Data only; importing this module imports nothing. The Lp norms measure a distance between images in
[0, 1]. Every other family bounds the variables its examples are rendered from, in a unit of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LP_FAMILIES = ("Linf", "L2", "L1")


@dataclass(frozen=True)
class Family:
    """A family of threat models.

    Attributes:
        name: as in `FAMILY:EPS`.
        unit: what eps measures.
        eps: its usual size for 8 x 8 digits, images of up to 64 pixels, and larger ones.
        colors: defined for color images only.
        smallest: the shorter side of the smallest image it is defined for.
    """

    name: str
    unit: str
    eps: tuple[str, str, str]
    colors: bool = False
    smallest: int = 1

    def refuses(self, shape: tuple[int, int, int]) -> str | None:
        """Why it is not defined for images `(C, H, W)`; `None` where it is."""
        if self.colors and shape[0] != 3:
            return f"{self.name} changes colors, and these images are gray"
        if min(shape[1:]) < self.smallest:
            return f"{self.name} needs images of {self.smallest} pixels a side, these have {min(shape[1:])}"
        return None

    def usual(self, shape: tuple[int, int, int]) -> str:
        """The usual eps for images `(C, H, W)`."""
        side = min(shape[1:])
        return self.eps[0 if side <= 16 else 1 if side <= 64 else 2]


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("Linf", "largest change of a value", ("0.2", "8/255", "4/255")),
        Family("L2", "root of the summed squared changes", ("1", "0.5", "3")),
        Family("L1", "sum of the absolute changes", ("5", "12", "255")),
        Family("stadv", "pixels a pixel is moved by, along either axis", ("0.4", "0.8", "5.6")),
        Family("elastic", "pixels, before smoothing, a pixel is moved by, along either axis", ("0.35", "0.25", "2")),
        Family("affine", "change of an entry of the 2 x 3 matrix on [-1, 1]", ("0.2", "0.2", "0.1")),
        Family("perspective", "change of an entry of the 3 x 3 matrix on [-1, 1]", ("0.15", "0.15", "0.1")),
        Family("recolor", "shift of a color in CIELUV, axes scaled to [0, 1]", ("0.06", "0.06", "0.06"), colors=True),
        Family("hue", "turn of the color wheel, in radians", ("0.5", "0.5", "0.5"), colors=True),
        Family("saturation", "change of the factor on saturation", ("0.5", "0.5", "0.5"), colors=True),
        Family("brightness", "summand to every value", ("0.35", "0.3", "0.3")),
        Family("contrast", "change of the factor on the distance from the mean gray", ("0.9", "0.5", "0.5")),
        Family("jpeg-linf", "half quantization steps a DCT coefficient changes by", ("1.25", "0.125", "0.125")),
        Family("jpeg-l2", "L2 change of the DCT coefficients, in half quantization steps", ("6", "2", "16")),
        Family("jpeg-l1", "L1 change of the DCT coefficients, in half quantization steps", ("16", "16", "1024")),
        Family("fog", "weight of the fog, where the image has 1", ("0.4", "0.3", "0.5"), smallest=8),
        Family("snow", "weight of a flake, 1 being white", ("0.2", "0.03", "0.0625"), smallest=8),
        Family("gabor", "largest change of a value by the Gabor noise", ("0.35", "0.1", "0.1"), smallest=8),
        Family("pixel", "L2 norm of the weights of the blocks, each in [0, 1]", ("2", "5", "5"), smallest=8),
        Family("wood", "warp of the rings, in halves of a side of the image", ("0.1", "0.05", "0.05"), smallest=8),
        Family("glitch", "shift of the lines, in halves of the image's width", ("0.25", "0.1", "0.05"), smallest=8),
        Family("kaleidoscope", "change of the colors of shapes and outlines", ("0.1", "0.1", "0.1"), smallest=8),
        Family("lpips", "L2 distance of the normalized activations of a network", ("0.8", "0.5", "0.5")),
        Family("corruption", "severity of a common corruption, 1 to 5; no adversary", ("3", "3", "3")),
    )
}  # fmt: skip
