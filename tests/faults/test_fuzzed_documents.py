"""Stored documents that are not as they were written, or were never written by this package: one line, or a table.

A document is changed somewhere in its structure. Left with its old digest it is refused by that, and the message names
the file. Sealed anew, as another program or a hand would, it has whatever type it has: every command that reads the
folder must answer all the same.
"""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.results import documents
from tests.faults.fuzz import MANY, examples, told

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

READERS = [
    ["table", "--results", "other"],
    ["table", "--checks", "--results", "other"],
    ["table", "--cost", "--results", "other"],
    ["table", "--json", "--results", "other"],
    ["leaderboard", "--results", "other"],
    ["leaderboard", "--measures", "--results", "other"],
    ["gate", "--baseline", "good", "--results", "other", "--allow-underpowered"],
    ["gate", "--baseline", "other", "--results", "good", "--junit", "a.xml", "--markdown", "a.md"],
    ["history", "good", "other"],
    ["history", "other"],
    ["compare", "at", "atop", "--results", "other"],
    ["compare", "at", "--with", "good", "--results", "other"],
    ["results", "list", "--results", "other"],
    ["results", "verify", "--results", "other"],
    ["results", "prune", "--dry-run", "--results", "other"],
    ["images", "at", "fgsm", "--results", "other", "--out", "images"],
    ["baseline", "update", "--baseline", "good", "--results", "other", "--dry-run"],
    ["baseline", "show", "--baseline", "other"],
]
SLOW = [
    ["report", "--results", "other", "--html", "a.html"],
    ["plot", "matrix", "--results", "other", "--out", "a.svg"],
]


def _nested(depth):
    made = []
    for _ in range(depth):
        made = [made]
    return made


WRONG = st.sampled_from(
    [
        *(None, True, False, -1, 0, 1, 255, 256, 10**6, 2**63, 10**30, 1.5, -0.5, float("nan"), float("inf")),
        *(
            "",
            "x",
            "0" * 500,
            "a" * 10_000,
            "\ud800",
            "\u202e<script>",
            "a\nb",
            "\x1b[31m",
            "../../x",
            "Linf:8",
            "L2:1",
        ),
        *([], {}, [[]], [1], ["x"], [None], {"a": 1}, _nested(40), _nested(300), "block", "S99"),
    ]
)


def _places(value, at=()):
    """Every place in a document but its digest; of a long list the first."""
    if at:
        yield at
    if isinstance(value, dict):
        for name in value:
            if (*at, name) != ("digest",):
                yield from _places(value[name], (*at, name))
    elif isinstance(value, list):
        for index, each in enumerate(value[:5]):
            yield from _places(each, (*at, index))


@st.composite
def changed(draw, document):
    """A copy of a document with one to three changes."""
    made = json.loads(json.dumps(document))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        places = list(_places(made))
        if not places:
            break  # the last thing in it was removed
        *path, last = draw(st.sampled_from(places))
        held = made
        for name in path:
            held = held[name]
        how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "repeat", "wrap", "nudge"]))
        if how == "remove":
            del held[last]
        elif how == "wrap":
            held[last] = [held[last]]
        elif how == "rename" and isinstance(held, dict):
            held[f"{last}x"] = held.pop(last)
        elif how == "repeat" and isinstance(held[last], list | str):
            held[last] = held[last] * 2
        elif how == "nudge" and isinstance(held[last], int) and not isinstance(held[last], bool):
            held[last] += draw(st.sampled_from([-100, -1, 1, 100]))
        else:
            # A copy: a later change may go into it, and the next example takes it again.
            held[last] = json.loads(json.dumps(draw(WRONG)))
    return made


def _sealed(document):
    """A document with a digest that matches, as a program that knows the format writes it."""
    if document.get("format") == 1:
        whole = {"key", "verdicts", "cost"} <= set(document)
        return {**document, "digest": documents._digest_of_first_format(document)} if whole else document
    made = document.get("provenance")
    told = {**document, "digest": documents._digest(document)}
    return {**told, "provenance": documents._sealed(made)} if isinstance(made, dict) and made else told


def _covering(document):
    """The digest that covers a document: in format 1 that of a cell says nothing of its provenance and evidence."""
    of_cell = document.get("format") == 1 and {"key", "verdicts", "cost"} <= set(document)
    return documents._digest_of_first_format(document) if of_cell else documents._digest(document)


