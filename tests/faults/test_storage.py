"""Disks that are full, read-only or damaged, and folders that several use at once."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from bench import api
from bench.errors import BenchError
from bench.results.store import Store
from tests.faults.kit import ASKED, MANY, SLOWLY, Place, kind, rows, times, verified


def full(bench, *, table=False):
    """Whether a run ended for want of space, in one line that says what is kept and how to go on."""
    assert bench.status() == 6, bench.told
    last = bench.told.splitlines()[-1]
    assert last.startswith("bench: no space left on the device: ")
    assert "Traceback" not in bench.told
    return (
        "the same command resumes" in last if table else "cells finished" in last and "resume with: bench run" in last
    )


@pytest.mark.fault("F07")
def test_a_disk_that_is_full_from_any_operation_on(zygote, tmp_path, survey, operations):
    """What is on the disk stays; with space the same command goes on."""
    writes = [number for number, step in enumerate(operations) if step.split()[0] in ("open", "fsync", "os.mkdir")]
    points = writes if MANY else sorted({kind(operations[number]): number for number in writes}.values())[::15]
    for number in points:
        place = Place(zygote, tmp_path / str(number))
        # Whether the run has stored everything before, and only tables are left to write.
        after = not any(step.partition(" ")[2].startswith("results") for step in operations[number:])
        assert full(place.start(within=str(place.root), refuse=number), table=after)
        assert not [path for path in place.strays() if path.name.startswith(".tmp-")]
        survey.resumed(place)


@contextmanager
def disk(folder, size):
    """A disk of its own of so many bytes; a folder can be read-only for the administrator, too."""
    folder.mkdir(parents=True)
    options = f"size={size}" if size else "size=8m"
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "bench", folder], check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.fault("F07")
def test_a_small_disk(zygote, tmp_path, survey):
    for number, pages in enumerate(range(1, 10, times(3, 1))):
        place = Place(zygote, tmp_path / str(number))
        with disk(place.results, pages * 4096) as remount:
            bench = place.start()
            assert full(bench)
            stored = place.shards()
            remount("size=8m")
            assert place.shards() == stored
            survey.resumed(place)


@pytest.mark.fault("F08")
@pytest.mark.parametrize("begun", [False, True], ids=["empty", "filled"])
def test_a_read_only_folder_is_refused_before_anything_is_computed_and_can_be_read(zygote, tmp_path, survey, begun):
    place = Place(zygote, tmp_path / "place")
    with disk(place.results, 0) as remount:
        if begun:
            shutil.copytree(survey.reference.results, place.results, dirs_exist_ok=True)
        remount("ro")
        asked = [word.replace("steps=3", "steps=4") for word in ASKED]
        bench = place.start(asked=asked)
        assert bench.status() == 2
        assert f"bench: results folder {str(place.results)!r} cannot be written (Read-only file system)" in bench.told
        assert not place.acknowledged()
        assert place.type("table", "--results", str(place.results)).status() == (0 if begun else 2)
        survey.injections += 1
        # Nothing is to be computed: the table of what is stored is written all the same.
        if begun:
            remount("rw")
            survey.resumed(place)


@pytest.mark.fault("F08")
def test_a_table_that_cannot_be_written_is_refused_before_anything_is_computed(zygote, tmp_path, survey):
    place = Place(zygote, tmp_path / "place")
    with disk(tmp_path / "tables", 0) as remount:
        remount("ro")
        bench = place.start("--csv", str(tmp_path / "tables" / "table.csv"))
        assert bench.status() == 2, bench.told
    assert "table.csv" in bench.told.splitlines()[-1]
    assert "Traceback" not in bench.told


def answers(folder):
    """Everything that a folder says: names, numbers, costs, findings; and its images."""
    store = Store(folder)
    told = []
    for result in store.results():
        outcome, cell = result.outcome, result.cell
        verdicts = (outcome.verdicts.clean.tolist(), outcome.verdicts.adversarial.tolist())
        images = store.images(cell)
        kept = (
            None if images is None else (images.x_adv.tobytes(), images.clean.tobytes(), images.adversarial.tobytes())
        )
        told.append((cell.key, cell.to_json(), cell.slice, verdicts, outcome, result.findings, kept))
    return repr(told)


@pytest.fixture(scope="module")
def copied(reference, tmp_path_factory):
    """A folder that may be damaged, with what it says; and a finished cell, shards, images and all other documents."""
    folder = tmp_path_factory.mktemp("copied") / "results"
    shutil.copytree(reference.results, folder)
    return folder, answers(folder)


def damage(path, content, folder, said):
    """Whether damage to one file is told by its name or changes nothing that the folder says."""
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        found = answers(folder)
    except BenchError as error:
        return str(path) in str(error) and "\n" not in str(error)
    finally:
        path.write_bytes(whole)
    return found == said


def stored_files(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


@pytest.mark.fault("F09")
def test_a_bit_that_flips_in_any_file_is_told_or_changes_nothing(copied, survey):
    folder, said = copied
    chosen, silent = random.Random(9), []
    files = stored_files(folder)
    for number in range(times(300, 6000)):
        path = files[number % len(files)]
        content = bytearray(path.read_bytes())
        bit = chosen.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        if not damage(path, bytes(content), folder, said):
            silent.append((path.name, bit))
        survey.injections += 1
    assert silent == []


@pytest.mark.fault("F10")
def test_a_file_that_is_cut_anywhere_is_told_or_changes_nothing(copied, survey):
    folder, said = copied
    chosen, silent = random.Random(10), []
    for path in stored_files(folder):
        content = path.read_bytes()
        size = len(content)
        lengths = {0, 1, 2, size // 2, size - 1, size - 2, *(chosen.randrange(size) for _ in range(times(6, 300)))}
        silent += [(path.name, at) for at in sorted(lengths) if not damage(path, content[:at], folder, said)]
        survey.injections += len(lengths)
    assert silent == []


@pytest.mark.fault("F10")
def test_a_document_that_is_gone_makes_a_cell_missing_or_is_computed_anew(zygote, tmp_path, reference, survey):
    """A neighbour that was deleted: nothing else changes, and the same command brings it back."""
    for number, path in enumerate(stored_files(reference.results)):
        place = Place(zygote, tmp_path / str(number))
        shutil.copytree(reference.results, place.results)
        gone = place.results / path.relative_to(reference.results)
        gone.unlink()
        survey.injections += 1
        place.run()
        if path.suffix == ".safetensors":  # images are kept with the shard that they come from
            assert not gone.exists()
        else:
            survey.same(place)


@pytest.mark.fault("F10")
def test_a_damaged_folder_is_never_begun_anew(zygote, tmp_path, reference, survey):
    """A run stops at a damaged document of a cell that it needs, names it, and leaves every byte."""
    for number, path in enumerate(stored_files(reference.results)):
        if path.suffix == ".safetensors":
            continue
        place = Place(zygote, tmp_path / str(number))
        shutil.copytree(reference.results, place.results)
        damaged = place.results / path.relative_to(reference.results)
        damaged.write_bytes(path.read_bytes()[:-100])
        before = {each: each.read_bytes() for each in stored_files(place.results)}
        bench = place.start()
        assert bench.status() == 2
        (line,) = [line for line in bench.told.splitlines() if line.startswith("bench: ")]
        assert str(damaged) in line
        assert {each: each.read_bytes() for each in stored_files(place.results)} == before
        survey.injections += 1


@pytest.mark.fault("F13")
@pytest.mark.parametrize(
    "other", [ASKED, tuple(word.replace("fgsm,", "fgsm-rs,") for word in ASKED)], ids=["same", "other"]
)
def test_two_runs_of_one_folder(zygote, tmp_path, reference, survey, other):
    """Of the same matrix, or of one that shares a cell: nothing is computed twice, and nothing is lost."""
    for number in range(times(2, 10)):
        place = Place(zygote, tmp_path / str(number))
        one = place.start(prelude=SLOWLY)
        time.sleep(0.03 * number)
        table = place.root / "other.csv"
        two = place.start("--csv", str(table), asked=other, prelude=SLOWLY)
        assert (one.status(), two.status()) == (0, 0), one.told + two.told
        told = [(each["key"], each["first"]) for each in place.acknowledged()]
        assert len(told) == len(set(told))
        survey.kept(place)
        stored = rows(reference.results)
        assert {row: verdict for row, verdict in rows(place.results).items() if row in stored} == stored
        survey.tidy(place, one)
        survey.tidy(place, two)
        if other is ASKED:
            survey.same(place)


@pytest.mark.fault("F14")
def test_readers_see_a_whole_state_whenever_they_look(zygote, tmp_path, reference, survey):
    """While a run writes: every verdict that is shown is the final one, and their number only grows."""
    place, final = Place(zygote, tmp_path / "place"), rows(reference.results)
    bench = place.start(prelude=SLOWLY)
    seen, reads, refused = 0, 0, []
    until = time.monotonic() + 60
    while seen < 2 and time.monotonic() < until:
        assert verified(place.results)
        try:
            found = api.load(place.results)
        except BenchError as error:
            refused.append(str(error))
            continue
        reads += 1
        finished = [each for each in found if each.outcome is not None]
        assert len(finished) >= seen
        seen = len(finished)
        for each in finished:
            verdicts = each.outcome.verdicts
            shown = zip(verdicts.clean.tolist(), verdicts.adversarial.tolist(), strict=True)
            assert all(final[each.cell.key, at] == verdict for at, verdict in enumerate(shown))
        summary = found.summary()
        assert "at" in summary
    assert bench.status() == 0
    assert all("no results in" in error or "does not exist" in error for error in refused)
    assert reads > 5
    survey.kept(place)
    survey.injections = reads
    survey.same(place)


@pytest.mark.fault("F22")
def test_documents_of_a_newer_version_are_refused_in_one_line(zygote, tmp_path, reference, survey):
    """Of whatever kind: reading and running stop, and nothing is written."""
    for number, path in enumerate(path for path in stored_files(reference.results) if path.suffix == ".json"):
        place = Place(zygote, tmp_path / str(number))
        shutil.copytree(reference.results, place.results)
        newer = place.results / path.relative_to(reference.results)
        newer.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
        before = {each: each.read_bytes() for each in stored_files(place.results)}
        for bench in (place.start(), place.type("table", "--results", str(place.results))):
            assert bench.status() == 2
            (line,) = [line for line in bench.told.splitlines() if line.startswith("bench: ")]
            assert f"{str(newer)!r} has format 99" in line
            assert line.endswith("upgrade atop-bench")
        assert {each: each.read_bytes() for each in stored_files(place.results)} == before
        survey.injections += 1


@pytest.mark.fault("F22")
def test_a_run_that_an_older_version_began_is_resumed_by_this_one(zygote, tmp_path, survey):
    """Killed, with documents as the format before wrote them: read, and not computed again."""
    place = Place(zygote, tmp_path / "place")
    bench = place.start(prelude=SLOWLY)
    until = time.monotonic() + 60
    while place.shards() < 5 and time.monotonic() < until:
        time.sleep(0.01)
    bench.kill(signal.SIGKILL)
    bench.status()
    older = [path for path in stored_files(place.results) if ".shard-" in path.name or "pgd" in path.name]
    for path in older:
        if path.suffix == ".json":
            document = json.loads(path.read_text(encoding="utf-8"))
            as_before = {key: value for key, value in document.items() if key != "digest"} | {"format": 2}
            from bench.results.documents import write

            write(path, as_before)
    stored = place.shards()
    place.run()
    survey.kept(place)
    assert place.shards() == 8
    again = [told for told in place.acknowledged() if told["first"] >= 0]
    assert len(again) <= 8 + 1
    assert stored >= 4
    assert rows(place.results) == rows(survey.reference.results)
