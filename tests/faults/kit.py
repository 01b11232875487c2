"""What every injected fault is held against: a run that nothing happened to, and a journal of what it acknowledged."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANY = os.environ.get("BENCH_FAULTS") == "many"
# Two cells of four shards of eight images: a third of a second in a process that has imported everything.
ASKED = ("--dataset", "digits", "--defenses", "at", "--threat", "Linf:0.2", "--n", "32", "--batch", "8")
ASKED += ("--checks", "none", "--precision", "float32", "--device", "cpu", "--attacks", "fgsm,pgd-20[steps=3]")
SHARDS, CELLS, SIZE = 8, 2, 8
# What may change from run to run, in documents and in tables.
_PROVENANCE = ("provenance",)
_WALL_CLOCK = ("seconds",)


# Enough time for a signal to come in the middle, whatever the machine: the store waits a little for each shard.
SLOWLY = """
import time
from bench.results.store import Store
add = Store.add_shard
def slow(*given):
    add(*given)
    time.sleep(0.1)
Store.add_shard = slow
"""


def times(few: int, many: int) -> int:
    """How often a fault is injected: in every test run, and where `BENCH_FAULTS=many` is set."""
    return many if MANY else few


class Zygote:
    """The process that forks `bench` processes (`tests/faults/zygote.py`)."""

    def __init__(self) -> None:
        script = str(Path(__file__).with_name("zygote.py"))
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-P", script, "run", *ASKED, "--results", folder, "--executor", "local"]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self._read() == "ready"

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the zygote died"
        return json.loads(line)

    def ask(self, order: Mapping[str, Any]) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        with self.process:  # closes both pipes and waits
            pass


@dataclass
class Bench:
    """A `bench` process, in a session of its own.

    Attributes:
        mark: what the environment of everything that it starts holds.
    """

    zygote: Zygote
    pid: int
    out: Path
    err: Path
    journal: Path
    mark: str
    ended: int | None = None

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def status(self, seconds: float = 60.0) -> int:
        """Wait for its end; fails after so many seconds, and then nothing of it is left."""
        if self.ended is not None:
            return self.ended
        status = self.zygote.ask({"wait": self.pid, "seconds": seconds})
        if status is None:
            for each in (self.pid, *self.family()):
                os.kill(each, 9)
            self.zygote.ask({"wait": self.pid, "seconds": 10})
            raise AssertionError(f"still running after {seconds} s: {self.told}")
        self.ended = int(status)
        return self.ended

    @property
    def printed(self) -> str:
        return self.out.read_text(encoding="utf-8", errors="replace")

    @property
    def told(self) -> str:
        return self.err.read_text(encoding="utf-8", errors="replace")

    def family(self) -> list[int]:
        """The processes that it has started, and these in turn, without itself: they have its session or its mark."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                state, _parent, _group, session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
                marked = self.mark.encode() in (path / "environ").read_bytes()
            except OSError:
                continue
            if (marked or int(session) == self.pid) and state != "Z" and path.name != str(self.pid):
                found.append(int(path.name))
        return found

    def alone(self, seconds: float = 10.0) -> bool:
        """Whether nothing of its session is left, after at most so many seconds."""
        until = time.monotonic() + seconds
        while self.family() and time.monotonic() < until:
            time.sleep(0.02)
        return not self.family()


@dataclass
class Place:
    """A folder to run in: its results, its table, and what was acknowledged there."""

    zygote: Zygote
    root: Path
    started: int = 0

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def table(self) -> Path:
        return self.root / "table.csv"

    def start(self, *more: str, asked: Sequence[str] = ASKED, executor: str = "local", **hooks: Any) -> Bench:
        argv = ["run", *asked, "--executor", executor, "--results", str(self.results), "--csv", str(self.table), *more]
        return self.type(*argv, **hooks)

    def type(self, *argv: str, env: Mapping[str, str | None] | None = None, **hooks: Any) -> Bench:
        """Start any command here."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.started += 1
        out, err, journal = (self.root / f"{self.started}.{name}" for name in ("out", "err", "journal"))
        order = {"argv": argv, "out": str(out), "err": str(err), "journal": str(journal), "cwd": str(self.root)}
        mark = uuid.uuid4().hex
        pid = self.zygote.ask({"start": {**order, "env": {"BENCH_TEST": mark, **(env or {})}, **hooks}})
        return Bench(self.zygote, pid, out, err, journal, mark)

    def run(self, *more: str, **hooks: Any) -> Bench:
        """Run to the end, which is to be a good one."""
        bench = self.start(*more, **hooks)
        status = bench.status()
        assert status == 0, f"status {status}: {bench.told}"
        return bench

    def digest(self) -> dict[str, Any]:
        """What has to be the same whatever happened: tables and documents, without wall clock and provenance."""
        return {"table": without_wall_clock(self.table), **documents(self.results)}

    def strays(self) -> list[Path]:
        """Temporary files and locks."""
        return sorted(
            path for path in self.root.rglob("*") if path.name.startswith(".tmp-") or path.parent.name == "locks"
        )

    def acknowledged(self) -> list[dict[str, Any]]:
        """What all runs here said to have stored, in order; the last line may be cut off."""
        journals = sorted(self.root.glob("*.journal"), key=lambda path: int(path.stem))
        return [told for path in journals for told in acknowledged(path)]

    def lost(self) -> int:
        """How many acknowledged rows are not stored as they were acknowledged."""
        stored = rows(self.results)
        return sum(stored.get(row) != verdict for told in self.acknowledged() for row, verdict in _rows_of(told))

    def shards(self) -> int:
        """How many shards are stored, alone or in a finished cell."""
        return len({(key, index // SIZE) for key, index in rows(self.results)})


def acknowledged(journal: Path) -> list[dict[str, Any]]:
    """What one run said to have stored, in order; the last line may be cut off."""
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _rows_of(told: Mapping[str, Any]) -> list[tuple[tuple[str, int], tuple[int, int]]]:
    first = max(told["first"], 0)
    both = zip(told["clean"], told["adversarial"], strict=True)
    return [((told["key"], first + at), verdict) for at, verdict in enumerate(both)]


def rows(results: Path, size: int = SIZE) -> dict[tuple[str, int], tuple[int, int]]:
    """Every stored verdict, by key and number of the image: read by other means than the store's own."""
    found = {}
    # os.walk, because a run that is watched removes folders, and Path.rglob raises where one vanishes under it.
    walked = (Path(place) / name for place, _, names in os.walk(results) for name in names)
    for path in sorted(path for path in walked if path.suffix == ".json"):
        parts = path.name.split(".")
        if path.name.startswith(".") or path.parent.name in ("runs", "plans", "preflight", "recognized"):
            continue
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:  # a shard that a run, while it is watched, has just made part of its cell
            continue
        if "verdicts" not in document:
            continue
        first = next((int(part[6:]) * size for part in parts if part.startswith("shard-")), 0)
        both = zip(document["verdicts"]["clean"], document["verdicts"]["adversarial"], strict=True)
        for at, (clean, adversarial) in enumerate(both):
            found[document["key"], first + at] = (int(clean), int(adversarial))
    return found


