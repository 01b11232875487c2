"""What the harness owes on a GPU: the verdicts of the CPU, the same each time, and nothing left behind."""

from __future__ import annotations

import gc
import importlib.util
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import bench.defenses
from bench.attacks.losses import LOSSES
from bench.attacks.minimum_norm.sigma_zero import SigmaZero
from bench.catalogue import ATTACKS
from bench.catalogue.loading import load_attack, load_defense
from bench.catalogue.request import Request
from bench.catalogue.resolve import attack, defense
from bench.catalogue.selection import Selection
from bench.checks.before.preflight import preflight
from bench.datasets.digits import digits
from bench.datasets.examples import Examples
from bench.defenses.training.run import train
from bench.harness import ability, matrix
from bench.harness.conversion import SearchModels, converted
from bench.harness.evaluate import evaluate
from bench.harness.format_choice import choose_formats
from bench.harness.formats import FORMATS, PLAIN, SearchFormats
from bench.harness.task import Task, compute
from bench.harness.verify import Violation
from bench.oracle.oracle import Oracle
from bench.threats import FAMILIES, ThreatModel
from bench.types import Defense, ImageSpec
from tests.gpu.conftest import REAL

pytestmark = pytest.mark.cuda

PAIRS = [(entry.name, family) for entry in ATTACKS if entry.target for family in entry.families]
WEIGHTS = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {path.stem: path for path in WEIGHTS.glob("*.safetensors")}
# Each family at a size that breaks some of the shipped robust network's digits, and leaves some.
SIZES = {"Linf": "Linf:0.25", "L2": "L2:1.4", "L1": "L1:9"}
N = 16


def fewer(ref, **counts):
    """The attack of a reference with few steps where it has a parameter for them."""
    built = load_attack(ref)
    counts = {
        "steps": 10 if isinstance(built, SigmaZero) else 5,
        "queries": 60,
        "targets": 2,
        "eot": 10,
        "n_draws": 40,
        **counts,
    }
    return replace(built, **{name: value for name, value in counts.items() if hasattr(built, name)})


def tinted(part):
    """Digits in color, for the families that are defined for colors alone."""
    tints = 0.55 + 0.45 * np.cos(2 * np.pi * (np.arange(10)[:, None] / 10 + np.array([0, 1 / 3, 2 / 3])))
    x = 0.1 + 0.8 * part.x * tints[part.y][:, :, None, None]
    return Examples("tinted", part.split, part.ids, x.astype(np.float32), part.y, ImageSpec((3, 8, 8), 10))


