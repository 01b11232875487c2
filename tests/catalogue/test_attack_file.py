"""Files that compose an attack: what they say is what runs, and nothing else of them is its identity."""

import pytest

from bench.catalogue import resolve
from bench.catalogue.attack_file import as_toml, in_turn, require_name
from bench.catalogue.request import parse_list, parse_one
from bench.catalogue.selection import Selection
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.harness import matrix
from bench.threats import ThreatModel

TWO = ["pgd-20[loss=mean,steps=5]", "square[queries=50]"]


@pytest.fixture
def file(tmp_path):
    def write(text, name="found.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def cell(path, defense="standard", threat="Linf:0.2"):
    """The cell of a file, as a run plans it."""
    selection = Selection.of(defense, str(path), (ThreatModel.parse(threat),))
    (planned,) = matrix.build(selection, digits("test").first(4))
    return planned


def test_what_is_written_is_read_again(file):
    """Names, parameters and their order; text with quotes, backslashes and line ends in the record does no harm."""
    record = {"defense": './a "b"\\c.py:build\n', "budget": 10, "accuracy": 0.5}

    path = file(as_toml(TWO, record))

    assert [stage.label for stage in cell(path).cell.attack.stages] == TWO
    assert cell(path).cell.attack.label == "found"
    assert cell(path).parts == ()


def test_comments_and_the_record_are_no_part_of_its_identity(file):
    plain = cell(file(f"attacks = {TWO}")).cell
    told = cell(file(f"# found\nattacks = [{TWO[0]!r},\n  {TWO[1]!r}]\n[search]\nbudget = 3\n")).cell

    assert told.key == plain.key


@pytest.mark.parametrize(
    "other", [TWO[::-1], TWO[:1], ["pgd-20[loss=mean,steps=6]", TWO[1]], [TWO[0], "square[queries=51]"]]
)
def test_its_attacks_their_parameters_and_their_order_are(file, other):
    assert cell(file(f"attacks = {other}")).cell.key != cell(file(f"attacks = {TWO}")).cell.key


def test_an_attack_that_is_made_of_the_same_parts_is_another_one():
    """A worst case of columns, each on all images, is not the same as attacks in turn."""
    found = in_turn("autoattack-rand", parse_list("apgd-ce,apgd-dlr", "attack"))
    registered = resolve.entry(parse_one("autoattack-rand", "attack"))

    digests = {resolve.composite(each, "stochastic", lambda _: True, "Linf")[0].digest for each in (found, registered)}

    assert len(digests) == 2


def test_it_is_skipped_where_one_of_its_attacks_is_undefined_with_the_reason(file):
    """A worst case leaves such a part out; a file is run as it is or not at all."""
    path = file('attacks = ["pgd-20", "square"]')

    assert cell(path).skip is None
    assert "trusts single answers" in cell(path, defense="atop").skip
    assert "needs a bpda variant" in cell(file('attacks = ["bpda"]')).skip


def test_its_passes_are_those_of_its_attacks_and_draws_count():
    entry = in_turn("found", parse_list("pgd-20[eot=4],across-draws", "attack"))

    whole, _ = resolve.composite(entry, "stochastic", lambda _: True, "Linf")

    assert (whole.forwards, whole.backwards) == (4 * 21 + 430, 4 * 21 + 340)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attacks = []", "attacks is .*give a list of names"),
        ("attacks = 'pgd-20'", "give a list of names"),
        ("attacks = [1]", "give a list of names"),
        ("", "attacks is None: give a list of names"),
        ("attack = ['pgd-20']", "unknown key"),
        ("attacks = ['pgd-21']", "unknown attack 'pgd-21'"),
        ("attacks = ['pgd-20', 'pgd-20']", "named twice"),
        ("attacks = ['./mine.py:attack']", "is a file: name registered attacks only"),
        ("attacks = ['./other.toml']", "is a file: name registered attacks only"),
        ("attacks = ['adaptive']", "is made of other attacks"),
        ("attacks = ['transfer']", "attacks another defense"),
        ("attacks = ['pgd-20', 'stadv']", "no threat family in common"),
        ("attacks = ['pgd-20[steps=0]']", "steps must be at least 1"),
        ("attacks = ['pgd-20[", "not TOML"),
    ],
)
def test_what_is_no_list_of_registered_attacks_is_refused_in_one_line(file, text, said):
    with pytest.raises(BenchError, match=said) as refused:
        cell(file(text))

    assert "\n" not in str(refused.value)


def test_names_that_would_be_mistaken_are_refused(file, tmp_path):
    """Of a registered attack, of two files alike, of a file with parameters, and of none at all."""
    good = file(f"attacks = {TWO}")
    (tmp_path / "b").mkdir()
    other = file(f"attacks = {TWO[:1]}", "b/found.toml")

    for named, said in (
        (file(f"attacks = {TWO}", "adaptive.toml"), "called like the attack 'adaptive'"),
        (f"{good},{other}", "two attacks are both called 'found'"),
        (f"{good}[steps=3]", "has no parameters|is not found"),
        (tmp_path / "none.toml", "is not found"),
    ):
        with pytest.raises(BenchError, match=said):
            cell(named)


@pytest.mark.parametrize(
    ("name", "said"),
    [("found.json", "must end in .toml"), ("a,b.toml", "leave out brackets"), ("adaptive.toml", "is called like")],
)
def test_a_file_that_could_not_be_named_is_not_written(tmp_path, name, said):
    with pytest.raises(BenchError, match=said):
        require_name(tmp_path / name)
