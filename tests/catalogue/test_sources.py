"""What our code does, as a digest: the same however it is written, another one wherever it does something else."""

from __future__ import annotations

import pytest

from bench.catalogue import sources

MODULE = '''
"""What it is for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from bench.helper import shared
from bench.other import twin

if TYPE_CHECKING:
    from bench.helper import Kind

_STEP = 0.1
_LIMIT = 7


def attack(x, steps: int = 20):
    """Walk."""
    total = 0.0
    for step in range(steps):
        total = total + _grown(x, step) * _STEP
    return torch._foreach_add([total], [shared(x)])


def _grown(x, by):
    if by > _LIMIT:
        raise BenchError(f"{by} is too much: give less")
    return math.sqrt(x) + by


class Walk:
    """Walks."""

    size: float = 1.0

    def _first(self, x):
        self._seen = x
        return self._seen * self.size
'''
HELPER = "CONSTANT = 3\n\n\ndef shared(x):\n    return x * CONSTANT\n\n\ndef twin(x):\n    return x\n"
OTHER = "def twin(x):\n    return -x\n\n\ndef unused():\n    return 0\n"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A package of three modules; calling it with edits gives the digest of `bench.module`."""
    monkeypatch.setattr(sources, "package_folder", lambda _package: tmp_path)

    def digest(files=None, root="bench.module"):
        for path in tmp_path.rglob("*.py"):
            path.unlink()
        for name, text in {"__init__": "", "module": MODULE, "helper": HELPER, "other": OTHER, **(files or {})}.items():
            if text is not None:
                path = tmp_path / f"{name}.py"
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
        forget()
        return sources.digest([root])

    yield digest
    forget()


def forget():
    for cached in (sources._digest, sources.file_of, sources._imports, sources._tree, sources._alone, sources._whole):
        cached.cache_clear()


def edited(old, new, text=MODULE):
    assert old in text
    return text.replace(old, new)


HARMLESS = {
    "a comment": edited("_LIMIT = 7", "# seven\n_LIMIT = 7  # as in the paper"),
    "a docstring": edited('"""Walk."""', '"""Walk on."""'),
    "no docstring": edited('    """Walk."""\n', ""),
    "another line length": edited(
        "total + _grown(x, step) * _STEP", "(\n            total\n            + _grown(x, step) * _STEP\n        )"
    ),
    "a renamed private function": edited("_grown", "_enlarged"),
    "a renamed private constant": edited("_STEP", "_SIZE_OF_A_STEP"),
    "a renamed private method": edited("_first", "_begin"),
    "a renamed private attribute": edited("_seen", "_held"),
    "a renamed local variable": edited("total", "gathered"),
    "an annotation": edited("steps: int = 20", "steps: int | None = 20"),
    "a return type": edited("def _grown(x, by):", "def _grown(x, by) -> float:"),
    "an import for the type checker": edited("import Kind", "import Other"),
    "the words of an error": edited("is too much: give less", "is out of range: give at most 7"),
    "the order of imports": edited(
        "import math\nfrom typing import TYPE_CHECKING\n\nimport torch",
        "import torch\nimport math\nfrom typing import TYPE_CHECKING",
    ),
}
HARMFUL = {
    "a constant": edited("_STEP = 0.1", "_STEP = 0.2"),
    "a default": edited("steps: int = 20", "steps: int = 21"),
    "an operator": edited("by > _LIMIT", "by >= _LIMIT"),
    "a sign": edited("total + _grown", "total - _grown"),
    "another private constant": edited("* _STEP", "* _LIMIT"),
    "another function of a library": edited("math.sqrt", "math.exp"),
    "another private function of a library": edited("torch._foreach_add", "torch._foreach_sub"),
    "another argument": edited("_grown(x, step)", "_grown(step, x)"),
    "a field that is none any more": edited("size: float = 1.0", "size = 1.0"),
    "the same name from another module": edited("from bench.other import twin", "from bench.helper import twin"),
    "a renamed public argument": edited("steps", "count"),
    "no check any more": edited('    if by > _LIMIT:\n        raise BenchError(f"{by} is too much: give less")\n', ""),
}


@pytest.mark.parametrize("edit", HARMLESS)
def test_how_it_is_written_does_not_count(tree, edit):
    before = tree()

    assert HARMLESS[edit] != MODULE
    assert tree({"module": HARMLESS[edit]}) == before


@pytest.mark.parametrize("edit", HARMFUL)
def test_whatever_it_does_otherwise_counts(tree, edit):
    before = tree()

    assert HARMFUL[edit] != MODULE
    assert tree({"module": HARMFUL[edit]}) != before


def test_a_moved_module_is_the_one_it_was(tree):
    """Wherever it lies, and whatever the folder is called."""
    before = tree()

    moved = edited("bench.helper", "bench.room.tools")

    assert tree({"module": moved, "helper": None, "room/tools": HELPER, "room/__init__": ""}) == before
    assert tree({"module": None, "walks": MODULE}, "bench.walks") == before


def test_the_helper_of_a_helper_counts(tree):
    before = tree()

    helper = edited("CONSTANT = 3", "from bench.last import CONSTANT", HELPER)

    first = tree({"helper": helper, "last": "CONSTANT = 3\n"})
    second = tree({"helper": helper, "last": "CONSTANT = 4\n"})
    assert len({before, first, second}) == 3


def test_what_nobody_imports_does_not_count(tree):
    assert tree({"stranger": "x = 1\n"}) == tree()


def test_what_cannot_change_a_verdict_does_not_count(tree, monkeypatch):
    """It is left out by name, with the reason beside it."""
    monkeypatch.setattr(sources, "HARMLESS", {"bench.helper": "messages"})

    assert tree({"helper": edited("CONSTANT = 3", "CONSTANT = 4", HELPER)}) == tree()


def test_what_is_said_to_be_harmless_exists_and_has_a_reason():
    assert all(sources.file_of(name) is not None and reason for name, reason in sources.HARMLESS.items())
