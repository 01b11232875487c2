"""`bench train`: what it prints in a log, and what goes into the card."""

from __future__ import annotations

import json
import os

import pytest

from bench.cli import main
from bench.cli.train import _kept, _Progress
from bench.defenses.training.validation import TrainingProgress

ONE = ["train", "standard", "--dataset", "digits", "--set", "epochs=1", "--device", "cpu"]


def test_every_epoch_is_a_line_with_the_time_left(capsys):
    """And between two of them the time that is left by then."""
    now = [0.0]
    progress = _Progress(clock=lambda: now[0])

    now[0] = 600
    progress(TrainingProgress("at", 100, 400, {"cross-entropy": 1.25}, 0.5, 0.25, seconds_left=1800.0))
    now[0] += 600
    told = progress.told()
    progress(TrainingProgress("at", 400, 400, {"cross-entropy": 1.0}, 0.5, 0.25, seconds_left=0.0))

    now[0] += 60
    assert progress.told().startswith("still measuring the accuracies of the card after 21 min: [400/400] at ")
    first, last = capsys.readouterr().err.splitlines()
    assert first == "[100/400] at cross-entropy 1.250 standard 0.500 quick robust 0.250, about 30 min left"
    assert told.startswith("still training after 20 min: [100/400] at ")
    assert told.endswith(", about 20 min left")
    assert last.endswith(" quick robust 0.250")


def test_a_stopped_training_names_its_own_notes(tmp_path):
    """Also where others train into the same folder, whose notes are younger."""
    folder = tmp_path / "cifar10"
    folder.mkdir()
    for age, stem in enumerate(("atop-clean-rt2.0123456789ab", "ap.0123456789ab", "atop-rt2.0123456789ab")):
        path = folder / f"{stem}.unfinished"
        path.touch()
        os.utime(path, (1000.0 - age, 1000.0 - age))

    assert _kept(tmp_path, "atop", 990.0).endswith("atop-rt2.0123456789ab.unfinished")
    assert _kept(tmp_path, "ap", 990.0).endswith("ap.0123456789ab.unfinished")
    assert _kept(tmp_path, "at", 990.0) == "nothing is kept yet"
    assert _kept(tmp_path, "ap", 1001.0) == "nothing is kept yet"


def test_a_note_goes_into_the_card_and_is_shown_with_it(tmp_path, monkeypatch, capsys):
    """`bench show` prints what a card holds; a line that a terminal would obey is refused before anything is read."""
    monkeypatch.setattr("bench.catalogue.weights.shipped", lambda: tmp_path)
    said = "training images: every value rounded to an even number"

    assert main([*ONE, "--out", str(tmp_path), "--note", said]) == 0
    assert json.loads((tmp_path / "digits" / "standard.json").read_text())["note"] == said
    capsys.readouterr()
    assert main(["show", "standard", "--dataset", "digits"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["note"])
    assert line.split(maxsplit=1)[1] == said


def test_a_note_of_several_lines_is_refused(tmp_path, capsys):
    status = main([*ONE, "--out", str(tmp_path / "out"), "--note", "a\n\x1b[31mb"])

    assert status == 2
    assert "\x1b" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("emulated", [True, False])
def test_a_recipe_that_the_processor_emulates_is_noted(emulated, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("bench.api.training.emulates_bfloat16", lambda: emulated)

    assert main([*ONE, "--out", str(tmp_path), "--set", "amp=true"]) == 0

    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert [line for line in notes if "--set amp=false" in line] == notes
    assert len(notes) == emulated
