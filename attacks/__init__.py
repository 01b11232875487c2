"""Attacks: one method per file; each proposes adversarial examples and never judges them.

`from bench.attacks import PGD` takes a method by its name; `PGD(steps=20)(model, x, y, "Linf:8/255")` attacks a model.
"""

from __future__ import annotations

import importlib
from typing import Any

# Run from the repository's root, `import attacks` would load a second copy whose classes differ from bench.attacks.
if __name__ != "bench.attacks":
    raise ImportError("this folder is the package 'bench.attacks': pip install -e . and import that")

_HOME = {
    "APGD": "lp.apgd",
    "APGDTargeted": "lp.apgd",
    "Affine": "unforeseen.affine",
    "BPDA": "purifiers.bpda",
    "Brightness": "unforeseen.brightness",
    "CW": "minimum_norm.cw",
    "Contrast": "unforeseen.contrast",
    "DDN": "minimum_norm.ddn",
    "Elastic": "unforeseen.elastic",
    "FAB": "minimum_norm.fab",
    "FABTargeted": "minimum_norm.fab",
    "FGSM": "lp.fgsm",
    "FMN": "minimum_norm.fmn",
    "Fog": "unforeseen.fog",
    "Gabor": "unforeseen.gabor",
    "Glitch": "unforeseen.glitch",
    "Hue": "unforeseen.hue",
    "JPEGL1": "unforeseen.jpeg",
    "JPEGL2": "unforeseen.jpeg",
    "JPEGLinf": "unforeseen.jpeg",
    "Kaleidoscope": "unforeseen.kaleidoscope",
    "LPA": "perceptual.lpa",
    "MALT": "lp.malt",
    "PGD": "lp.pgd",
    "PPGD": "perceptual.ppgd",
    "Perspective": "unforeseen.perspective",
    "Pixel": "unforeseen.pixel",
    "RayS": "decision.rays",
    "ReColor": "unforeseen.recolor",
    "Saturation": "unforeseen.saturation",
    "Snow": "unforeseen.snow",
    "Square": "lp.square",
    "StAdv": "unforeseen.stadv",
    "Transfer": "purifiers.transfer",
    "TransferFrom": "purifiers.transfer",
    "Uniform": "lp.noise",
    "Wood": "unforeseen.wood",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (a class)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
