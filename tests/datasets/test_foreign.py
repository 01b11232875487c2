"""Files of adversarial examples as others save them: what is understood, and that nothing is executed."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.datasets.foreign import read
from bench.errors import BenchError

X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def saved(path, what):
    torch.save(what, path)
    return path


@pytest.mark.parametrize(
    "what",
    [
        X,
        [X],
        (X, torch.tensor([1, 2, 3])),
        {"adv_complete": X},
        {"adv_complete": (X, torch.tensor([1, 2, 3]))},
        {"x_adv": X, "predictions": torch.zeros(3)},
        {"adversarial": X.double()},
    ],
)
def test_tensors_of_one_attack_are_found_in_every_form(what, tmp_path):
    """RobustBench's tensor, AutoAttack's dict, and its pair of images and predicted labels."""
    (found,) = read(saved(tmp_path / "a.pt", what))

    assert found.attack == ""
    assert np.array_equal(found.x_adv.astype(np.float32), X.numpy())
    assert found.labels is None


def test_the_individual_evaluation_holds_an_attack_per_name(tmp_path):
    """{attack: x_adv}, where pyautoattack puts pairs."""
    found = read(saved(tmp_path / "a.pth", {"apgd-ce": (X, torch.zeros(3)), "square": X + 1}))

    assert [each.attack for each in found] == ["apgd-ce", "square"]
    assert np.array_equal(found[1].x_adv, (X + 1).numpy())


@pytest.mark.parametrize("square", [[X, X + 1], {"x_adv": X}])
def test_an_attack_in_several_arrays_is_not_left_out_in_silence(square, tmp_path):
    """A list of batches, or a dict per attack; what holds no array is a setting."""
    with pytest.raises(BenchError, match="'square' is several arrays, not one"):
        read(saved(tmp_path / "a.pt", {"apgd-ce": X, "square": square}))
    (found,) = read(saved(tmp_path / "b.pt", {"apgd-ce": X, "config": {"eps": 0.1}, "seeds": [1, 2]}))
    assert found.attack == "apgd-ce"


def test_arrays_beside_the_images_are_read(tmp_path):
    path = tmp_path / "a.npz"
    ids = np.array(["digit-0001", "digit-0002", "digit-0003"])
    np.savez(path, adversarial=X.numpy(), clean=X.numpy() / 2, labels=np.arange(3), ids=ids, predictions=np.ones(3))

    (found,) = read(path)

    assert found.ids == tuple(ids)
    assert found.labels.tolist() == [0, 1, 2]
    assert np.array_equal(found.clean, X.numpy() / 2)


def test_indices_may_be_a_list_of_numbers(tmp_path):
    (found,) = read(saved(tmp_path / "a.pt", {"x_adv": X, "indices": [4, 0, 2], "ids": ["a", "b", "c"]}))

    assert found.indices.tolist() == [4, 0, 2]
    assert found.ids == ("a", "b", "c")


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["a.pt", "a.pth"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(name, tmp_path):
    trap = tmp_path / "executed"

    with pytest.raises(BenchError, match="could run code") as error:
        read(saved(tmp_path / name, {"x_adv": X, "more": Malicious(str(trap))}))

    assert not trap.exists()
    assert "\n" not in str(error.value)


def test_an_array_of_objects_is_refused_and_not_run(tmp_path):
    trap = tmp_path / "executed"
    path = tmp_path / "a.npz"
    np.savez(path, x_adv=np.array([Malicious(str(trap))], dtype=object))

    with pytest.raises(BenchError, match="array of objects"):
        read(path)

    assert not trap.exists()


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _npz(path):
    np.savez(path, x_adv=X.numpy())
    return path


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: _cut(saved(folder / "a.pt", X)), "cannot be read"),
        (lambda folder: _cut(_npz(folder / "a.npz")), "truncated or damaged"),
        (lambda folder: Path(saved(folder / "a.pt", X)).rename(folder / "a.npz"), "cannot be read|no adversarial"),
        (lambda folder: Path(folder / "a.npy").rename(folder / "a.npz"), "one array, not several: call it .npy"),
        (lambda folder: folder / "none.pt", "is not a file"),
        (lambda folder: folder, "no known kind"),
        (lambda folder: saved(folder / "a.pickle", X), "no known kind"),
        (lambda folder: saved(folder / "a.pt", {"model": torch.zeros(4)}), "no adversarial images"),
        (lambda folder: saved(folder / "a.pt", {}), "it holds nothing"),
        (lambda folder: saved(folder / "a.pt", "text"), "no array"),
        (lambda folder: saved(folder / "a.pt", X.to(torch.complex64)), "no numbers"),
        (lambda folder: saved(folder / "a.pt", X.to_sparse()), "no plain tensor"),
        (lambda folder: saved(folder / "a.pt", {"x_adv": X, "ids": [1, 2, 3]}), "no list of names"),
    ],
)
def test_what_cannot_be_read_is_one_line(make, told, tmp_path):
    np.save(tmp_path / "a.npy", X.numpy())
    path = make(tmp_path)

    with pytest.raises(BenchError, match=told) as error:
        read(path)

    assert "\n" not in str(error.value)


def test_a_file_whose_name_is_hostile_stays_one_printable_line(tmp_path):
    with pytest.raises(BenchError) as error:
        read(tmp_path / "\x1b[31m\n.pt")

    assert str(error.value).isprintable()


def test_an_archive_with_another_members_is_no_archive(tmp_path):
    """A zip of something else under the name of an archive."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("../../x_adv.npy", b"no array")

    with pytest.raises(BenchError, match=r"cannot be read|no adversarial"):
        read(tmp_path / "a.npz")
