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


class Broken:
    name, value = "theirs", "pkg:entry"

    def __init__(self, error):
        self.error = error

    def load(self):
        if isinstance(self.error, BaseException):
            raise self.error
        return self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ImportError("no pkg"), "ImportError: no pkg"),
        (SystemExit(0), "SystemExit: 0"),
        (SyntaxError("bad\x1b[31m\nline"), "SyntaxError: bad [31m line"),
        (AttackEntry("x", "a:A", "", "", ("Linf",), 1), "it is of type AttackEntry, not DefenseEntry"),
        (DefenseEntry("ours", "b:load", "", ""), "defense 'ours' is registered twice"),
    ],
)
def test_a_plug_in_that_does_not_load_is_named_and_left_out(monkeypatch, error, told):
    """Whatever its code does, the others are listed; whoever asks for it is told why it is not there."""
    monkeypatch.setattr("bench.catalogue.registry.importlib.metadata.entry_points", lambda group: [Broken(error)])
    registry = Registry("defense", "bench.defenses")
    registry.add(DefenseEntry("ours", "a:load", "", ""))

    assert registry.names() == ["ours"]
    (line,) = registry.broken
    assert line.startswith("plug-in 'theirs' (pkg:entry) does not load: ")
    assert told in line
    assert line.endswith("; mend or uninstall it")
    with pytest.raises(BenchError) as caught:
        registry.get("theirs")
    assert str(caught.value) == line


def test_lists_and_tables_name_a_broken_plug_in_and_show_the_rest(monkeypatch):
    from bench.catalogue import DEFENSES
    from bench.report.listing import listing
    from bench.report.tables import _left_out

    monkeypatch.setitem(DEFENSES._broken, "theirs", "plug-in 'theirs' (pkg:entry) does not load: it is gone; mend it")
    monkeypatch.setenv("COLUMNS", "200")

    text = listing("defenses")
    assert "atop" in text
    assert text.endswith("plug-in 'theirs' (pkg:entry) does not load: it is gone; mend it")
    assert "theirs" not in listing("attacks")
    assert _left_out() == ["plug-in 'theirs' (pkg:entry) does not load: it is gone; mend it"]
