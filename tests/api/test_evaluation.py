"""`bench.evaluate`: what is at hand is measured as what is registered, and is left as it was."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

import bench
from bench.attacks import FGSM, PGD
from bench.datasets.digits import digits
from bench.threats import ThreatModel
from tests.api.nets import Templates, Watcher, own, right, stepped

QUICK = {"checks": "none", "watcher": Watcher()}


class Untouchable(Templates):
    def forward(self, x):
        raise AssertionError("asked")


def counts(results):
    """Per image, in how many draws it was right without attack and under it."""
    table = results.examples()
    return table["clean"].tolist(), table["adversarial"].tolist()


def test_verdicts_are_those_of_a_loop_by_hand():
    """On images of one's own; what is wrong without attack counts as broken."""
    model, (x, y) = Templates(), own()
    clean = right(model, x, y)
    broken = clean & right(model, stepped(model, x, y, 0.02), y)
    assert 0 < broken.sum() < clean.sum() < len(x)

    results = bench.evaluate(model, "fgsm", "Linf:0.02", dataset=(x, y), **QUICK)

    assert counts(results) == (clean.int().tolist(), broken.int().tolist())
    assert results.accuracy("model").value == pytest.approx(clean.float().mean().item())
    assert results.accuracy("model", "fgsm").value == pytest.approx(broken.float().mean().item())


def test_it_is_the_same_in_memory_and_in_a_file(tmp_path):
    """On the digits, by the numbers of every image."""
    path = tmp_path / "mine.py"
    path.write_text("from tests.api.nets import Templates\n\ndef build():\n    return Templates()\n")
    with_file = bench.run(
        QUICK["watcher"],
        defenses=f"{path}:build",
        attacks="pgd-20[steps=3]",
        threat="Linf:0.02",
        n=16,
        checks="none",
        executor="local",
        results=tmp_path / "results",
    )

    in_memory = bench.evaluate(Templates(), "pgd-20[steps=3]", "Linf:0.02", n=16, **QUICK)

    assert counts(in_memory) == counts(with_file)
    assert list(in_memory.examples()["id"]) == list(digits("test").first(16).ids)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_asked_in_eval_mode_and_is_afterwards_as_it_was(training):
    model = Templates().train(training)
    before = model.weight.detach().clone()

    bench.evaluate(model, "fgsm", "Linf:0.02", dataset=own(), **QUICK)

    assert model.modes == {False}
    assert model.training is training
    assert torch.equal(model.weight, before)
    assert model.weight.grad is None


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (torch.rand(4, 8, 8), torch.zeros(4).long(), r"shape \(4, 8, 8\): give \[n, C, H, W\]"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0).long(), r"give \[n, C, H, W\]"),
        (torch.rand(4, 1, 8, 8) * 2, torch.zeros(4).long(), r"give floats in \[0, 1\]"),
        (torch.full((4, 1, 8, 8), torch.nan), torch.zeros(4).long(), r"give floats in \[0, 1\]"),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4).long(), "x / 255"),
        (torch.rand(4, 1, 8, 8), torch.zeros(3).long(), "give 4 integers from 0"),
        (torch.rand(4, 1, 8, 8), torch.zeros(4), "give 4 integers from 0"),
        (torch.rand(4, 1, 8, 8), torch.full((4,), -1), "give 4 integers from 0"),
    ],
)
def test_wrong_images_and_labels_are_one_line(x, y, said):
    """Before the network is asked, which would say it in words of its own."""
    with pytest.raises(bench.BenchError, match=said) as error:
        bench.evaluate(Untouchable(), "fgsm", "Linf:0.02", dataset=(x, y), **QUICK)

    assert "\n" not in str(error.value)


def test_images_may_be_arrays_or_tensors_that_want_a_gradient():
    x, y = own()
    of_tensors = bench.evaluate(Templates(), "fgsm", "Linf:0.02", dataset=(x.clone().requires_grad_(), y), **QUICK)
    of_arrays = bench.evaluate(Templates(), "fgsm", "Linf:0.02", dataset=(x.double().numpy(), y.numpy()), **QUICK)

    assert counts(of_tensors) == counts(of_arrays)


