"""A training that was killed goes on where it stood, and ends with the weights of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import bench.defenses
from bench.datasets.digits import digits
from bench.defenses.training.resume import Journal
from bench.defenses.training.run import train
from bench.errors import BenchError

FOLDER = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {path.stem: path for path in FOLDER.glob("*.safetensors")}
TINY = {"epochs": "3", "batch_size": "64", "validation_threat": ""}


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def learned():
    return digits("train").first(192)


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(32)


def tiny(name, out, learned, validation, *, every=2, kill_at=None, **changed):
    """Nine updates in three epochs; `kill_at` ends it after so many, which is later than the last note."""

    def on_progress(progress):
        if progress.step == kill_at:
            raise Killed

    return train(
        name,
        learned,
        validation,
        out=out,
        checkpoints=CHECKPOINTS,
        overrides=TINY | changed,
        on_progress=on_progress,
        every=every,
    )


@pytest.mark.parametrize(
    ("every", "name", "changed"),
    [
        (2, "standard", {}),
        (3, "standard", {}),
        (5, "standard", {"amp": "true", "ema": "0.5"}),
        (2, "trades", {}),
        (2, "ap", {"gan_weight": "0.1"}),
        (5, "atop", {}),
        (2, "atop", {"ema": "0.9"}),
    ],
    ids=["in-an-epoch", "after-an-epoch", "amp", "trades", "discriminator", "atop", "averaged"],
)
def test_a_training_that_was_killed_ends_with_the_same_bytes(every, name, changed, tmp_path, learned, validation):
    """Notes in the middle of an epoch, at its end, and two epochs before the kill."""
    whole = tiny(name, tmp_path / "whole", learned, validation, **changed)

    with pytest.raises(Killed):
        tiny(name, tmp_path / "cut", learned, validation, every=every, kill_at=6, **changed)
    torch.rand(5)
    left = list((tmp_path / "cut").iterdir())
    cut = tiny(name, tmp_path / "cut", learned, validation, every=every, **changed)

    assert [path.suffix for path in left] == [".unfinished"]
    assert cut.read_bytes() == whole.read_bytes()
    assert sorted(path.suffix for path in cut.parent.iterdir()) == [".json", ".safetensors"]


def test_a_training_goes_on_and_does_not_begin_again(tmp_path, learned, validation):
    """After the kill at update 6 only the updates since the note at 4 are made again."""
    seen = []
    with pytest.raises(Killed):
        tiny("standard", tmp_path, learned, validation, every=4, kill_at=6)

    train(
        "standard",
        learned,
        validation,
        out=tmp_path,
        checkpoints=CHECKPOINTS,
        overrides=TINY,
        on_progress=lambda progress: seen.append(progress.step),
        every=4,
    )

    assert seen == [6, 9]


def test_a_training_that_is_killed_while_its_card_is_measured_trains_nothing_again(
    tmp_path, learned, validation, monkeypatch
):
    whole = tiny("standard", tmp_path / "whole", learned, validation)

    def killed(*_):
        raise Killed

    monkeypatch.setattr("bench.defenses.training.run.quick_check", killed)
    with pytest.raises(Killed):
        tiny("standard", tmp_path / "cut", learned, validation)
    monkeypatch.undo()
    seen = []
    cut = train(
        "standard",
        learned,
        validation,
        out=tmp_path / "cut",
        checkpoints=CHECKPOINTS,
        overrides=TINY,
        on_progress=seen.append,
        every=2,
    )

    assert seen == []
    assert cut.read_bytes() == whole.read_bytes()
    assert sorted(path.suffix for path in cut.parent.iterdir()) == [".json", ".safetensors"]


@pytest.mark.parametrize("other", [{"learning_rate": "1e-4"}, {"epochs": "4"}, {"width": "8"}], ids=str)
def test_another_training_does_not_take_up_the_notes(other, tmp_path, learned, validation):
    """What was noted under other hyper-parameters stays for its own training."""
    alone = tiny("standard", tmp_path / "alone", learned, validation, **other)
    with pytest.raises(Killed):
        tiny("standard", tmp_path / "both", learned, validation, kill_at=6)

    beside = tiny("standard", tmp_path / "both", learned, validation, **other)

    assert beside.read_bytes() == alone.read_bytes()
    assert len(list(beside.parent.glob("*.unfinished"))) == 1


def test_a_damaged_note_is_one_line_and_nothing_in_it_is_run(tmp_path):
    """A pickle with code in it is refused, not executed."""

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    journal = Journal(tmp_path / "standard.unfinished")
    for content in (b"", b"\x00" * 100):
        journal.path.write_bytes(content)
        with pytest.raises(BenchError, match="is damaged: delete it to train from the beginning"):
            journal.read()
    torch.save({"note": Evil()}, journal.path)

    with pytest.raises(BenchError, match="is damaged"):
        journal.read()

    assert not (tmp_path / "ran").exists()


def test_notes_are_taken_at_least_every_update():
    """Zero would be no notes in disguise."""
    with pytest.raises(BenchError, match="every 0 updates: it must be at least 1"):
        Journal(Path("x"), 0)


@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL here")
def test_a_process_killed_in_the_middle_leaves_what_another_one_finishes(tmp_path):
    """The command itself, ended by SIGKILL as soon as it has noted something, then typed again."""
    words = ["train", "standard", "--dataset", "digits", "--set", "epochs=12", "--checkpoint-every", "5"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def command(out):
        return [
            sys.executable,
            "-c",
            "import sys; from bench.cli import main; sys.exit(main())",
            *words,
            "--out",
            str(tmp_path / out),
        ]

    subprocess.run(command("whole"), check=True, env=environment, capture_output=True, timeout=120)
    process = subprocess.Popen(command("cut"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while not list((tmp_path / "cut").glob("*/*.unfinished")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    unfinished = list((tmp_path / "cut").glob("*/*.unfinished"))
    subprocess.run(command("cut"), check=True, env=environment, capture_output=True, timeout=120)

    weights = [tmp_path / out / "digits" / "standard.safetensors" for out in ("whole", "cut")]

    assert len(unfinished) == 1
    assert weights[0].read_bytes() == weights[1].read_bytes()
