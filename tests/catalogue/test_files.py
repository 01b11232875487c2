"""Users' files: built apart, and what is known of one that cannot be or must not be."""

import pytest

from bench.catalogue import files
from bench.catalogue.request import parse_one
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.machine.isolation import Answer, Call, Elsewhere, End
from bench.threats import FAMILIES

SPEC = digits("test").spec
FILE = """
import torch
from torch import nn

def build(width=10):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width))
"""


@pytest.fixture
def item(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    return parse_one(f"{tmp_path / 'mine.py'}:build", "defense")


def test_a_file_is_built_once_however_often_it_is_named(item):
    found = files.built([item, item], "defense_ref", SPEC)

    assert list(found) == [item.label]
    assert files.defense(item, found).label == "mine"
    assert files.defense(item, found).answers


def test_of_a_file_that_is_not_to_be_executed_its_bytes_are_known(item):
    ref = files.defense(item, None)
    assert (ref.label, ref.answers, ref.broken) == ("mine", "", "")
    entry, attack = files.attack(item, None)
    assert entry.families == tuple(FAMILIES)
    assert attack.digest == ref.digest

    item.path.write_text(FILE + "# changed")
    assert files.defense(item, None).digest != ref.digest
    item.path.unlink()
    with pytest.raises(BenchError, match=r"^no file "):
        files.defense(item, None)


def test_code_that_ends_its_process_leaves_a_reference_that_says_so_and_an_error_is_a_mistake(item):
    def became(end):
        return {item.label: Answer(Call("m:f", guest=item.name), error=Elsewhere("it is gone", end))}

    assert files.defense(item, became(End.DIED)).broken == "it does not load: it is gone"
    assert files.attack(item, became(End.HUNG))[1].broken == "it does not load: it is gone"
    with pytest.raises(BenchError, match=r"does not load: it is gone; mend the file$"):
        files.defense(item, became(None))