class Gray(torch.nn.Module):
    """A network for gray images that sees the first channel of those in color."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x[:, :1])


def subject(entry, family):
    """A defense that the entry is for, and its images: the stochastic purifier where an attack needs one."""
    part = digits("test").first(N)
    purified = bool(entry.needs) or "deterministic" in entry.not_for
    name = "atop" if purified and entry.needs != "source" else "at"
    whole = load_defense(defense(Request(name, {}), "digits", None), part.spec)
    if entry.needs == "source":
        other = load_defense(defense(Request("standard", {}), "digits", None), part.spec)
        whole = replace(whole, transfer_source=other)
    if FAMILIES[family].colors:
        return Defense(Gray(whole.model).eval()), tinted(part)
    return whole, part


def asked(name, family, part, *, stochastic):
    """The cell of an attack, and the attack."""
    _, ref = attack(Request(name, {}), "digits", None)
    text = SIZES.get(family) or f"{family}:{FAMILIES[family].usual(part.spec.shape)}"
    request = Selection.of("at", "fgsm", (ThreatModel.parse("Linf:0.2"),))
    (planned,) = matrix.build(request, digits("test").first(N), batch=N)
    cell = planned.cell
    cell = replace(
        cell,
        attack=ref,
        threat=ThreatModel.parse(text),
        defense=replace(cell.defense, stochastic=stochastic),
        draws=4 if stochastic else 1,
    )
    return cell, fewer(ref)


def judged(name, family, device, every=1):
    """The verdicts of a registered attack on a device."""
    entry = ATTACKS.get(name)
    for package in entry.requires:
        pytest.importorskip(package)
    whole, part = subject(entry, family)
    cell, built = asked(name, family, part, stochastic=whole.stochastic)
    return whole, *evaluate(cell, whole, built, part, device=device, search_models=SearchModels(every=every))


def for_every_attack(test):
    return pytest.mark.parametrize(("name", "family"), PAIRS, ids=[" ".join(pair) for pair in PAIRS])(test)


@for_every_attack
def test_every_attack_gives_the_verdicts_of_the_cpu(device, name, family):
    """Looking every eight queries at what is broken; on a real GPU up to a borderline example, and up to its draws."""
    whole, there, images = judged(name, family, device, every=8)
    _, here, _ = judged(name, family, "cpu")

    assert np.isfinite(images.x_adv).all()
    if not REAL:
        assert there.verdicts.adversarial.tolist() == here.verdicts.adversarial.tolist()
        assert there.verdicts.clean.tolist() == here.verdicts.clean.tolist()
    elif whole.stochastic:
        shares = [each.verdicts.adversarial.mean() / each.verdicts.draws for each in (there, here)]
        assert abs(shares[0] - shares[1]) < 0.25
    else:
        assert (there.verdicts.adversarial != here.verdicts.adversarial).sum() <= 1
    whole.model.to("cpu")


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce", "square", "fab-t", "pgd-eot-20", "stadv"])
def test_the_same_cell_is_the_same_bytes(device, name):
    """Determinism on one machine: verdicts, points and the ledger."""
    family = ATTACKS.get(name).families[0]

    _, first, images = judged(name, family, device, every=8)
    _, again, others = judged(name, family, device, every=8)

    assert images.x_adv.tobytes() == others.x_adv.tobytes()
    assert first.verdicts.adversarial.tolist() == again.verdicts.adversarial.tolist()
    assert first.cost == again.cost


def test_every_attack_is_asked_there_whether_it_can_attack(device, monkeypatch):
    """All are able, and of none but noise nothing can be told; one that is not is found out as on a CPU."""
    run, untold = ability._Bench.run, []

    def noted(self, *args, **options):
        tried = run(self, *args, **options)
        untold.extend([] if tried else [self.ref.label])
        return tried

    monkeypatch.setattr(ability, "_known", {})
    monkeypatch.setattr(ability._Bench, "run", noted)
    gray, color = ImageSpec((1, 8, 8), 10), ImageSpec((3, 8, 8), 10)
    for name, family in PAIRS:
        if all(importlib.util.find_spec(package) for package in ATTACKS.get(name).requires):
            _, ref = attack(Request(name, {}), "digits", None)
            threat = ThreatModel.parse(f"{family}:{FAMILIES[family].usual((1, 8, 8))}")
            spec = color if FAMILIES[family].colors else gray
            ability.require_able(ref, partial(load_attack, ref), threat, spec, allowed=0, device=device)

    assert set(untold) <= {"noise"}
    _, ref = attack(Request("pgd-20", {"step_size": "1e-9"}))
    with pytest.raises(Violation, match="V13"):
        ability.require_able(
            ref, partial(load_attack, ref), ThreatModel.parse("Linf:0.2"), gray, allowed=0, device=device
        )


def test_a_gpu_stops_at_most_eight_queries_late(device):
    """What is broken is asked about until the next look, and no longer."""
    _, late, _ = judged("pgd-20", "Linf", device, every=8)
    _, prompt, _ = judged("pgd-20", "Linf", device, every=1)

    extra = np.array(late.ledger.forwards) - np.array(prompt.ledger.forwards)
    assert late.verdicts.adversarial.tolist() == prompt.verdicts.adversarial.tolist()
    assert extra.max() <= 9  # eight queries, and the confirmation


@pytest.mark.parametrize("rows", [1, 40, 2048])
def test_draws_share_forwards_in_chunks_and_mean_the_same(device, rows):
    """The gradient over 20 draws points where that of other draws does, however many share a forward."""
    part = digits("test").first(8)
    whole = load_defense(defense(Request("atop", {}), "digits", None), part.spec)
    whole.model.to(device)
    x, y = torch.from_numpy(part.x).to(device), torch.from_numpy(part.y).to(device)
    every = torch.arange(8, device=device)
    calls = []
    hook = whole.model.register_forward_hook(lambda _module, _given, logits: calls.append(len(logits)))

    def gradient(scope, rows_at_once):
        oracle = Oracle(whole, 8, scope=(scope,), rows_at_once=rows_at_once)
        return oracle.gradient(x, y, LOSSES["ce"], every, eot=20).grad.flatten(1)

    other = gradient("other", 1)
    calls.clear()
    found = gradient("draws", rows)
    hook.remove()

    searched = [size for size in calls if size in (8, 40, 160)]
    assert max(searched) == min(max(rows, 8), 160)
    assert torch.cosine_similarity(found, other, dim=1).mean().item() > 0.5
    whole.model.to("cpu")


@pytest.mark.skipif(not REAL, reason="the memory of a GPU that is not there")
def test_a_cell_leaves_no_memory_behind():
    """What a cell took is free again when it is over: what is left is the network."""
    judged("apgd-ce", "Linf", "cuda")
    gc.collect()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        judged("apgd-ce", "Linf", "cuda")
    gc.collect()

    assert torch.cuda.memory_allocated() <= before + (1 << 20)


def test_every_format_answers_there_and_the_planner_chooses_one(device):
    """The formats of a search are copies on the device of the defense."""
    part = digits("test").first(N)
    whole = load_defense(defense(Request("at", {}), "digits", None), part.spec)
    whole.model.to(device)
    x = torch.from_numpy(part.x).to(device)
    logits = whole.model(x)

    for layout in FORMATS:
        other = converted(whole.model, layout, x[:2])(x)
        assert other.is_cuda
        assert torch.allclose(other, logits, atol=0.5 if layout.half else 1e-3)
    assert choose_formats(whole, x, seconds=0.1).search in FORMATS
    whole.model.to("cpu")


def test_a_task_is_computed_in_another_format_on_the_device(device):
    """As the executor does it, search in bfloat16 and confirmation in float32."""
    part = digits("test").first(N)
    request = Selection.of("at", "core", (ThreatModel.parse("Linf:0.2"),))
    (planned,) = matrix.build(request, part, batch=N)

    report = compute(Task(planned.cell, 0, part, SearchFormats(search=FORMATS[-1])), device, lambda _passed: None)
    plain = compute(Task(planned.cell, 0, part, SearchFormats(search=PLAIN)), "cpu", lambda _passed: None)

    assert report.error == ""
    assert (report.done.verdicts.adversarial != plain.done.verdicts.adversarial).sum() <= 1


@pytest.mark.parametrize("name", ["at", "atop"])
def test_a_defense_is_examined_as_on_a_cpu(device, name):
    """The checks before any attack say the same of a shipped defense."""
    part = digits("test").first(64)
    ref = defense(Request(name, {}), "digits", None)

    there = preflight(load_defense(ref, part.spec), part, digits("validation").first(64), eps=0.2, device=device)
    here = preflight(load_defense(ref, part.spec), part, digits("validation").first(64), eps=0.2)
    load_defense(ref, part.spec).model.to("cpu")

    assert [(each.id, each.verdict) for each in there] == [(each.id, each.verdict) for each in here]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("standard", {"ema": "0.9", "amp": "true", "optimizer": "sgd"}),
        ("at", {"half": "true"}),
        ("at-stadv", {}),
        ("trades", {}),
        ("ap", {"gan_weight": "0.1"}),
        ("atop", {"rt": "3", "amp": "true"}),
        ("diffpure", {}),
    ],
)
def test_every_training_runs_there_and_goes_on_from_its_notes(device, name, changed, tmp_path):
    """Images, noise, masks, discriminators and averages: all made where the network is; a killed one goes on."""
    if name == "diffpure":
        pytest.importorskip("diffusers")

    class Killed(Exception):
        pass

    def kill(progress):
        if progress.step == 4:
            raise Killed

    def run(on_progress=None):
        return train(
            name,
            digits("train").first(64),
            digits("validation").first(32),
            out=tmp_path,
            checkpoints=CHECKPOINTS,
            overrides={"epochs": "3", "batch_size": "32", **changed},
            device=device,
            on_progress=on_progress,
            every=1,
        )

    with pytest.raises(Killed):
        run(kill)
    path = run()

    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts["device"] == "cuda"
    assert "unfinished" not in facts


def test_a_surrogate_of_its_own_comes_along(device):
    """A stand-in for the gradient that shares nothing with the model is asked on the same device."""
    part = digits("test").first(N)
    refs = [defense(Request(name, {}), "digits", None) for name in ("at", "standard", "at-l2")]
    model, other, base = (load_defense(ref, part.spec).model for ref in refs)
    request = Selection.of("at", "bpda", (ThreatModel.parse("Linf:0.2"),))
    _, ref = attack(Request("bpda", {}), "digits", None)
    (planned,) = matrix.build(Selection.of("at", "fgsm", request.threats), part)
    whole = Defense(model, surrogate=other, base=base)

    _, images = evaluate(replace(planned.cell, attack=ref), whole, fewer(ref), part, device=device)

    assert images.x_adv.shape == part.x.shape
    for module in (model, other, base):
        module.to("cpu")
