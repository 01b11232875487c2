"""Where a results folder keeps what: paths that every file system takes, and that keep different things apart."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.datasets.imported import ACCESS
from bench.results.places import Places, below, digest_of, slug
from tests.harness.test_agenda import task

ROOT = Path("r")


@pytest.mark.parametrize(
    ("label", "part"),
    [("atop[rt=2]", "atop+rt=2"), ("../../etc/passwd", "..+..+etc+passwd"), ("a b\n\x00c", "a+b+c"), ("😀", "unnamed")],
)
def test_a_label_becomes_a_part_of_a_path(label, part):
    assert slug(label) == part
    assert re.fullmatch(r"[A-Za-z0-9._=+-]+", slug(label))


def test_a_cell_its_shards_its_error_and_its_findings_stand_together():
    places, cell = Places(ROOT), task("at", 1).cell
    folder = ROOT / "digits" / cell.threat.slug / "at"

    assert places.cell(cell) == folder / f"costs-1.{cell.key[:16]}.json"
    assert places.cell(cell, "shard-3").name == f"costs-1.{cell.key[:16]}.shard-3.json"
    assert places.checks(cell).parent == folder


def test_the_findings_of_an_archive_are_apart_from_those_about_attacks():
    places, cell = Places(ROOT), task("at", 1).cell
    imported = replace(cell, attack=replace(cell.attack, access=ACCESS))

    assert places.checks(cell) == places.checks(replace(cell, attack=replace(cell.attack, label="other")))
    assert places.checks(imported) != places.checks(cell)
    other = replace(imported, attack=replace(imported.attack, label="other"))
    assert places.checks(other) != places.checks(imported)


def test_other_images_and_other_formats_have_places_of_their_own():
    places, cell = Places(ROOT), task("at", 1).cell

    assert places.preflight(cell.defense, cell.slice) != places.preflight(
        cell.defense, replace(cell.slice, digest="other")
    )
    assert places.formats(cell.defense, cell.slice, "a" * 64) != places.formats(cell.defense, cell.slice, "b" * 64)
    assert places.examples("digits", "c" * 64) == ROOT / "digits" / f"examples.{'c' * 16}.json"


def test_digests_depend_on_every_part_and_on_their_borders():
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert len(digest_of(1)) == 16


def test_a_folder_that_vanishes_while_it_is_listed_counts_as_empty(tmp_path, monkeypatch):
    """A run removes its locks, and shards of finished cells, while another command looks."""
    for name in ("a/cell.json", "locks/one", "z.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    scan = os.scandir

    def vanishing(path):
        if not isinstance(path, int) and Path(path).name == "locks":
            shutil.rmtree(path, ignore_errors=True)
        return scan(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    # What was listed before it vanished may be told; what is inside may not.
    assert [path.relative_to(tmp_path).as_posix() for path in below(tmp_path)] == [
        "a",
        "a/cell.json",
        "locks",
        "z.json",
    ]
    assert not (tmp_path / "locks").exists()
