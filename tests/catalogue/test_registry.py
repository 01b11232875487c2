"""The registry: each name once, ours and those of third parties."""

import pytest

from bench.catalogue.registry import AttackEntry, DefenseEntry, Registry
from bench.errors import BenchError


def test_a_name_can_be_registered_only_once():
    registry: Registry[AttackEntry] = Registry("attack", "bench.no-such-group")
    registry.add(AttackEntry("x", "a:A", "", "", ("Linf",), 1))

    with pytest.raises(BenchError, match="registered twice: as a:A and as b:B"):
        registry.add(AttackEntry("x", "b:B", "", "", ("Linf",), 1))


def test_third_parties_register_through_entry_points(monkeypatch):
    class Point:
        name, value = "theirs", "pkg:entry"

        def load(self):
            return DefenseEntry("theirs", "pkg:load", "", "")

    monkeypatch.setattr("bench.catalogue.registry.importlib.metadata.entry_points", lambda group: [Point()])

    assert Registry("defense", "bench.defenses").names() == ["theirs"]


def test_a_plug_in_that_does_not_load_is_named(monkeypatch):
    class Point:
        name, value = "theirs", "pkg:entry"

        def load(self):
            raise ImportError("no pkg")

    monkeypatch.setattr("bench.catalogue.registry.importlib.metadata.entry_points", lambda group: [Point()])

    with pytest.raises(BenchError, match="plug-in 'theirs'"):
        Registry("defense", "bench.defenses").names()
