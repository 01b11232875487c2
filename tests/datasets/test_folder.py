from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.datasets.load import folder_slug, load, order_of_classes
from bench.errors import BenchError

ALL = ("train", "validation", "test")


def everything(root: Path) -> list[Any]:
    return [load(f"imagefolder:{root}", split) for split in ALL]


@pytest.fixture
def split_root(tmp_path: Path, write: Any) -> Path:
    """`train/` and `test/`, ten and five images of each of two classes."""
    write(tmp_path / "pets" / "train")
    write(tmp_path / "pets" / "test", count=5)
    return tmp_path / "pets"


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_pixels_labels_and_ids_are_those_on_disk(tmp_path: Path, write: Any, pixels: Any, suffix: str) -> None:
    """Each example is the file its id names, divided by 255, under the alphabetical label."""
    write(tmp_path / "test", ("cat", "Zebra", "ant"), 4, suffix=suffix)
    write(tmp_path / "train", ("cat", "Zebra", "ant"), 4, suffix=suffix)

    examples = load(f"imagefolder:{tmp_path}", "test")

    assert examples.spec.shape == (3, 8, 8)
    assert examples.spec.classes == 3
    for name, x, label in zip(examples.ids, examples.x, examples.y, strict=True):
        kind, _, file = name.partition("/")
        assert ["Zebra", "ant", "cat"][label] == kind
        expected = pixels(kind, int(file[-3:])).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(x, expected)


def test_png_and_webp_of_the_same_images_are_the_same_examples(tmp_path: Path, write: Any) -> None:
    """The digest tells pixels, labels and names, not the file format."""
    for suffix in ("png", "webp"):
        write(tmp_path / suffix / "train", suffix=suffix)
        write(tmp_path / suffix / "test", suffix=suffix)

    digests = {load(f"imagefolder:{tmp_path / suffix}", "test").digest for suffix in ("png", "webp")}

    assert len(digests) == 1


def test_a_smaller_n_is_a_prefix_of_a_larger_one(tmp_path: Path, write: Any) -> None:
    """The first 7 examples are the first 7 of any 20, and their classes are balanced."""
    write(tmp_path / "train", ("a", "b", "c"), 10)
    write(tmp_path / "test", ("a", "b", "c"), 10)

    few, many = (load(f"imagefolder:{tmp_path}", "test", n=n) for n in (7, 20))

    assert list(few.ids) == list(many.ids[:7])
    assert few.digest == many.first(7).digest
    assert np.bincount(few.y).tolist() in ([3, 2, 2], [2, 3, 2], [2, 2, 3])


