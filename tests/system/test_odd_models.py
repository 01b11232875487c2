"""Models of other makes: without a graph, in other types, exported; each is measured, or told in one line."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from bench.cli import main

MODELS = """
    import warnings
    import torch
    from torch import nn
    from bench.catalogue.weights import locate
    from bench.defenses.at import load
    from bench.types import ImageSpec

    def net():
        return load(checkpoints={"at": locate("at", "digits", None)}, spec=ImageSpec((1, 8, 8), 10)).model

    class Around(nn.Module):
        def __init__(self, inner, forward):
            super().__init__()
            self.inner, self.do = inner, forward

        def forward(self, x):
            return self.do(self.inner, x)

    def runtime():  # as a session of another runtime: numbers in, numbers out
        def session(inner, x):
            with torch.no_grad():
                return torch.from_numpy(inner(torch.from_numpy(x.numpy().copy())).numpy())
        return Around(net(), session)

    def without_grad():
        return Around(net(), lambda inner, x: inner(x.detach()))

    def shy():
        return Around(net(), lambda inner, x: inner(x if len(x) in (1, 12, 130) else x.detach()))

    def double():
        return Around(net().double(), lambda inner, x: inner(x.double()))

    def far():  # from zero: in float32 all of its logits are equal
        return Around(net().double(), lambda inner, x: inner(x.double()) + 1e8)

    def bfloat16():
        return Around(net().bfloat16(), lambda inner, x: inner(x.bfloat16()))

    def int8():  # with scales of activations settled beforehand; by the batch at hand they would be S04's business
        from torch.ao import quantization
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            layers = nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
            model = nn.Sequential(quantization.QuantStub(), *layers, quantization.DeQuantStub()).eval()
            model.qconfig = quantization.default_qconfig
            quantization.prepare(model, inplace=True)(torch.rand(64, 1, 8, 8))
            return quantization.convert(model)

    def scripted():
        return torch.jit.trace(net(), torch.rand(4, 1, 8, 8))

    def exported():
        rows = torch.export.Dim("rows", min=1)
        return torch.export.export(net(), (torch.rand(4, 1, 8, 8),), dynamic_shapes=({0: rows},)).module()

    def meta():
        return net().to("meta")
"""
LINE = "no gradient: use square, rays or a surrogate"


@pytest.fixture(autouse=True)
def _models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("odd.py").write_text(textwrap.dedent(MODELS))


def run(defenses, attacks, *more):
    options = ["--threat", "Linf:0.2", "--n", "12", "--executor", "local", *more]
    return main(["run", "--defenses", defenses, "--attacks", attacks, *options])


def robust(defense, attack):
    """Examples that stand, by the stored verdicts."""
    documents = [json.loads(path.read_text()) for path in Path("bench-results/digits").rglob(f"{attack}.*.json")]
    (found,) = [each for each in documents if each["cell"]["defense"]["label"] == defense]
    return found["verdicts"]["adversarial"].count("1")


@pytest.mark.parametrize("name", ["runtime", "without_grad"])
def test_without_a_gradient_autoattack_is_what_remains_of_it(name, capsys):
    """Square's number, and the other defense's, and one line that says so; the run is complete."""
    assert run(f"at,./odd.py:{name}", "autoattack") == 0

    out, err = capsys.readouterr()
    assert robust(f"odd:{name}", "autoattack") == robust("at", "autoattack")
    told = [line for line in out.splitlines() if "there is no gradient for apgd-ce, apgd-t, fab-t" in line]
    assert len(told) == 1
    assert "FAIL" not in err
    assert "A03" not in out


def test_a_worst_case_of_columns_is_what_remains_of_it_too(capsys):
    """Where its parts are columns of their own, those by gradient say what to run instead."""
    assert run("./odd.py:without_grad", "autoattack,apgd-ce,apgd-t,fab-t,square") == 3

    out, err = capsys.readouterr()
    assert "there is no gradient for apgd-ce, apgd-t, fab-t" in out
    assert sum(line.startswith("FAIL") and line.endswith(LINE) for line in err.splitlines()) == 3
    assert robust("odd:without_grad", "autoattack") == robust("odd:without_grad", "square")


def test_an_attack_by_gradient_says_what_to_run_instead_and_the_others_go_on(capsys):
    assert run("./odd.py:runtime,at", "pgd-20,square[queries=100]") == 3

    out, err = capsys.readouterr()
    assert f"FAIL odd:runtime x pgd-20 (Linf:0.2): {LINE}" in err.splitlines()
    assert robust("at", "pgd-20") >= 0
    assert "S09: no usable gradient on 12/12" in out


def test_without_a_gradient_under_attack_the_number_has_a_mark_of_its_own(capsys):
    """Whatever the preflight saw: here a batch of an attack loses the gradient that the checks were shown."""
    assert run("./odd.py:shy", "autoattack", "--n", "13") == 0

    out = capsys.readouterr().out
    assert "S09: no gradient under attack: autoattack without apgd-ce, apgd-t, fab-t" in out
    assert any("!" in line for line in out.splitlines() if line.startswith("odd:shy"))


def test_core_goes_on_to_its_reserve(capsys):
    """No gradient is an alarm: Square is run on all that stand."""
    assert run("./odd.py:without_grad", "core") == 0

    assert "attacked" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["double", "far", "exported", "scripted"])
def test_a_network_of_another_make_has_the_number_of_the_network(name):
    """The same weights in float64, far from zero, exported or traced: the same verdicts, but for one image at most."""
    assert run(f"at,./odd.py:{name}", "pgd-20,apgd-ce") == 0

    for attack in ("pgd-20", "apgd-ce"):
        assert abs(robust(f"odd:{name}", attack) - robust("at", attack)) <= 1


def test_bfloat16_is_measured():
    assert run("./odd.py:bfloat16", "pgd-20,square[queries=100]") == 0


def test_int8_is_measured_without_a_gradient():
    assert run("./odd.py:int8", "autoattack") == 0


def test_weights_without_numbers_are_told_in_one_line(capsys):
    assert run("./odd.py:meta", "pgd-20") == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert "on the device 'meta', which holds no numbers" in line
