"""Freed memory stays with the process, counted in page faults in a process of its own; files are written whole."""

import json
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.machine import system as _system

SCRIPT = """
import json, resource
from bench.machine import system as _system

def faults():
    def batch():
        return [b"x" * (8 << 20) for _ in range(4)]
    batch(), batch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        batch()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 5

usual = faults()
print(json.dumps([_system.keep_freed(), usual, faults()]))
"""


def measured(**environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**{name: value for name, value in os.environ.items() if "MALLOC" not in name}, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such thresholds")
def test_memory_that_was_freed_takes_no_page_faults_again():
    kept, usual, after = measured()

    assert kept
    assert usual > 1000
    assert after < usual / 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such thresholds")
@pytest.mark.parametrize(
    "theirs", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_thresholds_that_the_user_has_set_are_left_alone(theirs):
    kept, usual, after = measured(**theirs)

    assert not kept
    assert after == pytest.approx(usual, rel=0.1)


def test_another_c_library_is_left_alone(monkeypatch):
    from bench.machine import system as _system

    monkeypatch.setattr(_system.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(_system.ctypes, "CDLL", None)

    assert _system.keep_freed() is False


def test_a_processor_is_told_by_its_name_and_the_extensions_that_formats_gain_from(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_bf16\n")
    monkeypatch.setattr(_system, "_CPUINFO", tmp_path / "cpuinfo")

    assert _system.describe() == "Some CPU (avx2, avx512_bf16)"


WRITER = """
import sys
from pathlib import Path
from bench.machine.system import write_whole

for _ in range(200):
    write_whole(Path(sys.argv[1]), sys.argv[2].encode() * 50_000)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_its_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "file"

    _system.write_whole(path, b"old")
    _system.write_whole(path, b"new")

    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file"]


def test_where_writing_is_interrupted_the_old_file_stays_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted():
        with _system.whole(path) as file:
            file.write(b"half of")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.fault("F07")
def test_a_full_disk_takes_nothing_away(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(OSError, match="No space left"):
        _system.write_whole(path, b"new")

    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(tmp_path, monkeypatch):
    path, seen = tmp_path / "file", []
    real = os.fsync

    def fsync(descriptor):
        if os.name == "posix" and os.fstat(descriptor).st_ino == tmp_path.stat().st_ino:
            seen.append(("folder", path.exists()))
        else:
            seen.append((os.fstat(descriptor).st_size, path.exists()))
        real(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    _system.write_whole(path, b"twelve bytes")

    assert seen == [(12, False), ("folder", True)][: 2 if os.name == "posix" else 1]


@pytest.fixture
def synced(monkeypatch):
    """Whatever is brought to the disk, in order: the number of its inode."""
    seen, real = [], os.fsync

    def fsync(descriptor):
        seen.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    return seen


@pytest.mark.skipif(os.name != "posix", reason="folders are not brought to the disk here")
def test_the_names_of_several_files_may_be_brought_to_the_disk_at_once(tmp_path, synced):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        _system.write_whole(path, b"whole", lasting=False)
    _system.keep_names(tmp_path)

    assert synced == [path.stat().st_ino for path in (*paths, tmp_path)]


@pytest.mark.skipif(os.name != "posix", reason="folders are not brought to the disk here")
def test_a_folder_that_is_made_for_a_file_has_its_name_on_the_disk_before_the_file(tmp_path, synced):
    path = tmp_path / "new" / "newer" / "file"

    _system.write_whole(path, b"whole")

    assert sorted(synced[:2]) == sorted([tmp_path.stat().st_ino, (tmp_path / "new").stat().st_ino])
    assert synced[2:] == [path.stat().st_ino, path.parent.stat().st_ino]


def test_the_temporary_file_is_in_the_same_folder_and_known_as_a_stray(tmp_path):
    """`bench results prune` removes what a killed run left, by its name."""
    with _system.whole(tmp_path / "file"):
        (name,) = names(tmp_path)

    assert name.startswith(".tmp-")
    assert name.endswith("-file")


def test_a_thread_that_writes_the_same_file_does_not_disturb(tmp_path):
    path = tmp_path / "file"

    with _system.whole(path) as first:
        first.write(b"first")
        with _system.whole(path) as second:
            second.write(b"the second")
        assert path.read_bytes() == b"the second"

    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["file"]


def test_processes_that_write_the_same_file_leave_the_whole_of_one(tmp_path):
    path = tmp_path / "file"
    _system.write_whole(path, b"a" * 50_000)

    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        content = path.read_bytes()
        assert content in (b"a" * 50_000, b"b" * 50_000)

    assert [writer.returncode for writer in writers] == [0, 0]
    assert names(tmp_path) == ["file"]


def test_without_the_file_of_a_driver_no_gpu_is_looked_for(monkeypatch, tmp_path):
    """Torch is not asked, which would be imported for that; where it is there already, it is asked."""
    monkeypatch.setattr(_system.sys, "platform", "linux")
    monkeypatch.setattr(_system, "_GPUS", (tmp_path / "nvidiactl",))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not _system.may_have_gpu()

    (tmp_path / "nvidiactl").touch()
    assert _system.may_have_gpu()
    (tmp_path / "nvidiactl").unlink()

    monkeypatch.setitem(sys.modules, "torch", object())
    assert _system.may_have_gpu()
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(_system.sys, "platform", "win32")
    assert _system.may_have_gpu()


def test_memory_is_that_of_the_machine_or_less_where_a_container_has_less(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:       2048 kB\nMemFree:  1 kB\n")
    (tmp_path / "max").write_text("max\n")
    monkeypatch.setattr(_system, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(_system, "_LIMITS", (tmp_path / "max", tmp_path / "none"))
    assert _system.memory() == 2048 * 1024

    (tmp_path / "max").write_text("1000000\n")
    assert _system.memory() == 1_000_000
    monkeypatch.setattr(_system, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(_system, "_LIMITS", ())
    assert _system.memory() is None


def test_code_of_users_comes_back_to_the_working_directory(tmp_path):
    before = Path.cwd()

    def leaves():
        with _system.staying():
            os.chdir(tmp_path)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        leaves()
    assert Path.cwd() == before


def test_threads_that_start_processes_at_once_leave_the_main_module_and_the_environment_as_they_were(monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    main, first_is_in = sys.modules["__main__"], threading.Event()

    def first():
        with _system.own_process():
            first_is_in.set()
            second_is_in.wait(0.3)

    second_is_in = threading.Event()

    def second():
        first_is_in.wait()
        with _system.own_process():
            second_is_in.set()
            one.join(0.3)

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start(), two.start()
    one.join(), two.join()

    assert sys.modules["__main__"] is main
    assert "PYTHONSAFEPATH" not in os.environ