def documents(results: Path) -> dict[str, Any]:
    """All documents without provenance, and the images; runs are named for their time.

    Without shards that a kill has left beside their finished cell, where nothing reads them.
    """
    found: dict[str, Any] = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        if path.name.startswith(".") or name.startswith("runs/") or is_compacted(path):
            continue
        if path.suffix == ".json":
            document = json.loads(path.read_text(encoding="utf-8"))
            found[name] = {key: value for key, value in document.items() if key not in _PROVENANCE}
        elif path.suffix == ".safetensors":
            found[name] = _of_images(path.read_bytes())
    return found


def is_compacted(path: Path) -> bool:
    """Whether a file is a shard beside its finished cell."""
    whole, shard, _ = path.name.rpartition(".shard-")
    return bool(shard) and path.with_name(f"{whole}.json").exists()


def _of_images(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the numbers of a safetensors file, whose header names its metadata in any order."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def without_wall_clock(path: Path) -> bytes:
    """The bytes of a table; without the columns of seconds, as long as there are any."""
    lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    keep = [at for at, name in enumerate(lines[0]) if name not in _WALL_CLOCK]
    if len(keep) == len(lines[0]):
        return path.read_bytes()
    return "\n".join(",".join(line[at] for at in keep) for line in lines).encode()


def verified(results: Path) -> bool:
    """What `bench results verify` says; it refuses a folder that holds no document yet."""
    from bench import api

    return not any(results.rglob("[!.]*.json")) or api.verify(results)[1] == []


class Survey:
    """What a test finds out about its injections, for the line at the end of the session."""

    def __init__(self, reference: Place) -> None:
        self.reference = reference
        self.digest = reference.digest()
        self.injections = self.lost = self.equal = self.compared = 0

    def properties(self) -> dict[str, Any]:
        return {
            "injections": max(self.injections, 1),
            "lost": self.lost,
            "digests": f"{self.equal}/{self.compared}",
        }

    def kept(self, place: Place) -> None:
        """After a fault: every acknowledged row is stored, and everything that is stored is whole."""
        self.injections += 1
        lost = place.lost()
        self.lost += lost
        assert lost == 0
        assert not place.results.is_dir() or verified(place.results)

    def same(self, place: Place) -> None:
        """Tables, documents and images are those of the reference."""
        found = place.digest()
        self.compared += 1
        self.equal += found == self.digest
        differing = {name for name in {*found, *self.digest} if found.get(name) != self.digest.get(name)}
        assert not differing, differing

    def resumed(self, place: Place, **hooks: Any) -> Bench:
        """After a fault: nothing is lost, the same command ends well with the same bytes, and repeats nothing."""
        self.kept(place)
        stored, before = place.shards(), place.strays()
        bench = place.run(**hooks)
        self.same(place)
        assert place.lost() == 0
        assert verified(place.results)
        again = [told for told in acknowledged(bench.journal) if told["first"] >= 0]
        assert len(again) == SHARDS - stored
        self.tidy(place, bench, before)
        return bench

    def tidy(self, place: Place, bench: Bench, before: Sequence[Path] = ()) -> None:
        """Nothing of the run is left; what a killed one has left goes with `prune`, temporary files when old."""
        from bench import api

        assert bench.alone()
        left = place.strays()
        assert set(left) <= set(before)
        assert not [path for path in left if path.parent.name == "locks"]
        left = [path for path in left if path.is_relative_to(place.results)]
        for path in left:
            os.utime(path, (0, 0))
        left += [path for path in place.results.rglob("*.shard-*") if is_compacted(path)]
        pruned = api.prune(place.results)
        assert sorted(pruned) == sorted(left), (pruned, left)


def kind(operation):
    """What an operation does to which kind of file: one of each is tried where not all are."""
    event, _, path = operation.partition(" ")
    name = re.sub(r"\.tmp-(\d+$|[0-9a-f]{8}-)", ".tmp-", path.rpartition("/")[2])
    name = re.sub(r"\d{8}T.*|[0-9a-f]{16,}|shard-[1-9]|fgsm|pgd-20\+steps=3", "*", name)
    return event, name
