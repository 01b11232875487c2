"""What is remembered of files and folders holds as long as they do."""

import os
import time

from bench.machine.system import write_whole
from bench.results.remembered import TICK, Remembered, cell_names

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


def counted(answers):
    def read(path):
        answers.append(path.read_bytes() if path.is_file() else None)
        return answers[-1]

    return read


def test_a_file_is_read_once_until_another_one_has_its_place(tmp_path):
    path, answers = tmp_path / "file", []
    remembered = Remembered(counted(answers))

    assert remembered(path) is None
    assert remembered(path) is None
    write_whole(path, b"one")
    assert [remembered(path), remembered(path)] == [b"one", b"one"]
    # As long as the first, and as old: only the file is another one.
    told = path.stat()
    write_whole(path, b"two")
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert remembered(path) == b"two"
    path.unlink()
    assert remembered(path) is None
    assert answers == [None, b"one", b"two", None]


def test_a_folder_that_has_just_changed_is_listed_again(tmp_path):
    """Its time may not tell a name that comes within the same tick of the clock."""
    listed = []
    remembered = Remembered(lambda path: listed.append(path) or sorted(each.name for each in path.iterdir()), TICK)

    for _ in range(2):
        remembered(tmp_path)
    assert len(listed) == 2
    os.utime(tmp_path, (time.time() - 2 * TICK,) * 2)
    for _ in range(3):
        remembered(tmp_path)
    assert len(listed) == 3
    (tmp_path / "new").touch()
    assert remembered(tmp_path) == ["new"]


def test_the_names_in_a_folder_tell_cells_from_shards_and_all_else(tmp_path):
    for name in (
        f"pgd-20[steps=5].{KEY}.json",
        f"fgsm.{OTHER}.shard-10.json",
        f"fgsm.{OTHER}.shard-9.json",
        f"fgsm.{OTHER}.failed.json",
        f"pgd-20.{KEY}.safetensors",
        f".tmp-00-x.{KEY}.json.part",
        "notes.json",
        f"square.{KEY.upper()}.json",
    ):
        (tmp_path / name).touch()

    found = cell_names(tmp_path)

    assert found.documents == {KEY: f"pgd-20[steps=5].{KEY}.json"}
    assert found.shards == {f"fgsm.{OTHER}": [9, 10]}
    assert cell_names(tmp_path / "missing").documents == {}


def test_what_a_killed_run_was_writing_is_no_document(tmp_path):
    key = "0123456789abcdef"
    for name in (f"fgsm.{key}.json", f".tmp-1a2b3c4d-fgsm.{key}.json", f".tmp-1a2b3c4d-fgsm.{key}.shard-3.json"):
        (tmp_path / name).touch()

    found = cell_names(tmp_path)

    assert dict(found.documents) == {key: f"fgsm.{key}.json"}
    assert dict(found.shards) == {}