def test_what_is_no_defense_is_one_line():
    with pytest.raises(bench.BenchError, match=r"3 is no defense: give an nn\.Module"):
        bench.evaluate(3, **QUICK)
    with pytest.raises(bench.BenchError, match="what is in memory is computed here"):
        bench.evaluate(Templates(), executor="processes", **QUICK)


def test_an_attack_that_is_at_hand_is_the_registered_one():
    """A class has the verdicts of its name; a function of one's own has those of what it proposes."""

    def darkened(oracle, x, y, threat, *, stream):
        return (x - float(threat.eps)).clamp(0, 1)

    model, (x, y) = Templates(), own()
    by_name = bench.evaluate(model, "fgsm", "Linf:0.02", dataset=(x, y), **QUICK)
    at_hand = bench.evaluate(model, [FGSM(), darkened], ThreatModel.parse("Linf:0.02"), dataset=(x, y), **QUICK)

    assert [each.cell.attack.label for each in at_hand] == ["fgsm", "darkened"]
    assert counts(at_hand[:1]) == counts(by_name)
    expected = right(model, x, y) & right(model, (x - 0.02).clamp(0, 1), y)
    assert counts(at_hand[1:])[1] == expected.int().tolist()


def test_labels_beyond_the_logits_are_one_line():
    x, y = own()
    with pytest.raises(bench.BenchError, match="label 12 has no logit: the model gives 10"):
        bench.evaluate(Templates(), "fgsm", "Linf:0.02", dataset=(x, y.clone().fill_(12)), **QUICK)


def test_several_models_have_the_names_they_are_given():
    results = bench.evaluate(
        {"one": Templates(), "two": Templates(seed=1)}, "fgsm", "Linf:0.02,L2:0.1", dataset=own(), **QUICK
    )

    found = [(each.cell.defense.label, str(each.cell.threat)) for each in results]
    assert sorted(found) == [("one", "L2:0.1"), ("one", "Linf:0.02"), ("two", "L2:0.1"), ("two", "Linf:0.02")]
    x, y = own()
    for name, seed in (("one", 0), ("two", 1)):
        assert results.accuracy(name).value == pytest.approx(right(Templates(seed=seed), x, y).float().mean().item())


def test_a_stochastic_defense_is_judged_by_its_draws():
    """Whether it says so or not: noise shows itself."""
    noisy = Templates(noise=0.05)
    said = bench.evaluate(bench.Defense(noisy, stochastic=True), "fgsm", "Linf:0.02", dataset=own(), draws=3, **QUICK)
    found = bench.evaluate(noisy, "fgsm", "Linf:0.02", dataset=own(), draws=3, **QUICK)

    (cell,) = said
    assert cell.cell.defense.stochastic
    assert cell.outcome.verdicts.draws == 3
    assert counts(said) == counts(found)
    mean = said.accuracy("model", "fgsm", judge="mean").value
    assert mean == pytest.approx(np.mean(counts(said)[1]) / 3)
    assert said.accuracy("model", "fgsm", judge="worst").value <= mean


def test_with_a_folder_the_same_call_resumes(tmp_path):
    """A network of the same layers, numbers and answers is the same; another one is not."""
    first, second, third = Watcher(), Watcher(), Watcher()
    options = {"dataset": own(), "checks": "none", "results": tmp_path / "kept"}
    before = bench.evaluate(Templates(), "fgsm", "Linf:0.02", watcher=first, **options)

    after = bench.evaluate(Templates(), "fgsm", "Linf:0.02", watcher=second, **options)
    bench.evaluate(Templates(seed=1), "fgsm", "Linf:0.02", watcher=third, **options)

    assert [(each.begun, each.stored) for each in (first, second, third)] == [(1, 0), (0, 1), (1, 0)]
    assert counts(before) == counts(after)


def test_without_a_folder_nothing_is_left_behind(tmp_path, monkeypatch):
    """What is returned keeps what it needs, and no longer than it lives."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    results = bench.evaluate(Templates(), PGD(steps=2), "Linf:0.02", dataset=own(), **QUICK)
    assert len(results.images().adversarial) == 12
    assert list(tmp_path.iterdir()) == [results.store.root]

    del results
    gc.collect()

    assert list(tmp_path.iterdir()) == []