@pytest.fixture(params=["format-3", "format-1"] if MANY else ["format-3"])
def stored(request, tmp_path, monkeypatch):
    """The documents of a small results folder, beside a copy that may be changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    shutil.copytree(GOLDEN / request.param, "good")
    shutil.copytree("good", "other")
    return sorted(path.relative_to("good") for path in Path("good").rglob("*.json"))


def _answer(place, commands):
    """Ask every command; return those that refused, none of them without the name of the document."""
    refused = [words[:2] for words in commands if _refuses(words, place)]
    assert Path("good", place).read_bytes() is not None
    return refused


def _refuses(words, place):
    status, _, err = told(words)
    if status == 2 and err.startswith("bench: "):
        # Some commands have nothing to say of this folder whatever it holds; the others name the document or its cell.
        assert place.name in err or "other" in err or ": " in err, err
        return True
    return False


@pytest.mark.bad_input("B40")
def test_a_sealed_document_of_any_shape_is_read_or_named(stored, record_property):
    tried = []

    @examples(14, 600)
    @given(st.data())
    def fuzz(data):
        place = data.draw(st.sampled_from(stored))
        original = Path("good", place).read_text()
        try:
            text = json.dumps(_sealed(data.draw(changed(json.loads(original)))))
        except RecursionError:
            return  # no program could seal it
        tried.append(place)
        Path("other", place).write_text(text)
        try:
            _answer(place, READERS if MANY else READERS[len(tried) % 3 :: 3])
            _answer(place, SLOW if MANY and len(tried) % 4 == 0 else [])
        finally:
            Path("other", place).write_text(original)

    fuzz()
    record_property("injections", len(tried))


@pytest.mark.bad_input("B40")
def test_a_document_that_was_changed_is_named_by_every_reader(stored, record_property):
    """Without a new digest no change gets into a table."""
    table = told(READERS[0])[1]
    tried = []

    @examples(20, 600)
    @given(st.data())
    def fuzz(data):
        place = data.draw(st.sampled_from(stored))
        original = json.loads(Path("good", place).read_text())
        document = data.draw(changed(original))
        told_of = [each for each in (original, document) if each.get("format", 1) != 1 or "verdicts" in each]
        if _covering(document) == _covering(original) or len(told_of) < 2:
            return  # what is outside the digest is provenance, or of a format without one
        tried.append(place)
        Path("other", place).write_text(json.dumps(document))
        try:
            status, out, err = told(READERS[0])
            assert (status == 2 and place.name in err) or out == table
            assert told(READERS[13])[0] == 1
        finally:
            Path("other", place).write_text(json.dumps(original, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    fuzz()
    record_property("injections", len(tried))


BYTES = {
    "nested": b"[" * 200_000,
    "nested tables": b'{"format": 3, "a": ' * 100_000,
    "no text": b"\xff\xfe\x00",
    "nothing": b"",
    "a number of 5000 digits": b'{"format": ' + b"9" * 5000 + b"}",
    "a page": b"<!doctype html>",
    "half": b'{"format": 3, "key": "',
    "null": b"null",
    "a list": b"[]",
    "a format that is no number": b'{"format": "3"}',
    "a newer format": b'{"format": 4}',
    "an older format": b'{"format": -1}',
    "true": b'{"format": true}',
    "NUL": b"\0" * 100,
}


@pytest.mark.bad_input("B40")
@pytest.mark.parametrize("content", BYTES)
def test_bytes_that_are_no_document_are_named(content, stored, record_property):
    record_property("injections", len(stored))
    for place in stored:
        original = Path("other", place).read_bytes()
        Path("other", place).write_bytes(BYTES[content])

        status, _, err = told(["results", "verify", "--results", "other"])
        assert status == 1
        assert str(place) in err
        for words in (READERS[0], READERS[6]):
            status, _, err = told(words)
            assert status in (0, 2)
            assert status == 0 or place.name in err
        Path("other", place).write_bytes(original)


@pytest.mark.bad_input("B40")
def test_images_that_are_no_images_are_named(stored, record_property):
    tried = []
    (place,) = [path.relative_to("good") for path in Path("good").rglob("*.safetensors")]
    original = Path("good", place).read_bytes()

    @examples(25, 600)
    @given(st.data())
    def fuzz(data):
        at = data.draw(st.integers(0, len(original) - 1))
        how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        content = {
            "flip": original[:at] + bytes([original[at] ^ data.draw(st.integers(1, 255))]) + original[at + 1 :],
            "cut": original[:at],
            "insert": original[:at] + b"\0" + original[at:],
        }[how]
        tried.append(at)
        Path("other", place).write_bytes(content)
        status, _, err = told(["images", "at", "fgsm", "--results", "other", "--out", "images"])
        assert status == 2
        assert place.name in err

    fuzz()
    record_property("injections", len(tried))
