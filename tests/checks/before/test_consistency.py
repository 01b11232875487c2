"""S05 to S08: one linear model that answers as it would alone, and what each check says once it does not."""

import pytest
import torch
from torch import nn

from bench.checks.before.consistency import fingerprints, grad_mode, history, state, untouched_input
from tests.checks.before.models import Linear, Wrapped, on_the_bench


def counting(self, x, logits):
    """One more for the first class with every query."""
    self.asked = getattr(self, "asked", 0) + 1
    return logits + self.asked * torch.eye(10)[0]


def tiring(self, x, logits):
    """The same, but only from the sixtieth query on."""
    self.asked = getattr(self, "asked", 0) + 1
    return logits + (self.asked > 60) * torch.eye(10)[0]


@pytest.mark.parametrize(
    ("model", "verdict"), [(Linear(), "pass"), (Wrapped(counting), "block"), (Wrapped(tiring), "block")]
)
def test_what_remembers_its_queries_is_blocked_and_what_does_not_passes(model, verdict):
    assert history(on_the_bench(model)).verdict == verdict


def test_a_history_of_answers_that_do_not_repeat_is_not_examined():
    subject = on_the_bench(Linear())
    subject.repeatable = False

    assert history(subject).idle
    assert grad_mode(subject, []).idle


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "pass"), (1e-7, "pass"), (0.5, "block")])
def test_an_answer_must_be_the_same_while_it_is_differentiated(shift, verdict):
    """Beyond rounding: the spread of these logits is about ten."""

    def by_mode(self, x, logits):
        return logits + shift * torch.is_grad_enabled() * torch.eye(10)[0]

    found = grad_mode(on_the_bench(Wrapped(by_mode)), [])

    assert found.verdict == verdict
    assert float(found.value) == pytest.approx(shift, abs=1e-6)


def test_answers_to_a_leaf_are_held_against_those_without_one():
    subject = on_the_bench(Linear())
    other = subject.clean.clone()
    other[3, 2] += 1

    assert grad_mode(subject, [(subject.clean, subject.clean)]).verdict == "pass"
    assert grad_mode(subject, [(subject.clean, other)]).verdict == "block"


def test_a_fingerprint_is_of_every_bit_of_every_tensor_that_a_checkpoint_holds():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU())
    before = fingerprints(model)

    assert set(before) == set(model.state_dict())
    assert fingerprints(model) == before
    with torch.no_grad():
        model[0].bias[0] = torch.nextafter(model[0].bias[0], torch.tensor(9.0))
    changed = fingerprints(model)
    assert [name for name in before if before[name] != changed[name]] == ["0.bias"]


def test_a_weight_that_drifts_is_named():
    subject = on_the_bench(Linear())
    before = fingerprints(subject.model)

    assert state(subject, before).verdict == "pass"
    subject.model.weight[0, 0] += 1

    found = state(subject, before)
    assert (found.verdict, found.message) == ("block", "S07: parameter weight changed during inference")


def test_train_mode_is_blocked_where_it_changes_answers_and_noted_elsewhere():
    """A dropout draws and a batch norm averages; any other layer is only marked."""
    subject = on_the_bench(Linear())
    subject.model.extra = nn.Dropout()
    subject.model.eval()
    subject.model.extra.training = True
    blocked = state(subject, {})
    subject.model.extra = nn.ReLU().train()

    noted = state(subject, {})

    assert blocked.verdict == "block"
    assert (noted.verdict, noted.value) == ("info", "1 in train mode")


def test_queries_that_change_their_images_are_counted():
    """A write into the images, not a copy that is changed."""

    def copying(self, x, logits):
        x = x.clone()
        x[:] = 0
        return logits

    def writing(self, x, logits):
        x[:, :, 0, 0] = 0.123
        return logits

    verdicts = {}
    for how in (copying, writing):
        subject = on_the_bench(Wrapped(how))
        for _ in range(3):
            subject.ask(subject.x)
        verdicts[how.__name__] = untouched_input(subject)

    assert verdicts["copying"].verdict == "pass"
    assert verdicts["writing"].verdict == "block"
    assert verdicts["writing"].value == "3 queries"
