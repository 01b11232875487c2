"""The datasets by name, as data: listing them imports nothing."""

from __future__ import annotations

from collections.abc import Mapping

# A folder of class folders follows this.
FOLDER_PREFIX = "imagefolder:"

# What `load` understands, and what it is; `PATH` stands for a folder.
SUMMARIES: Mapping[str, str] = {
    "digits": "8x8 gray handwritten digits, 10 classes; needs no files",
    "cifar10": "32x32 photographs, 10 classes",
    "cifar100": "32x32 photographs, 100 classes",
    "imagenette-160": "photographs at 160x160, 10 classes of ImageNet",
    "imagenette-320": "photographs at 256x256, 10 classes of ImageNet",
    f"{FOLDER_PREFIX}PATH": "a folder per class, with train/ and test/ above them or without",
    f"{FOLDER_PREFIX}PATH[resize=256,crop=224]": "the same, shorter side resized, center cropped",
}


def known() -> tuple[str, ...]:
    """The names `load` understands, without their parameters."""
    return tuple(name for name in SUMMARIES if "[" not in name)