def test_only_the_images_asked_for_are_opened(split_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of twenty images cost three files and one header."""
    opened: list[str] = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda path, *rest: (opened.append(str(path)), real(path, *rest))[1])

    load(f"imagefolder:{split_root}", "train", n=3)

    assert len(opened) == 4


def test_one_changed_pixel_changes_the_digest(split_root: Path) -> None:
    """Whoever edits an image gets another dataset, as far as results are concerned."""
    before = load(f"imagefolder:{split_root}", "test").digest
    file = split_root / "test" / "dog" / "dog_003.png"
    with Image.open(file) as image:
        changed = np.array(image)
    changed[4, 5, 1] ^= 1
    Image.fromarray(changed).save(file)

    after = load(f"imagefolder:{split_root}", "test").digest

    assert after != before


def test_val_is_validation_beside_test_and_the_test_set_without_it(tmp_path: Path, write: Any) -> None:
    """`val/` beside `test/` is validation; in the layout of ImageNet, `train/` and `val/`, it is the test set."""
    write(tmp_path / "train", count=10)
    write(tmp_path / "val", count=3)
    imagenet = [len(examples) for examples in everything(tmp_path)]
    write(tmp_path / "test", count=4)

    three = [len(examples) for examples in everything(tmp_path)]

    assert imagenet == [18, 2, 6]
    assert three == [20, 6, 8]


def test_names_with_spaces_and_any_letters_are_read(tmp_path: Path, write: Any) -> None:
    """Spaces, umlauts, Chinese and emoji in folders and files are no obstacle."""
    root = write(tmp_path / "meine Bilder 图" / "train", ("Käse & Brot", "狗 🐕"), 5)
    write(root.parent / "test", ("Käse & Brot", "狗 🐕"), 5)

    examples = load(f"imagefolder:{root.parent}", "test")

    assert len(examples) == 10
    assert "狗 🐕/狗 🐕_003" in examples.ids


def test_composed_and_decomposed_letters_are_one_id(tmp_path: Path, write: Any) -> None:
    """A folder copied from macOS gives the examples it gives on Linux."""
    for place, name in (("linux", "k\u00e4se"), ("mac", "ka\u0308se")):
        write(tmp_path / place / "test", ("brot",), 2)
        write(tmp_path / "src" / place, ("x",), 2)
        (tmp_path / "src" / place / "x").rename(tmp_path / place / "test" / name)

    one, other = (load(f"imagefolder:{tmp_path / place}", "test") for place in ("linux", "mac"))

    assert one.digest == other.digest


def test_hidden_files_and_files_that_are_no_images_are_passed_over(split_root: Path) -> None:
    """What file managers and notebooks leave behind is neither an image nor a class."""
    before = load(f"imagefolder:{split_root}", "test").digest
    (split_root / "test" / ".ipynb_checkpoints").mkdir()
    (split_root / "test" / "cat" / "._cat_001.png").write_bytes(b"x")
    (split_root / "test" / "cat" / "Thumbs.db").write_bytes(b"x")
    (split_root / "test" / "README.md").write_text("pets")

    after = load(f"imagefolder:{split_root}", "test").digest

    assert after == before


def gray(folder: Path) -> None:
    for file in folder.glob("*/*/*.png"):
        with Image.open(file) as image:
            shades = image.convert("L")
        shades.save(file)


def test_a_gray_folder_has_one_channel(split_root: Path) -> None:
    """Gray images stay gray: 8x8 with one channel."""
    gray(split_root)

    examples = load(f"imagefolder:{split_root}", "test")

    assert examples.spec.shape == (1, 8, 8)


def test_a_gray_image_among_colored_ones_gets_three_equal_channels(split_root: Path) -> None:
    """As in ImageNet, where some photographs are gray."""
    file = split_root / "test" / "dog" / "dog_004.png"
    with Image.open(file) as image:
        shades = image.convert("L")
    shades.save(file)

    examples = load(f"imagefolder:{split_root}", "test")

    x = examples.x[list(examples.ids).index("dog/dog_004")]
    np.testing.assert_array_equal(x, np.repeat(np.asarray(shades, np.float32)[None] / np.float32(255), 3, axis=0))


def recode(mode: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        with Image.open(file) as image:
            changed = image.convert(mode, palette=Image.Palette.ADAPTIVE)
        changed.save(file)

    return change


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_an_opaque_alpha_channel_and_a_palette_change_nothing(split_root: Path, mode: str) -> None:
    """Only how the pixels are stored differs, so the examples are the same."""
    file = split_root / "test" / "dog" / "dog_004.png"
    flat = Image.new("RGB", (8, 8), (200, 10, 30))
    flat.save(file)
    before = load(f"imagefolder:{split_root}", "test").digest
    recode(mode)(file)
    with Image.open(file) as image:
        assert image.mode == mode

    after = load(f"imagefolder:{split_root}", "test").digest

    assert after == before


def see_through(file: Path) -> None:
    Image.new("RGBA", (8, 8), (1, 2, 3, 128)).save(file)


def sixteen_bits(file: Path) -> None:
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(file)


def larger(file: Path) -> None:
    Image.new("RGB", (9, 8)).save(file)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


FAULTS = [
    pytest.param(see_through, "is partly transparent: flatten it onto a background", id="transparent"),
    pytest.param(sixteen_bits, "has mode I;16, not 8 bits per channel: convert it", id="16-bit"),
    pytest.param(
        larger, r"is 9x8 where .*cat_000.png is 8x8: make them one size, as with .*resize=8,crop=8", id="size"
    ),
    pytest.param(truncated, r"cannot be read \(.+\): replace or remove it", id="truncated"),
    pytest.param(lambda file: file.write_text("<html>"), r"cannot be read \(not an image\)", id="html"),
    pytest.param(lambda file: file.write_bytes(b""), r"cannot be read \(0 bytes\)", id="empty"),
]


@pytest.mark.parametrize(("harm", "message"), FAULTS)
def test_a_bad_image_is_named_with_its_remedy(split_root: Path, harm: Callable[[Path], None], message: str) -> None:
    """One line: the file, what is wrong with it, what to do."""
    file = split_root / "test" / "dog" / "dog_004.png"
    harm(file)

    with pytest.raises(BenchError, match=message) as caught:
        load(f"imagefolder:{split_root}", "test")

    assert str(caught.value).startswith(f"image {file} ")
    assert "\n" not in str(caught.value)


def test_color_in_a_gray_folder_is_refused(split_root: Path) -> None:
    """Color is never dropped in silence."""
    gray(split_root)
    file = split_root / "test" / "dog" / "dog_004.png"
    Image.new("RGB", (8, 8), (200, 10, 30)).save(file)

    with pytest.raises(BenchError, match=f"^image {file} is in color where .*cat_000.png is gray: convert one"):
        load(f"imagefolder:{split_root}", "test")


def no_classes(root: Path, write: Any) -> None:
    root.mkdir()


def one_class(root: Path, write: Any) -> None:
    write(root, ("cat",))


def empty_class(root: Path, write: Any) -> None:
    write(root)
    (root / "emu").mkdir()


def twins(root: Path, write: Any) -> None:
    write(root)
    (root / "cat" / "cat_001.webp").write_bytes((root / "cat" / "cat_001.png").read_bytes())


def control_character(root: Path, write: Any) -> None:
    write(root)
    (root / "cat" / "cat_001.png").rename(root / "cat" / "a\nb.png")


def not_utf8(root: Path, write: Any) -> None:
    write(root)
    (root / "cat" / "cat_001.png").rename(root / "cat" / "\udcff.png")


def other_classes(root: Path, write: Any) -> None:
    write(root / "train")
    write(root / "test", ("cat", "emu"))


def no_test(root: Path, write: Any) -> None:
    write(root / "train")


LAYOUTS = [
    (no_classes, "holds no class folders: put the images of each class into a folder of its own"),
    (one_class, "holds one class only, 'cat': a classifier needs two or more"),
    (empty_class, r"class folder .*emu holds no image \(bmp, .*webp\): add some or remove the folder"),
    (twins, "cat_001.png and .*cat_001.webp differ by suffix only: rename or remove one of them"),
    (control_character, r"a\\nb.png' holds control characters or is not UTF-8: rename it"),
    (not_utf8, r"udcff.png' holds control characters or is not UTF-8: rename it"),
    (other_classes, "class 'dog' is not in both .*train and .*test: give every split the same classes"),
    (no_test, "has no test/ folder beside train/: add one, or choose another split"),
]


@pytest.mark.parametrize(("build", "message"), LAYOUTS, ids=[build.__name__ for build, _ in LAYOUTS])
def test_a_folder_of_another_shape_is_refused(tmp_path: Path, write: Any, build: Any, message: str) -> None:
    """One line: the folder or the class, and what to do."""
    build(tmp_path / "pets", write)

    with pytest.raises(BenchError, match=message) as caught:
        load(f"imagefolder:{tmp_path / 'pets'}", "test")

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n", [0, 11])
def test_an_n_that_is_not_there_is_refused_before_anything_is_decoded(
    split_root: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    """The range is said at once."""
    monkeypatch.setattr(Image, "open", None)

    with pytest.raises(BenchError, match=f"^n={n} is out of range: imagefolder-pets test holds 1 to 10 images$"):
        load(f"imagefolder:{split_root}", "test", n=n)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("pets", "imagefolder-pets"),
        ("my pets (2024)", "imagefolder-my-pets-2024"),
        ("..pets", "imagefolder-pets"),
        ("a" * 200, "imagefolder-" + "a" * 48),
        ("图", "imagefolder-8013578e"),
    ],
)
def test_the_name_of_a_folder_is_safe_in_a_path(tmp_path: Path, name: str, slug: str) -> None:
    """Whatever the folder is called, its results lie under a plain name."""
    assert folder_slug(tmp_path / name) == slug


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (("1", "2", "10"), ("'10' before '2'", "'02' in place of '2'")),
        (("5", "50", "6", "900"), ("'50' before '6'", "'006' in place of '6'")),
        (("class9", "class10"), ("'class10' before 'class9'", "'class09' in place of 'class9'")),
        (("2-dog", "11-cat"), ("'11-cat' before '2-dog'", "'02-dog' in place of '2-dog'")),
    ],
)
def test_numbers_that_text_sorts_otherwise_are_told_with_the_way_to_the_other_order(
    tmp_path: Path, write: Any, classes: tuple[str, ...], told: tuple[str, str]
) -> None:
    """The order that is taken, and the name that gives the other one; and that name does give it."""
    root = write(tmp_path / "numbered", classes, 1)

    note = order_of_classes(f"imagefolder:{root}")

    assert note is not None
    assert all(part in note for part in told)
    assert "\n" not in note
    for path in list(root.iterdir()):
        number = "".join(filter(str.isdigit, path.name))
        width = max(len("".join(filter(str.isdigit, name))) for name in classes)
        path.rename(root / path.name.replace(number, number.zfill(width)))
    assert order_of_classes(f"imagefolder:{root}") is None


@pytest.mark.parametrize(
    "classes",
    [
        ("1", "2", "3"),
        ("01", "02", "10"),
        ("n01440764", "n02102040"),
        ("cat", "dog"),
        ("a10", "b2"),
        ("10", "2", "cat"),
    ],
)
def test_classes_that_are_not_numbered_or_sort_alike_need_no_note(
    tmp_path: Path, write: Any, classes: tuple[str, ...]
) -> None:
    """Also below `train/` and `test/`, and whatever is done to the images."""
    for part in ("train", "test"):
        write(tmp_path / "alike" / part, classes, 1)

    assert order_of_classes(f"imagefolder:{tmp_path / 'alike'}[resize=8,crop=8]") is None
    assert order_of_classes("digits") is None
