"""While verdicts are made float32 is float32: on a GPU torch's own default rounds what convolutions take to TF32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.catalogue.selection import Selection
from bench.checks.before.preflight import preflight
from bench.datasets.digits import digits
from bench.harness import matrix
from bench.harness.cascade import attack_of
from bench.harness.evaluate import evaluate
from bench.harness.format_choice import choose_formats
from bench.oracle.float32 import exact_float32
from bench.threats import ThreatModel
from bench.types import Defense


def allowed():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


class Witness(nn.Module):
    """A linear classifier that notes whether TF32 may be used, in a file: checks undo what changes in memory."""

    def __init__(self, notes):
        super().__init__()
        self.layer, self.notes = nn.Linear(64, 10), notes

    def forward(self, x):
        with self.notes.open("a") as file:
            file.write(f"{allowed()}\n")
        return self.layer(x.flatten(1))


@pytest.fixture
def user_allows():
    """Settings of a user that are not torch's defaults, and must come back."""
    before = allowed()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    assert allowed() == (True, True)
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_it_holds_inside_and_is_given_back_after_an_error(user_allows):
    """Whatever happens inside, the user's own setting returns."""

    def fails():
        with exact_float32():
            assert allowed() == (False, False)
            return 1 / 0

    with pytest.raises(ZeroDivisionError):
        fails()


@pytest.mark.parametrize("asked", ["evaluate", "preflight", "plan"])
def test_whoever_asks_a_defense_asks_in_float32(asked, user_allows, tmp_path):
    """Verdicts, the checks before them, and what a format is compared with."""
    examples = digits("test").first(16)
    notes = tmp_path / "notes"
    defense = Defense(Witness(notes).eval())
    if asked == "evaluate":
        request = Selection.of("standard", "fgsm", (ThreatModel.parse("Linf:0.1"),))
        (planned,) = matrix.build(request, examples, batch=16)
        evaluate(planned.cell, defense, attack_of(planned.cell.attack), examples)
    elif asked == "preflight":
        preflight(defense, examples)
    else:
        choose_formats(defense, torch.from_numpy(examples.x), seconds=0.05)

    assert set(notes.read_text().splitlines()) == {"(False, False)"}
