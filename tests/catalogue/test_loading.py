"""A purifier before somebody else's classifier: of a file, or of another library."""

import numpy as np
import pytest
import torch
from torch import nn

from bench import _compat
from bench.catalogue import selection
from bench.catalogue.loading import load_defense
from bench.catalogue.refs import DefenseRef
from bench.catalogue.weights import locate
from bench.cli import main
from bench.datasets.digits import digits
from bench.datasets.examples import Examples
from bench.defenses import purification
from bench.types import ImageSpec

CIFAR = ImageSpec((3, 32, 32), 10)
OWN = """
import torch
from torch import nn
from bench.types import Defense, ThreatModel

SCALE = {scale}

class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)

def build():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        net[1].weight.copy_(SCALE * torch.linspace(-1, 1, 640).view(10, 64))
        net[1].bias.zero_()
    return Defense(net, trained_on=(ThreatModel.parse("L2:1"),))

def noisy():
    return nn.Sequential(Noise(), build().model)
"""


def one(text, examples, weights=None):
    """The only defense that a list names, with its reference."""
    (ref,) = selection.defenses(text, examples, weights)
    return ref, load_defense(ref, examples.spec)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A classifier of one's own in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN.format(scale=3.0))
    return "./mine.py:build"


@pytest.fixture
def color():
    random = np.random.default_rng(0)
    labels = np.arange(10, dtype=np.int64)
    return Examples(
        "cifar10", "test", [*map(str, range(10))], random.random((10, 3, 32, 32), np.float32), labels, CIFAR
    )


@pytest.mark.parametrize("name", ["ap[classifier={}]", "atop[classifier={},rt=1]", "atop[classifier={},ft=off,rt=3]"])
def test_its_answers_are_those_of_the_classifier_on_purified_images(mine, name):
    """With the same draws, the pipeline is the one function after the other."""
    ref, defense = one(name.format(mine), digits("test").first(8))
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))

    torch.manual_seed(5)
    whole = defense.model(x)
    torch.manual_seed(5)
    images = defense.purifier(x)

    weight = 3 * torch.linspace(-1, 1, 640).view(10, 64)
    torch.testing.assert_close(whole, images.flatten(1) @ weight.T)
    assert not torch.equal(images, x)
    assert defense.stochastic is ref.stochastic is ("rt" in name)


def test_it_has_seen_what_either_has_and_both_are_in_its_digest(mine, tmp_path):
    """Other weights in the same file make another defense."""
    examples = digits("test").first(8)
    before, loaded = one(f"atop[classifier={mine}]", examples)
    (tmp_path / "mine.py").write_text(OWN.format(scale=2.0))
    after, _ = one(f"atop[classifier={mine}]", examples)

    assert set(map(str, before.trained_on)) == set(map(str, loaded.trained_on)) == {"L2:1", "Linf:0.2"}
    assert set(before.checkpoints) == {"atop-rt1"}
    assert before.digest != after.digest
    assert before.behind.digest != after.behind.digest


@pytest.mark.parametrize("name", ["{}", "ap[classifier={}]"])
def test_a_file_that_has_changed_is_loaded_anew(mine, tmp_path, name):
    """In the same process, under the same path: nothing loaded before is handed out for it."""
    examples = digits("test").first(8)
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    answers = [one(name.format(mine), examples)[1].model(x)]

    (tmp_path / "mine.py").write_text(OWN.format(scale=6.0))
    answers.append(one(name.format(mine), examples)[1].model(x))

    torch.testing.assert_close(answers[1], 2 * answers[0])


def test_it_is_called_by_the_name_of_the_file_alone(mine, tmp_path):
    """Where a file lies is no part of a defense, and a stored reference leads back to itself."""
    near, _ = one(f"ap[classifier={mine}]", digits("test").first(8))
    far, _ = one(f"ap[classifier={tmp_path}/mine.py:build]", digits("test").first(8))

    assert near.label == far.label == "ap[classifier=mine]"
    assert near.digest == far.digest
    assert DefenseRef.from_json(near.to_json()).behind.to_json() == near.behind.to_json()


