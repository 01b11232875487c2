"""The names of the datasets, as data: listing them imports nothing."""

from __future__ import annotations

from collections.abc import Mapping

# Followed by the path of a folder of class folders.
FOLDER_PREFIX = "imagefolder:"

# The names that `load` understands, with a summary of each; `PATH` stands for a folder.
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
    """Return the names that `load` understands, without their parameters."""
    return tuple(name for name in SUMMARIES if "[" not in name)


# What images are called that somebody hands over, of no dataset that has a name.
OWN = "own"
