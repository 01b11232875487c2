"""The attack that hands in the examples of an archive: by image, from a file that nobody has changed."""

import numpy as np
import pytest
import torch

from bench.datasets import imported
from bench.datasets.digits import digits
from bench.datasets.foreign import read
from bench.errors import BenchError
from bench.oracle.attack import misunderstood, traits_of
from bench.results.documents import read_images
from bench.threats import ThreatModel

EXAMPLES = digits("test").first(6)
X_ADV = (EXAMPLES.x + 0.1).clip(0, 1)
LINF = ThreatModel.parse("Linf:0.2")


@pytest.fixture
def archive(tmp_path):
    return imported.write(tmp_path, "mine", X_ADV[:4], EXAMPLES.fingerprints[:4])


def attack(path, digest=None):
    return imported.Imported(str(path), digest or imported.digest_of(X_ADV[:4], EXAMPLES.fingerprints[:4]))


def handed_in(attack, rows):
    x, y = torch.from_numpy(EXAMPLES.x[rows]), torch.from_numpy(EXAMPLES.y[rows])
    return attack(None, x, y, LINF, stream=None).numpy()


def test_every_image_gets_its_own_example_in_any_order_and_others_stay(archive):
    rows = [5, 2, 0, 3]

    found = handed_in(attack(archive), rows)

    assert np.array_equal(found[1:], X_ADV[[2, 0, 3]])
    assert np.array_equal(found[0], EXAMPLES.x[5])


def test_the_same_pixels_under_another_label_are_another_image(archive):
    x, y = torch.from_numpy(EXAMPLES.x[:1]), torch.from_numpy(EXAMPLES.y[:1] + 1)

    assert torch.equal(attack(archive)(None, x, y, LINF, stream=None), x)


def test_of_two_examples_for_one_image_the_first_is_taken(tmp_path):
    names = (EXAMPLES.fingerprints[0], f"twin:{EXAMPLES.fingerprints[0].rpartition(':')[2]}")
    path = imported.write(tmp_path, "mine", X_ADV[[0, 1]], names)

    found = handed_in(attack(path, imported.digest_of(X_ADV[[0, 1]], names)), [0])

    assert np.array_equal(found[0], X_ADV[0])


def test_the_digest_is_that_of_arrays_and_images():
    names = EXAMPLES.fingerprints[:4]
    whole = imported.digest_of(X_ADV[:4], names)

    moved = X_ADV[:4].copy()
    moved[3, 0, 0, 0] += np.float32(1e-6)
    assert whole == imported.digest_of(X_ADV[:4].copy(), list(names))
    assert len({whole, imported.digest_of(moved, names), imported.digest_of(X_ADV[:4], names[::-1])}) == 3


def test_another_archive_in_its_place_is_an_error(archive):
    other = X_ADV[:4] / 2
    imported.write(archive.parents[1], "mine", other, EXAMPLES.fingerprints[:4]).replace(archive)

    with pytest.raises(BenchError, match="not the one that was imported"):
        handed_in(attack(archive), [0])


def test_an_archive_that_is_there_stays_as_it_is_and_a_damaged_one_is_mended(archive):
    """Byte for byte, so that an import typed again changes nothing."""
    before = archive.read_bytes()
    for _ in range(5):
        imported.write(archive.parents[1], "mine", X_ADV[:4], EXAMPLES.fingerprints[:4])
        assert archive.read_bytes() == before

    archive.write_bytes(before[:100])
    imported.write(archive.parents[1], "mine", X_ADV[:4], EXAMPLES.fingerprints[:4])
    assert np.array_equal(handed_in(attack(archive), [1])[0], X_ADV[1])


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"nothing")])
def test_a_file_that_is_gone_or_damaged_is_an_error(damage, archive, tmp_path):
    damage(archive)

    with pytest.raises(BenchError, match="import it again"):
        handed_in(attack(archive, digest="another, so that no cache knows it"), [0])


def test_it_says_of_itself_what_the_harness_understands():
    assert misunderstood(traits_of(imported.Imported("a", "b"))) == []
    assert imported.ACCESS not in ("gradient", "score", "decision")


def test_the_file_is_an_archive_that_can_be_imported_and_verified(archive):
    """Its ids are read as those of others, and `bench results verify` compares its digest."""
    (found,) = read(archive)

    assert found.ids == tuple(EXAMPLES.ids[:4])
    assert np.array_equal(found.x_adv, X_ADV[:4])
    assert read_images(archive, archive.name.split(".")[1]) is not None
    archive.write_bytes(archive.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(BenchError, match="damaged"):
        read_images(archive, "")
