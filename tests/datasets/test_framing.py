"""Resizing and cropping: the pixels, the name, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.datasets.framing import PLAIN, Framing, split
from bench.datasets.load import load
from bench.datasets.threats import HEADLINE, threat
from bench.errors import BenchError

SIZES = [(40, 30), (30, 40), (37, 53), (64, 64), (24, 24), (200, 24)]


def photograph(size: tuple[int, int], seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Two classes of six photographs in as many sizes, in `train/` and `test/`."""
    for part in ("train", "test"):
        for kind in ("cat", "dog"):
            folder = tmp_path / "pets" / part / kind
            folder.mkdir(parents=True)
            for index, size in enumerate(SIZES):
                photograph(size, index).save(folder / f"{part}_{index}.png")
    return tmp_path / "pets"


@pytest.mark.slow
@pytest.mark.parametrize("framing", [Framing(24, 24), Framing(32, 24), Framing(31, 20), Framing(48, 47), Framing(24)])
@pytest.mark.parametrize("size", SIZES)
def test_the_pixels_are_those_of_torchvision(framing: Framing, size: tuple[int, int]) -> None:
    """`Resize` and `CenterCrop` on PIL images, as every evaluation on ImageNet has them."""
    from bench import _compat

    _compat.torchvision()
    from torchvision import transforms

    image = photograph(size)
    steps = [transforms.Resize(framing.resize)] + ([transforms.CenterCrop(framing.crop)] if framing.crop else [])

    ours = framing.apply(image)

    np.testing.assert_array_equal(np.asarray(ours), np.asarray(transforms.Compose(steps)(image)))
    assert ours.size == framing.size(size, Path("a.png"))


def test_the_pixels_are_the_same_everywhere() -> None:
    """Means of the four quarters of a resized ramp: bilinear with antialiasing, whatever the platform."""
    ramp = Image.fromarray(np.add.outer(np.arange(40), 3 * np.arange(60)).astype(np.uint8))

    pixels = np.asarray(Framing(8, 8).apply(ramp)).astype(int)

    assert pixels[0].tolist() == [38, 53, 68, 83, 98, 113, 128, 143]
    assert pixels[:, 0].tolist() == [38, 43, 48, 53, 58, 63, 68, 73]


def test_images_of_several_sizes_become_one_size(uneven: Path) -> None:
    """Sides of 24 to 200 pixels, cropped to 16."""
    examples = load(f"imagefolder:{uneven}[resize=24,crop=16]", "test")

    assert examples.x.shape == (12, 3, 16, 16)
    row = list(examples.ids).index("cat/test_0")
    expected = np.asarray(Framing(24, 16).apply(photograph(SIZES[0]))).transpose(2, 0, 1)
    np.testing.assert_array_equal(examples.x[row], expected.astype(np.float32) / np.float32(255))


def test_two_crops_are_two_datasets(uneven: Path) -> None:
    """Other pixels, another digest, another name; the same images in the same order."""
    one, other = (load(f"imagefolder:{uneven}[resize=24,crop={side}]", "test") for side in (16, 20))

    assert (one.dataset, other.dataset) == ("imagefolder-pets-resize24-crop16", "imagefolder-pets-resize24-crop20")
    assert one.digest != other.digest
    assert list(one.ids) == list(other.ids)


@pytest.mark.parametrize(
    ("brackets", "message"),
    [
        ("", r"test_1.png is 30x40 where .*test_0.png is 40x30: make them one size, as with .*resize=30,crop=30"),
        ("[resize=24]", r"test_1.png is 30x40 where .*test_0.png is 40x30: make them .*\[resize=24,crop=24\]'$"),
        ("[crop=25]", r"test_4.png is 24x24, smaller than crop=25: add resize=25 or more$"),
        ("[crop=224,resize=112]", "crop=224 is larger than resize=112: give resize=224 or more"),
        ("[crop=0]", "crop=0 is out of range: give 1 to 4096 pixels"),
        ("[resize=25600]", "resize=25600 is out of range"),
        ("[resize=-8]", "'resize=-8' of dataset .*: give pixels, as in resize=256"),
        ("[resize=24x24]", "'resize=24x24' of dataset .*: give pixels"),
        ("[resize=" + "9" * 5000 + "]", "give pixels"),
        ("[crop=8,]", "unknown parameter .* '': known are crop, resize"),
        ("[crop=8,crop=9]", "'crop' of dataset .* is given twice"),
        ("[size=24]", "'size': did you mean resize"),
    ],
)
def test_what_makes_no_sense_is_one_line_with_its_remedy(uneven: Path, brackets: str, message: str) -> None:
    """Images of differing sizes, crops that do not fit, parameters nobody knows."""
    with pytest.raises(BenchError, match=message) as caught:
        load(f"imagefolder:{uneven}{brackets}", "test")

    assert "\n" not in str(caught.value)


def test_brackets_of_a_folder_are_no_parameters(tmp_path: Path, write: Any) -> None:
    """`pets[old]` and even `pets[resize=2]` may be the name of a folder."""
    for name in ("pets[old]", "pets[resize=2]"):
        write(tmp_path / name / "test")
        assert load(f"imagefolder:{tmp_path / name}", "test").spec.shape == (3, 8, 8)

    cropped = load(f"imagefolder:{tmp_path / 'pets[resize=2]'}[crop=4]", "test")

    assert cropped.spec.shape == (3, 4, 4)
    assert split("imagenette-160") == ("imagenette-160", PLAIN)


def test_threats_follow_the_size_that_is_attacked(uneven: Path) -> None:
    """Not that of the files."""
    found = [str(threat(family, f"imagefolder:{uneven}[resize=256,crop=224]")) for family in HEADLINE]

    assert found == ["Linf:4/255", "L2:3.5", "stadv:5.6"]


def test_a_palette_is_resized_by_its_colors(tmp_path: Path) -> None:
    """An average of two positions in a palette is no color."""
    for name, mode in (("a", "RGB"), ("b", "P")):
        for kind in ("cat", "dog"):
            folder = tmp_path / name / "test" / kind
            folder.mkdir(parents=True)
            image = Image.new("RGB", (8, 8), (200, 10, 30))
            image.paste((0, 250, 90), (0, 0, 3, 8))
            image.convert(mode, palette=Image.Palette.ADAPTIVE).save(folder / "1.png")

    flat, palette = (load(f"imagefolder:{tmp_path / name}[resize=4]", "test") for name in ("a", "b"))

    assert flat.digest == palette.digest


def test_gray_images_stay_gray(tmp_path: Path) -> None:
    """One channel, resized and cropped like any other."""
    for kind in ("cat", "dog"):
        (tmp_path / "test" / kind).mkdir(parents=True)
        photograph((20, 30)).convert("L").save(tmp_path / "test" / kind / "1.png")

    examples = load(f"imagefolder:{tmp_path}[resize=10,crop=8]", "test")

    assert examples.x.shape == (2, 1, 8, 8)