def test_brackets_stand_inside_brackets(zoo, color, tmp_path):
    """The threat belongs to the classifier, the transform to the purifier."""
    place(tmp_path)
    both = "ap[classifier=robustbench:Tiny2030[threat=Linf,trained_on=L2:0.5],rt=1],standard"

    refs = selection.defenses(both, color, tmp_path)

    assert [ref.label for ref in refs] == [
        "ap[classifier=robustbench:Tiny2030[threat=Linf,trained_on=L2:0.5],rt=1]",
        "standard",
    ]
    assert list(map(str, refs[0].trained_on)) == ["L2:0.5"]
    assert refs[0].stochastic


def test_a_model_of_the_zoo_stands_behind_a_purifier(zoo, color, tmp_path):
    """AToP + AT: the purifier's weights are ours, the classifier's are those of the zoo's file."""
    net = place(tmp_path)
    x = torch.from_numpy(color.x)

    ref, defense = one("atop[classifier=robustbench:Tiny2030]", color, tmp_path)
    front = purifier("atop-rt1")
    torch.manual_seed(7)
    answers = defense.model(x)
    torch.manual_seed(7)
    expected = net(front.purify(x))

    torch.testing.assert_close(answers, expected)
    assert list(map(str, ref.trained_on)) == ["Linf:8/255"]
    assert [*ref.behind.checkpoints] == ["Tiny2030.pt"]


def test_the_purifier_leaves_the_classifier_as_it_is(mine):
    """What is loaded beside it, alone, gives the same bits as before."""
    examples = digits("test").first(8)
    _, alone = one(mine, examples)
    state = {key: value.clone() for key, value in alone.model.state_dict().items()}

    one(f"ap[classifier={mine}]", examples)

    assert all(torch.equal(value, alone.model.state_dict()[key]) for key, value in state.items())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ap[classifier=./mine.py:noisy]", "mine:noisy is stochastic: put ap before another model"),
        ("ap[classifier=./none.py]", "no file './none.py'"),
        ("atop[classifier=robustbnch:X]", "did you mean robustbench"),
        ("atop[classifier=torchvision:resnet18[wights=x]]", "did you mean weights"),
        ("atop[classifier=vgg]", "classifier must be one of standard, at"),
        ("atop[classifier=ap[rt=1]]", "classifier must be one of standard, at"),
        ("atop[classifier=robustbench:X[threat=L2]", "is not a name"),
        ("atop[classifer=./mine.py:build]", "did you mean classifier"),
        ("at[classifier=./mine.py:build]", "unknown parameter of at"),
    ],
)
def test_what_cannot_be_put_together_is_one_line(mine, tmp_path, capsys, text, says):
    command = ["run", "--defenses", text, "--attacks", "fgsm", "--n", "10", "--results", str(tmp_path / "results")]

    status = main(command)

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert says in line
    assert not (tmp_path / "results").exists()


def test_it_runs_in_the_matrix_and_shows_what_it_is(mine, tmp_path, capsys):
    """In worker processes as well, which rebuild it from plain data; its classifier alone is the column beside."""
    command = ["run", "--defenses", f"atop[classifier={mine}],{mine}", "--attacks", "blind", "--threat", "Linf:0.2"]

    status = main([*command, "--n", "10", "--results", str(tmp_path / "results"), "--executor", "processes"])

    assert status == 0
    assert "atop[classifier=mine]" in capsys.readouterr().out


class Tiny(nn.Module):
    """What a zoo may hold."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.fc = nn.Linear(256, 10)

    def forward(self, x):
        return self.fc(self.conv(x).relu().flatten(1))


@pytest.fixture
def zoo(monkeypatch):
    _compat.robustbench()
    from robustbench.model_zoo import model_dicts
    from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel

    models = model_dicts[BenchmarkDataset.cifar_10][ThreatModel.Linf]
    monkeypatch.setitem(models, "Tiny2030", {"model": Tiny, "gdrive_id": "one"})


def place(tmp_path):
    """The zoo's file, in its layout; returns the network in it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Tiny().eval()
    path = tmp_path / "robustbench" / "cifar10" / "Linf" / "Tiny2030.pt"
    path.parent.mkdir(parents=True)
    torch.save(net.state_dict(), path)
    return net


def purifier(weights):
    """Our purifier alone, loaded by itself."""
    files = {name: locate(name, "cifar10", None) for name in ("standard", weights)}
    held = purification.classifier("standard", files, CIFAR)
    return purification.load(weights, checkpoints=files, spec=CIFAR, rt="1", behind=held).purifier.pipeline
