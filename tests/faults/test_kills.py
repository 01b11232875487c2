"""Whatever kills a run, and whenever: nothing acknowledged is lost, and the same command ends with the same bytes."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.faults.kit import MANY, SHARDS, SLOWLY, Place, kind, times

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(scope="module")
def duration(zygote, tmp_path_factory):
    """How long an undisturbed run takes, from its start to its end."""
    began = time.monotonic()
    Place(zygote, tmp_path_factory.mktemp("timed")).run()
    return time.monotonic() - began


@pytest.mark.fault("F01")
def test_a_run_that_is_killed_at_any_time(zygote, tmp_path, survey, duration):
    chosen = random.Random(1)
    for number in range(times(3, 200)):
        place = Place(zygote, tmp_path / str(number))
        bench = place.start()
        time.sleep(chosen.uniform(0, duration))
        bench.kill(signal.SIGKILL)
        bench.status()
        survey.resumed(place)


def chosen_points(operations, every):
    """All of them, or of one operation of each kind some."""
    if MANY:
        return list(range(len(operations)))
    last = {kind(operation): number for number, operation in enumerate(operations)}
    return sorted(last.values())[::every]


@pytest.mark.fault("F02")
@pytest.mark.parametrize("torn", [False, True], ids=["between", "half written"])
def test_a_run_that_is_killed_before_any_operation_on_a_file(zygote, tmp_path, survey, operations, torn):
    """Every making, syncing, renaming and removing, one after the other; of a torn file half has reached the disk."""
    points = chosen_points(operations, 1 if torn else 4)
    points = [number for number in points if not torn or operations[number].startswith("fsync")][: None if MANY else 2]
    assert len(points) > (3 if MANY else 1)
    for number in points:
        place = Place(zygote, tmp_path / str(number))
        bench = place.start(within=str(place.root), die=number, torn=torn)
        assert bench.status() == -signal.SIGKILL, operations[number]
        survey.resumed(place)


@pytest.mark.fault("F02")
@pytest.mark.parametrize("command", ["report", "leaderboard", "plot"])
def test_a_killed_output_leaves_the_old_file_or_the_new_one(zygote, tmp_path, reference, survey, command):
    """A page, a table, a figure: at every operation."""
    folder = tmp_path / "out"
    folder.mkdir()
    target, words = {
        "report": (folder / "page.html", ("report", "--html")),
        "leaderboard": (folder / "table.csv", ("leaderboard", "--csv")),
        "plot": (folder / "figure.png", ("plot", "matrix", "--out")),
    }[command]
    words = (*words, str(target), "--results", str(reference.results))
    place = Place(zygote, tmp_path / "place")
    first = place.type(*words, within=str(folder), operations=str(tmp_path / "told"))
    assert first.status() == 0, first.told
    steps = (tmp_path / "told").read_text().splitlines()
    assert any(step.startswith("os.rename") for step in steps)
    new, old = target.read_bytes(), b"old"
    for number in range(len(steps)):
        target.write_bytes(old)
        assert place.type(*words, within=str(folder), die=number, torn=True).status() == -signal.SIGKILL
        assert target.read_bytes() in (old, new)
        survey.injections += 1


def verdicts_below(folder):
    """Every stored verdict of a folder, with the run that asked for it."""
    from bench import api

    return sorted((each.cell.key, each.outcome.verdicts.adversarial.tolist()) for each in api.load(folder))


@pytest.mark.fault("F02")
def test_a_killed_baseline_is_the_old_one_or_the_new_one(zygote, tmp_path, reference, survey):
    """A folder of many files: the one that is named is whole at every operation."""
    old, new = Place(zygote, tmp_path / "old"), reference.results
    old.run("--seed", "1")
    words = ("baseline", "update", "--allow-removed", "--results", str(new), "--baseline")
    place = Place(zygote, tmp_path / "place")
    shutil.copytree(old.results, tmp_path / "first" / "baseline")
    first = place.type(
        *words,
        str(tmp_path / "first" / "baseline"),
        within=str(tmp_path / "first"),
        operations=str(tmp_path / "told"),
    )
    assert first.status() == 0, first.told
    steps = (tmp_path / "told").read_text().splitlines()
    whole = verdicts_below(new)
    points = (
        range(len(steps)) if MANY else [steps.index(step) for step in {kind(step): step for step in steps}.values()]
    )
    for number in sorted(points):
        root = tmp_path / str(number)
        shutil.copytree(old.results, root / "baseline")
        update = (*words, str(root / "baseline"))
        assert place.type(*update, within=str(root), die=number, torn=True).status() == -signal.SIGKILL
        survey.injections += 1
        for path in root.glob(".tmp-*"):  # what a killed update has left beside it goes when it is old
            os.utime(path, (0, 0))
        assert place.type(*update).status() == 0
        assert verdicts_below(root / "baseline") == whole
        assert [path.name for path in root.iterdir()] == ["baseline"]


@pytest.mark.slow
@pytest.mark.fault("F03")
def test_a_worker_that_is_killed_is_replaced(zygote, tmp_path, survey):
    chosen = random.Random(3)
    for number in range(times(1, 20)):
        place = Place(zygote, tmp_path / str(number))
        bench = place.start("--jobs", "2", executor="processes")
        workers = _workers(bench, 2)
        time.sleep(chosen.uniform(0, 2))
        for worker in workers[: number % 2 + 1]:
            # At the end of a run it may be gone by itself.
            if Path(f"/proc/{worker}").exists():
                os.kill(worker, signal.SIGKILL)
        assert bench.status(120) == 0, bench.told
        survey.kept(place)
        survey.same(place)
        survey.tidy(place, bench)


@pytest.mark.slow
@pytest.mark.fault("F01")
def test_the_workers_of_a_killed_run_end_with_it(zygote, tmp_path, survey):
    for number in range(times(1, 10)):
        place = Place(zygote, tmp_path / str(number))
        bench = place.start("--jobs", "2", executor="processes")
        _workers(bench, 2)
        until = time.monotonic() + 60
        while place.shards() < 1 + number % 5 and time.monotonic() < until:
            time.sleep(0.01)
        bench.kill(signal.SIGKILL)
        bench.status()
        assert bench.alone()
        survey.resumed(place)


def _workers(bench, number):
    """The worker processes of a run, as soon as there are so many."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = [pid for pid in bench.family() if b"spawn_main" in _command(pid)]
        if len(found) >= number:
            return sorted(found)
        time.sleep(0.02)
    raise AssertionError(f"no {number} workers: {bench.told}")


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.fault("F04")
def test_a_run_that_is_killed_again_and_again_while_it_resumes(zygote, tmp_path, survey, operations):
    """Five deep."""
    chosen = random.Random(4)
    for number in range(times(2, 20)):
        place = Place(zygote, tmp_path / str(number))
        before = 0
        for _ in range(5):
            # Far enough for a run to make progress, and short of its end.
            point = chosen.randrange(5, max(6, len(operations) // 4))
            bench = place.start(within=str(place.root), die=point)
            assert bench.status() in (0, -signal.SIGKILL)
            survey.kept(place)
            assert place.shards() >= before
            before = place.shards()
        survey.resumed(place)


SIGNALS = {
    "SIGTERM": ([signal.SIGTERM], 143, "terminated"),
    "SIGINT": ([signal.SIGINT], 130, "interrupted"),
    "SIGINT twice": ([signal.SIGINT, signal.SIGINT], 130, "interrupted"),
    "SIGHUP": ([signal.SIGHUP], 129, "terminated"),
}


@pytest.mark.fault("F05")
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_a_run_with_one_line_and_all_that_is_finished(name, zygote, tmp_path, survey):
    numbers, status, how = SIGNALS[name]
    for number in range(times(1, 5)):
        place = Place(zygote, tmp_path / str(number))
        bench = place.start(prelude=SLOWLY)
        until = time.monotonic() + 60
        while place.shards() < 1 + number and time.monotonic() < until:
            time.sleep(0.01)
        for each in numbers:
            bench.kill(each)
            time.sleep(0.01)
        ended = bench.status()
        # The second signal may come at a moment when nothing is left to catch it, or while the interpreter ends.
        assert "Traceback" not in bench.told.partition("resume with")[0]
        assert ended == status or (len(numbers) > 1 and ended == -signal.SIGINT)
        if ended > 0:
            last = next(line for line in bench.told.splitlines() if line.startswith("bench: "))
            assert last.startswith(f"bench: {how}: ")
            assert "resume with: bench run " in last
        assert 0 < place.shards() < SHARDS
        assert not place.strays()
        survey.resumed(place)


@pytest.mark.fault("F06")
def test_a_laptop_that_sleeps(zygote, tmp_path, survey):
    """Stopped in the middle, and another run of the same command waits for it: nothing is computed twice."""
    for number in range(times(1, 5)):
        place = Place(zygote, tmp_path / str(number))
        bench = place.start(prelude=SLOWLY)
        until = time.monotonic() + 60
        while place.shards() < 1 + number and time.monotonic() < until:
            time.sleep(0.01)
        bench.kill(signal.SIGSTOP)
        other = place.start()
        time.sleep(times(2, 20))
        bench.kill(signal.SIGCONT)
        assert (bench.status(), other.status()) == (0, 0), bench.told + other.told
        told = [(each["key"], each["first"]) for each in place.acknowledged()]
        assert len(told) == len(set(told))
        survey.kept(place)
        survey.same(place)
        survey.tidy(place, bench)
        survey.tidy(place, other)
