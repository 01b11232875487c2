"""Digests: those of SHA-256, of whole files, and other ones wherever something that counts is other."""

import hashlib
import importlib.metadata

import pytest

from bench.catalogue import identity
from bench.errors import BenchError


def test_digests_are_those_of_sha_256(tmp_path):
    """Of a file in pieces as of its bytes at once, and of text as of its JSON."""
    content = bytes(range(256)) * 5000  # more than one piece
    path = tmp_path / "weights"
    path.write_bytes(content)

    assert identity.of_file(path) == identity.of_bytes(content) == hashlib.sha256(content).hexdigest()
    assert identity.of_text("a", 1) == hashlib.sha256(b'["a", 1]').hexdigest()


def test_the_order_of_keys_is_none_and_that_of_parts_is_one():
    assert identity.of_text({"a": 1, "b": 2}) == identity.of_text({"b": 2, "a": 1})
    assert identity.of_text("a", "b") != identity.of_text("b", "a")
    assert identity.of_text("a", "b") != identity.of_text("ab")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"cannot read '.*nowhere': No such file or directory; check the path"):
        identity.of_file(tmp_path / "nowhere")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody else's; returns its digest after what was written to a file of it."""
    folder = tmp_path / "somebody"
    (folder / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "inner/method.py", "notes.txt"):
        (folder / name).write_bytes(b"x = 1\ny = 2\n")
    monkeypatch.setattr(identity, "package_folder", {"somebody": folder}.__getitem__)

    def digest(name=None, content=b""):
        if name is not None:
            (folder / name).write_bytes(content)
        identity.of_code.cache_clear()
        return identity.of_code("somebody.inner.method:Attack")

    yield digest
    identity.of_code.cache_clear()


def test_the_code_of_somebody_else_is_the_whole_of_its_package(package):
    """Wherever in it the target is; line ends and other files are no code."""
    plain = package()

    assert package("notes.txt", b"z") == plain
    assert package("inner/method.py", b"x = 1\r\ny = 2\r\n") == plain
    assert package("__init__.py", b"x = 2\ny = 2\n") != plain


def test_imports_are_found_wherever_they_stand(tmp_path):
    """Inside a function, and of a name that may be a module itself; a relative one without a module names none."""
    path = tmp_path / "mine.py"
    path.write_text(
        "import os.path as p\nfrom a.b import c, d as e\n\ndef build():\n    import f\n    from . import g\n"
    )

    assert sorted(identity.imported(path)) == ["a.b", "a.b.c", "a.b.d", "f", "os.path"]


def test_requirements_are_their_installed_versions():
    assert identity.of_requirements(["torch"]) == {"torch": importlib.metadata.version("torch")}
    with pytest.raises(BenchError, match="package 'no-such-thing' is not installed: pip install no-such-thing"):
        identity.of_requirements(["torch", "no-such-thing"])
