"""Archives of images: plain files below one folder, and nothing else."""

import io
import tarfile

import pytest

from bench.datasets.unpacking import Refused, unpack

ODD = {
    "a symbolic link": ("set/a", tarfile.SYMTYPE),
    "a hard link": ("set/a", tarfile.LNKTYPE),
    "a device": ("set/a", tarfile.CHRTYPE),
    "a pipe": ("set/a", tarfile.FIFOTYPE),
    "an absolute path": ("/set/a", tarfile.REGTYPE),
    "a folder above": ("set/../../a", tarfile.REGTYPE),
    "another folder": ("other/a", tarfile.REGTYPE),
    "a path of Windows": ("set\\..\\a", tarfile.REGTYPE),
    "a drive": ("C:/set/a", tarfile.REGTYPE),
    "a folder elsewhere": ("elsewhere", tarfile.DIRTYPE),
}


def packed(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/passwd", len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_files_and_folders_come_out_as_they_are(tmp_path):
    members = [("set", tarfile.DIRTYPE, b""), ("set/a/b", tarfile.REGTYPE, b"one"), ("set/c", tarfile.REGTYPE, b"")]

    unpack(packed(tmp_path / "a.tgz", members), "set", tmp_path / "out")

    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"set/a/b", "set/c"}
    assert (tmp_path / "out" / "set" / "a" / "b").read_bytes() == b"one"


@pytest.mark.parametrize("what", ODD)
def test_anything_else_is_refused_by_its_name(tmp_path, what):
    name, kind = ODD[what]
    archive = packed(tmp_path / "a.tgz", [("set/b", tarfile.REGTYPE, b"b"), (name, kind, b"")])

    with pytest.raises(Refused, match=r"is a link, a device|does not lie in set/"):
        unpack(archive, "set", tmp_path / "in" / "out")

    assert [path.name for path in (tmp_path / "in").rglob("*")] == ["out", "set", "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tgz", "in"]


@pytest.mark.parametrize("again", ["set/a", "set/A", "set/./a"])
def test_a_file_that_comes_twice_is_refused(tmp_path, again):
    archive = packed(tmp_path / "a.tgz", [("set/a", tarfile.REGTYPE, b"1"), (again, tarfile.REGTYPE, b"2")])

    with pytest.raises(Refused, match="comes twice"):
        unpack(archive, "set", tmp_path / "out")


def test_an_archive_that_unpacks_to_a_hundred_times_its_size_is_refused(tmp_path):
    archive = packed(tmp_path / "a.tgz", [("set/a", tarfile.REGTYPE, bytes(3 << 20))])
    assert archive.stat().st_size * 100 < 3 << 20

    with pytest.raises(Refused, match="more than 100 times its size at 'set/a'"):
        unpack(archive, "set", tmp_path / "out")

    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
