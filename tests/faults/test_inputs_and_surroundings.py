"""Damaged weights and images, and odd surroundings: clocks, executors, requests, terminals, paths and limits."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.kit import ASKED, MANY, SHARDS, SLOWLY, Place, documents, rows, times

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "defenses" / "weights" / "digits"


def told(bench):
    """The one line of a mistake in the request."""
    assert bench.status() == 2, bench.told
    assert "Traceback" not in bench.told
    (line,) = [line for line in bench.told.splitlines() if line.startswith("bench: ")]
    return line


@pytest.mark.fault("F11")
def test_a_damaged_checkpoint_is_named_and_never_mixed_with_the_whole_one(place, record_property):
    """Cut anywhere, empty, a web page: a mistake, and nothing is written. With a flipped bit it is another one."""
    weights = place.root / "weights" / "digits"
    weights.mkdir(parents=True)
    for path in SHIPPED.glob("at.*"):
        shutil.copy(path, weights)
    target = weights / "at.safetensors"
    whole = target.read_bytes()
    given = ("--weights", str(weights.parent))
    place.run(*given)
    keys = {key for key, _ in rows(place.results)}
    shutil.rmtree(place.results)
    damaged = [whole[: int(len(whole) * share)] for share in (0.1, 0.5, 0.9, 0.999)]
    damaged += [b"", b"<!DOCTYPE html><html><body>404</body></html>", whole + b"\0", whole[8:]]
    chosen = random.Random(11)
    for _ in range(times(3, 200)):
        content = bytearray(whole)
        bit = chosen.randrange(8 * len(whole))
        content[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(content))
    record_property("injections", len(damaged))
    for content in damaged:
        target.write_bytes(content)
        bench = place.start(*given)
        # The tensors may be readable: then a note says that they are not those of the card, and the keys are others.
        if len(content) == len(whole) and bench.status() == 0:
            assert "at.safetensors is not the file its card describes" in bench.told
            assert not keys & {key for key, _ in rows(place.results)}
            shutil.rmtree(place.results)
        else:
            assert "at.safetensors" in told(bench)
            assert not place.results.exists() or not list(place.results.rglob("*.json"))


@pytest.mark.fault("F12")
def test_a_damaged_image_is_told_or_makes_other_cells(zygote, tmp_path, record_property):
    """Cut, empty or flipped: a mistake that names the file, or pixels that stored verdicts are not mixed with."""
    from PIL import Image
    from sklearn.datasets import load_digits

    place = Place(zygote, tmp_path / "place")
    images, labels = load_digits(return_X_y=True)
    for number in range(24):
        folder = place.root / "images" / "test" / str(labels[number])
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (images[number].reshape(8, 8) * 15.9).astype("uint8")
        Image.fromarray(pixels).resize((16, 16)).convert("RGB").save(folder / f"{number}.png")
    (place.root / "net.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(768, 10))\n"
    )
    asked = ("--dataset", f"imagefolder:{place.root / 'images'}", "--defenses", f"{place.root / 'net.py'}")
    asked += ("--attacks", "fgsm", "--threat", "Linf:0.1", "--n", "24", "--batch", "24", "--checks", "none")
    asked += ("--precision", "float32", "--device", "cpu")
    first = place.run(asked=asked)
    before = documents(place.results)
    target = next((place.root / "images").rglob("7.png"))
    whole = target.read_bytes()
    chosen, damaged = random.Random(12), [whole[:20], whole[: len(whole) // 2], b"", b"<!DOCTYPE html>"]
    for _ in range(times(2, 40)):
        content = bytearray(whole)
        bit = chosen.randrange(8 * len(whole))
        content[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(content))
    record_property("injections", len(damaged))
    for content in damaged:
        target.write_bytes(content)
        bench = place.start(asked=asked)
        status = bench.status(120)
        assert status in (0, 2), bench.told
        assert "Traceback" not in bench.told
        if status == 2:
            assert "7.png" in bench.told
        after = documents(place.results)
        assert {name: after[name] for name in before} == before
    target.write_bytes(whole)
    assert "1 cell stored already" in place.run(asked=asked).told
    assert first.alone()


CLOCKS = {
    "an hour back in the middle": "jumped = lambda n: real() - (3600 if n > 3 else 0)",
    "a day ahead in the middle": "jumped = lambda n: real() + (86400 if n > 3 else 0)",
    "before the epoch": "jumped = lambda n: -86400.0 + n",
    "1970": "jumped = lambda n: float(n)",
    "2100": "jumped = lambda n: 4102444800.0 + n",
    "stands still": "jumped = lambda n: 1e9",
    "runs backwards": "jumped = lambda n: 2e9 - n",
}
CLOCK = """
import datetime, itertools, time
real = time.time
{}
numbers = itertools.count()
time.time = lambda: jumped(next(numbers))
class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(1970, 1, 1, tzinfo=tz) + datetime.timedelta(seconds=time.time())
import bench.results.store
bench.results.store.datetime = Clock
"""


@pytest.mark.fault("F18")
@pytest.mark.parametrize(
    "clock", CLOCKS if MANY else ["an hour back in the middle", "before the epoch", "stands still"]
)
def test_a_clock_that_jumps(clock, place, survey):
    """A run is stopped and resumed under it: the same bytes, and the latest request is the one that is shown."""
    prelude = CLOCK.format(CLOCKS[clock])
    bench = place.start(prelude=prelude + SLOWLY.replace("time.sleep(0.1)", "time.sleep(0.05)"))
    until = time.monotonic() + 60
    while place.shards() < 3 and time.monotonic() < until:
        time.sleep(0.01)
    bench.kill(signal.SIGKILL)
    bench.status()
    survey.resumed(place, prelude=prelude)


@pytest.mark.fault("F18")
@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Pacific/Kiritimati", "Nowhere/Nowhere"] if MANY else ["Pacific/Kiritimati"]
)
def test_a_clock_of_another_zone(zone, place, survey):
    bench = place.run(env={"TZ": zone})
    survey.kept(place)
    survey.same(place)
    survey.tidy(place, bench)


def stopped(place, shards, *more, executor="local", asked=ASKED):
    """A run that was killed after so many shards."""
    bench = place.start(*more, executor=executor, asked=asked, prelude=SLOWLY)
    until = time.monotonic() + 60
    while place.shards() < shards and time.monotonic() < until:
        time.sleep(0.01)
    bench.kill(signal.SIGKILL)
    bench.status()
    assert bench.alone()


@pytest.mark.slow
@pytest.mark.fault("F20")
def test_a_run_that_moves_to_other_executors_while_it_is_resumed(zygote, tmp_path, survey):
    for number in range(times(1, 10)):
        place = Place(zygote, tmp_path / str(number))
        stopped(place, 2)
        survey.kept(place)
        if MANY:
            stopped(place, 4, "--jobs", "2", executor="processes")
            survey.kept(place)
            stopped(place, 6)
        survey.resumed(place, executor="processes")


CHANGES = {
    "eps": ("Linf:0.2", "Linf:0.1"),
    "steps": ("fgsm,pgd-20[steps=3]", "fgsm,pgd-20[steps=4]"),
    "seed": ("32", "32", "--seed", "1"),
    "batch": ("8", "16"),
    "n": ("32", "24"),
    "defense": ("at", "trades"),
}


@pytest.mark.fault("F21")
@pytest.mark.parametrize("change", CHANGES if MANY else ["eps", "batch", "defense"])
def test_a_request_that_is_edited_between_stop_and_resume(change, place, survey):
    """New cells; the old ones stay as they were, and the old command still finishes them."""
    old, new, *more = CHANGES[change]
    asked = (*(new if word == old else word for word in ASKED), *more)
    stopped(place, 5)
    survey.kept(place)
    before = {path: path.read_bytes() for path in place.results.rglob("*.json") if not path.name.startswith(".")}

    place.run(asked=asked)

    assert {path: path.read_bytes() for path in before if path.exists() or ".shard-" not in path.name} == {
        path: content for path, content in before.items() if path.exists()
    }
    place.run()
    assert rows(survey.reference.results).items() <= rows(place.results).items()
    # The table of the old command is again what it was, and both requests can be read.
    survey.compared += 1
    found, wanted = place.digest(), survey.digest
    assert {name: found[name] for name in wanted} == wanted
    survey.equal += 1


REAL = (sys.executable, "-c", "import sys; from bench.cli import main; sys.exit(main())")


@pytest.mark.slow
@pytest.mark.fault("F23")
@pytest.mark.parametrize("how", [">&- 2>&-", "<&- >&- 2>&-", "| true", "> /dev/full"] if MANY else [">&- 2>&-"])
def test_nobody_reads_what_a_run_prints(how, place, survey):
    """Closed from the beginning, a reader that has left, a full device: the run and its table are what they are."""
    place.root.mkdir()
    command = [*REAL, "run", *ASKED, "--executor", "local", "--results", place.results, "--csv", place.table]
    script = f'"$@" {how}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", script, "bash", *command], cwd=place.root, stderr=subprocess.PIPE, check=False)
    if how == "> /dev/full":
        assert done.returncode in (0, 6)
    else:
        assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    survey.kept(place)
    survey.same(place)


@pytest.mark.fault("F23")
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"] if MANY else ["ascii"])
def test_a_terminal_that_writes_few_characters(encoding, place, survey):
    """As with LANG=C, where Python is told not to use UTF-8."""
    prelude = (
        f"import sys; [each.reconfigure(encoding={encoding!r}, errors='strict') for each in (sys.stdout, sys.stderr)]"
    )
    env = {"LANG": "C", "LC_ALL": "C"}
    bench = place.run(prelude=prelude, env=env)
    assert "Traceback" not in bench.told
    table = place.type("leaderboard", "--results", str(place.results), prelude=prelude, env=env)
    assert table.status() == 0, table.told
    survey.kept(place)
    survey.same(place)


@pytest.mark.fault("F23")
def test_no_home_no_terminal_no_user(place, survey):
    gone = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "TERM", "USER", "LOGNAME", "PATH", "LANG", "COLUMNS"))
    bench = place.run(env=gone)
    survey.kept(place)
    survey.same(place)
    survey.tidy(place, bench)
    bench = Place(place.zygote, place.root / "nowhere").start(env={**gone, "HOME": "/nonexistent/home"})
    assert bench.status() == 0, bench.told


PATHS = {
    "spaces": "a folder with  spaces ",
    "emoji": "\N{ROBOT FACE}\N{COMBINING ACUTE ACCENT}",
    "quotes": 'it\'s "quoted" $HOME `id` ;&|',
    "300 characters": "/".join(["x" * 99] * 3),
    "a dash first": "-rf",
    "brackets": "[abc]*?.json",
    "a line break": "a\nb",
}


@pytest.mark.fault("F23")
@pytest.mark.parametrize("name", PATHS if MANY else ["emoji", "300 characters", "a line break"])
def test_odd_paths(name, zygote, tmp_path, survey):
    place = Place(zygote, tmp_path / PATHS[name])
    bench = place.start(within=str(place.root), die=40)
    assert bench.status() == -signal.SIGKILL
    survey.resumed(place)


FEW_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"


@pytest.mark.fault("F24")
def test_few_open_files(place, survey):
    bench = place.run(prelude=FEW_FILES)
    survey.kept(place)
    survey.same(place)
    survey.tidy(place, bench)


@pytest.mark.slow
@pytest.mark.fault("F24")
@pytest.mark.parametrize("what", ["files", "TMPDIR", "shm"] if MANY else ["files"])
def test_processes_with_few_open_files_or_no_temporary_folder(what, place, survey, tmp_path):
    env = {"TMPDIR": "/nonexistent", "TEMP": "/nonexistent", "TMP": "/nonexistent"} if what == "TMPDIR" else {}
    prelude = FEW_FILES if what == "files" else ""
    if what == "shm":
        probe = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)
        if os.geteuid() or probe.returncode:
            pytest.skip("needs the right to a mount namespace of its own")
        prelude = (
            "import os, subprocess; os.unshare(os.CLONE_NEWNS)\n"
            "subprocess.run(['mount', '--make-rprivate', '/'], check=True)\n"
            "subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4k', 'none', '/dev/shm'], check=True)\n"
            "open('/dev/shm/full', 'wb').write(b'x' * 4096)"
        )
        if not hasattr(os, "unshare"):
            pytest.skip("needs os.unshare")
    bench = place.run("--jobs", "2", executor="processes", env=env, prelude=prelude)
    survey.kept(place)
    survey.same(place)
    survey.tidy(place, bench)


@pytest.mark.fault("F24")
def test_no_temporary_folder(place, survey):
    bench = place.run(env={"TMPDIR": "/nonexistent", "TEMP": "/nonexistent", "TMP": "/nonexistent"})
    survey.kept(place)
    survey.same(place)
    survey.tidy(place, bench)


def test_the_reference_has_as_many_shards_as_the_kit_says(reference):
    assert reference.shards() == SHARDS
    assert len(rows(reference.results)) == 64
