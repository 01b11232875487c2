"""Defenses of other libraries: found by name, loaded without executing anything, judged as everything else."""

import importlib.metadata
import io
import json
import os
import pickle
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from bench import libraries, matrix, repairs
from bench.cli import main
from bench.cli.registered import list_, show
from bench.datasets.load import load
from bench.defenses.adapters import normalization, pickles
from bench.defenses.adapters.found import Wanted
from bench.defenses.adapters.pretrained import network
from bench.errors import BenchError
from bench.executors.task import load_defense
from bench.request import parse_list
from bench.types import ImageSpec, ThreatModel

SPEC = ImageSpec((3, 32, 32), 10)
ARCH = "torchvision:shufflenet_v2_x0_5"


class Tiny(nn.Module):
    """What a zoo may hold: normalization as a buffer, a network, and on request noise."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.register_buffer("mu", torch.full((1, 3, 1, 1), 0.5))
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.fc = nn.Linear(256, 10)
        self.noise = noise

    def forward(self, x):
        x = x + self.noise * torch.randn_like(x)
        return self.fc(self.conv(x - self.mu).relu().flatten(1))


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.fixture(scope="module")
def color(tmp_path_factory):
    """A folder of ten classes of small color images, as a dataset."""
    root = tmp_path_factory.mktemp("color")
    random = np.random.default_rng(0)
    for label in range(10):
        folder = root / "test" / f"class-{label}"
        folder.mkdir(parents=True)
        for number in range(2):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return f"imagefolder:{root}"


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    """No network, and caches of our own."""

    def unreachable(*args, **options):
        raise OSError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))


@pytest.fixture
def trained():
    """A network of torchvision with weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = network(ARCH, SPEC)
    return net.eval()


@pytest.fixture
def zoo(monkeypatch):
    """RobustBench with a few tiny models in it."""
    repairs.robustbench()
    from robustbench.model_zoo import model_dicts
    from robustbench.model_zoo.architectures.utils_architectures import normalize_model
    from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel

    cifar10, imagenet = model_dicts[BenchmarkDataset.cifar_10], model_dicts[BenchmarkDataset.imagenet]
    models = cifar10[ThreatModel.Linf]
    monkeypatch.setitem(models, "Tiny2030", {"model": Tiny, "gdrive_id": "one"})
    monkeypatch.setitem(models, "Noisy2030", {"model": lambda: Tiny(0.3), "gdrive_id": "two"})
    pair = {"model": lambda: Pair(Tiny(), Tiny()), "gdrive_id": ["three", "four"]}
    monkeypatch.setitem(models, "Pair2030", pair)
    wide = {
        "model": lambda: normalize_model(
            nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 1000)), [0.5] * 3, [0.5] * 3
        ),
        "gdrive_id": "five",
        "preprocessing": "Res72Crop64",
    }
    monkeypatch.setitem(imagenet[ThreatModel.Linf], "Wide2030", wide)
    return model_dicts


class Pair(nn.Module):
    """An ensemble, as the zoo has them."""

    def __init__(self, *models):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x):
        return sum(model(x) for model in self.models)


def reference(text, dataset, weights=None):
    (request,) = parse_list(text, "defense", {})
    return libraries.defense_ref(request, load(dataset, "test", n=10), weights)


def run(defenses, dataset, tmp_path, *more):
    """`bench run` on a handful of images, in this process."""
    command = ["run", "--defenses", defenses, "--dataset", dataset, "--attacks", "fgsm", "--threat", "Linf:8/255"]
    return main([*command, "--n", "10", "--executor", "local", "--results", str(tmp_path / "results"), *more])


def saved(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def place(tmp_path, file, content, dataset="cifar10"):
    """A checkpoint where RobustBench's layout has it, below a folder for `--weights`."""
    saved(tmp_path / "robustbench" / dataset / "Linf" / file, content)
    return tmp_path


class TestWeights:
    """A file of somebody's weights is data."""

    @pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model.", "state_dict.model."])
    @pytest.mark.parametrize("entry", [None, "state_dict", "model"])
    def test_what_training_scripts_wrap_around_a_state_dict_is_taken_off(self, tmp_path, trained, prefix, entry):
        """Every prefix and every usual entry leads to the same tensors."""
        state = {prefix + key: value for key, value in trained.state_dict().items()}
        path = saved(tmp_path / "net.pth", state if entry is None else {entry: state, "epoch": 3, "lr": [0.1]})

        net = network(ARCH, SPEC)
        pickles.load_into(net, path)

        for key, value in trained.state_dict().items():
            assert torch.equal(net.state_dict()[key], value), key

    def test_torch_and_safetensors_files_are_the_same_weights(self, tmp_path, trained):
        one, two = network(ARCH, SPEC), network(ARCH, SPEC)
        safetensors.torch.save_file(trained.state_dict(), tmp_path / "net.safetensors")

        pickles.load_into(one, tmp_path / "net.safetensors")
        pickles.load_into(two, saved(tmp_path / "net.pt", trained.state_dict()))

        assert all(torch.equal(one.state_dict()[key], two.state_dict()[key]) for key in one.state_dict())

    DAMAGES = (
        "code",
        "bare code",
        "whole module",
        "truncated",
        "truncated pickle",
        "other network",
        "other classes",
        "nan",
        "no state",
        "pointer",
        "page",
        "empty",
    )

    @staticmethod
    def damage(kind, path, net):
        """Write what is wrong to `path`; returns what the line must say of it."""
        canary = path.with_name("canary")
        if kind == "code":
            saved(path, {"state_dict": net.state_dict(), "extra": Code(canary)})
            return "more than tensors"
        if kind == "bare code":
            path.write_bytes(pickle.dumps(Code(canary), protocol=2))
            return "never run"
        if kind == "whole module":
            saved(path, nn.Sequential(nn.Linear(2, 2)))
            return "torch.save(model.state_dict(), FILE)"
        if kind.startswith("truncated"):
            torch.save(net.state_dict(), path, _use_new_zipfile_serialization=kind == "truncated")
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            return "truncated or damaged"
        if kind == "other network":
            saved(path, {"conv1.weight": torch.zeros(2)})
            return "do not fit"
        if kind == "other classes":
            state = net.state_dict()
            name = list(state)[-1]
            saved(path, {**state, name: torch.zeros(len(state[name]) + 1)})
            return "has shape"
        if kind == "nan":
            state = net.state_dict()
            name = list(state)[-1]
            saved(path, {**state, name: torch.full_like(state[name], torch.nan)})
            return "NaN"
        if kind == "no state":
            saved(path, {"epoch": 3, "accuracy": 0.9})
            return "no state dict"
        content = {"pointer": b"version https://git-lfs.github.com/spec/v1\n", "page": b"<!DOCTYPE html>", "empty": b""}
        path.write_bytes(content[kind])
        return {"pointer": "Git LFS", "page": "web page", "empty": "empty"}[kind]

    @pytest.mark.parametrize("kind", DAMAGES)
    def test_a_bad_file_is_one_line_and_nothing_in_it_runs(self, tmp_path, trained, kind, color, capsys):
        """Exit status 2, the file named, and no trace of the code in it."""
        path = tmp_path / "bad.pth"
        says = self.damage(kind, path, trained)

        status = run(f"{ARCH}[weights={path},norm=none]", color, tmp_path)

        error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note:")]
        assert status == 2
        assert len(error) == 1
        assert says in error[0]
        assert str(path) in error[0]
        assert not (tmp_path / "canary").exists()

    @pytest.mark.parametrize("kind", sorted(set(DAMAGES) - {"other classes", "no state"}))
    def test_so_is_a_bad_file_of_the_zoo(self, tmp_path, kind, color, capsys, zoo):
        """RobustBench reads it, and is not let to unpickle."""
        path = place(tmp_path, "Tiny2030.pt", {}) / "robustbench" / "cifar10" / "Linf" / "Tiny2030.pt"
        says = self.damage(kind, path, Tiny())

        status = run("robustbench:Tiny2030[dataset=cifar10]", color, tmp_path, "--weights", str(tmp_path))

        (error,) = capsys.readouterr().err.splitlines()
        assert status == 2
        assert says in error
        assert str(path) in error
        assert not path.with_name("canary").exists()

    def test_no_environment_variable_turns_code_in_pickles_on(self, tmp_path, monkeypatch):
        """torch has one that makes `torch.load` unpickle anything where nobody says otherwise."""
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        path = saved(tmp_path / "bad.pth", Code(tmp_path / "canary"))

        with pytest.raises(BenchError, match="never run"), pickles.reading_only():
            torch.load(path, map_location="cpu", weights_only=False)

        assert not (tmp_path / "canary").exists()


class TestNormalization:
    """It is inside the model, and never guessed."""

    def test_it_is_inside(self, tmp_path, trained, color):
        """The logits are the network's own of normalized images."""
        path = saved(tmp_path / "net.pth", trained.state_dict())
        ref = reference(f"{ARCH}[weights={path},mean=0.5/0.4/0.3,std=0.2]", color)

        model = load_defense(ref, SPEC).model

        x = torch.rand(2, *SPEC.shape, generator=torch.Generator().manual_seed(1))
        normalized = (x - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / 0.2
        assert torch.equal(model(x), trained(normalized))
        assert not torch.equal(model(x), trained(x))

    @pytest.mark.parametrize(
        ("parameters", "says"),
        [
            ("", "say how its images were normalized: norm=imagenet|cifar10"),
            (",norm=imagnet", "did you mean imagenet"),
            (",norm=half,mean=0", "leave them out"),
            (",mean=0.5", "mean and std go together"),
            (",mean=0.5/0.5,std=1", "does not fit images of 3 channels"),
            (",mean=0,std=0/1/1", "does not fit"),
            (",mean=a/b/c,std=1", "no list of numbers"),
            (",mean=nan,std=1", "no list of numbers"),
        ],
    )
    def test_what_is_missing_or_wrong_is_said(self, tmp_path, trained, color, parameters, says):
        path = saved(tmp_path / "net.pth", trained.state_dict())

        with pytest.raises(BenchError, match=re.escape(says)):
            reference(f"{ARCH}[weights={path}{parameters}]", color)

    @pytest.mark.parametrize("preset", normalization.PRESETS)
    def test_every_preset_is_numbers_for_color(self, preset):
        told = normalization.asked_for({"norm": preset}, 3, "")

        assert all(normalization.numbers(text) for text in told.values())


class TestNames:
    """What a name resolves to, before anything is loaded."""

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("rbustbench:Standard", "did you mean robustbench"),
            ("robustbench:", "names no model"),
            ("robustbench:Standrd[dataset=cifar10]", "did you mean Standard"),
            ("robustbench:Standard[threat=L3]", "threat must be one of Linf, L2, corruptions"),
            ("robustbench:Standard[treat=L2]", "did you mean threat"),
            ("robustbench:Standard", "RobustBench has models for cifar10, cifar100, imagenet, not for"),
            ("robustbench:Standard[dataset=cifar100]", "tells the 100 classes of cifar100, these images have 10"),
            ("robustbench:Hendrycks2020AugMix_WRN[dataset=cifar10]", "for cifar10 under corruptions, not for"),
            ("torchvision:resnet18[weights=nowhere.pt,norm=none]", "no file of weights 'nowhere.pt'"),
            ("torchvision:resnet18", "resnet18-f37072fd.pth: put there the file of https://download.pytorch.org"),
            ("torchvision:resnet81", "did you mean resnet"),
            ("timm:resnet1888", "unknown network of timm"),
            ("timm:resnet18.a1_in2k", "did you mean resnet18.a1_in1k"),
            ("timm:resnet18[trained_on=Lnf:8/255]", "did you mean Linf"),
            ("timm:resnet18[stochastic=maybe]", "write true or false"),
            ("hf:alone", "write hf:OWNER/REPO"),
        ],
    )
    def test_a_wrong_name_is_named_with_its_remedy(self, text, says, color):
        with pytest.raises(BenchError) as error:
            reference(text, color)

        assert says in str(error.value)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 2000

    @pytest.mark.parametrize(
        ("name", "install"),
        [
            ("timm:resnet18", "pip install 'atop-bench[timm]'"),
            ("hf:a/b", "pip install 'atop-bench[hf]'"),
            ("robustbench:Standard", "pip install robustbench"),
        ],
    )
    def test_a_missing_library_is_one_line_with_the_command(self, name, install, monkeypatch):
        """Before data is read."""

        def version(distribution):
            raise importlib.metadata.PackageNotFoundError(distribution)

        monkeypatch.setattr("importlib.metadata.version", version)

        with pytest.raises(BenchError, match=re.escape(f"is not installed: {install}")):
            matrix.check_names(name, "fgsm")

    def test_planning_imports_neither_the_zoo_nor_torch_where_the_file_is_there(self, tmp_path):
        """A plan takes no seconds for that."""
        place(tmp_path, "Tiny2030.pt", {})
        code = f"""
import sys
from pathlib import Path
from typing import ClassVar
import numpy as np
from bench import libraries
from bench.datasets.examples import Examples
from bench.request import parse_list
from bench.types import ImageSpec
x = np.zeros((10, 3, 32, 32), np.float32)
examples = Examples("cifar10", "test", [str(i) for i in range(10)], x, np.arange(10), ImageSpec((3, 32, 32), 10))
(request,) = parse_list("robustbench:Tiny2030", "defense", {{}})
ref = libraries.defense_ref(request, examples, Path({str(tmp_path)!r}))
heavy = {{"torch", "torchvision", "robustbench", "timm"}} & set(sys.modules)
sys.exit(str(heavy) if heavy or not ref.checkpoints else 0)
"""

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr

    def test_the_key_follows_the_weights_and_not_their_folder(self, tmp_path, trained, color):
        state = trained.state_dict()
        first = saved(tmp_path / "a" / "net.pth", state)
        (tmp_path / "b").mkdir()
        moved = tmp_path / "b" / "net.pth"
        moved.write_bytes(first.read_bytes())
        other = saved(tmp_path / "c" / "net.pth", {key: value + 1 for key, value in state.items()})

        one, same, changed, norm = (
            reference(f"{ARCH}[weights={path},norm={preset}]", color)
            for path, preset in ((first, "none"), (moved, "none"), (other, "none"), (first, "half"))
        )

        assert (one.label, one.digest) == (same.label, same.digest)
        assert one.label == f"{ARCH}[norm=none,weights=net.pth]"
        assert len({one.digest, changed.digest, norm.digest}) == 3
        assert str(tmp_path) not in json.dumps(one.to_json())

    def test_what_it_was_trained_on_is_told_or_said_to_be_unknown(self, tmp_path, trained, color, zoo):
        """Seen and unseen follow from it, so it is never silently nothing."""
        path = saved(tmp_path / "net.pth", trained.state_dict())
        for name in ("Tiny2030", "Standard"):
            place(tmp_path, f"{name}.pt", {})

        told = reference(f"{ARCH}[weights={path},norm=none,trained_on=Linf:4/255+L2:0.5]", color)
        unknown = reference(f"{ARCH}[weights={path},norm=none]", color)
        robust, standard, denied = (
            reference(f"robustbench:{name}", color, tmp_path)
            for name in (
                "Tiny2030[dataset=cifar10]",
                "Standard[dataset=cifar10]",
                "Tiny2030[dataset=cifar10,trained_on=none]",
            )
        )

        assert told.trained_on == (ThreatModel.parse("Linf:4/255"), ThreatModel.parse("L2:0.5"))
        assert "not known" in unknown.notes[0]
        assert robust.trained_on == (ThreatModel.parse("Linf:8/255"),)
        assert (standard.trained_on, standard.notes, denied.trained_on) == ((), (), ())

    def test_what_is_listed_can_be_shown(self, capsys, zoo):
        list_("defenses", as_json=False)
        show("robustbench:Pair2030", "digits")
        show("torchvision:resnet18", "digits")

        text = capsys.readouterr().out
        for prefix in ("robustbench:NAME", "torchvision:NAME", "timm:NAME", "hf:NAME"):
            assert prefix in text
        assert "cifar10/Linf/Pair2030.pt_m1.pt missing; from https://drive.google.com" in text
        assert "resnet18-f37072fd.pth (missing)" in text


class TestZoo:
    """RobustBench's models, from files in its layout."""

    def test_a_model_runs_and_its_logits_are_those_of_its_weights(self, tmp_path, color, zoo, capsys):
        """From the command line to a table, the checkpoint digested."""
        net = Tiny().eval()
        state = {f"module.{key}": value for key, value in net.state_dict().items()}
        place(tmp_path, "Tiny2030.pt", {"state_dict": state})

        status = run("robustbench:Tiny2030[dataset=cifar10]", color, tmp_path, "--weights", str(tmp_path))
        ref = reference("robustbench:Tiny2030[dataset=cifar10]", color, tmp_path)

        x = torch.rand(2, *SPEC.shape, generator=torch.Generator().manual_seed(1))
        assert status == 0
        assert "robustbench:Tiny2030" in capsys.readouterr().out
        assert torch.equal(load_defense(ref, SPEC).model(x), net(x))
        assert list(ref.checkpoints) == ["Tiny2030.pt"]

    def test_the_cache_is_looked_into_after_the_folder_of_weights(self, tmp_path, color, zoo):
        cached = place(tmp_path / "cache" / "atop-bench", "Tiny2030.pt", {})

        ref = reference("robustbench:Tiny2030[dataset=cifar10]", color, tmp_path / "elsewhere")

        assert ref.checkpoints["Tiny2030.pt"].startswith(str(cached))

    def test_an_ensemble_is_all_of_its_files(self, tmp_path, color, zoo):
        for number in range(2):
            place(tmp_path, f"Pair2030.pt_m{number}.pt", Tiny().state_dict())

        ref = reference("robustbench:Pair2030[dataset=cifar10]", color, tmp_path)
        load_defense(ref, SPEC)

        assert list(ref.checkpoints) == ["Pair2030.pt_m0.pt", "Pair2030.pt_m1.pt"]

    def test_a_missing_file_is_one_line_that_says_what_belongs_where(self, tmp_path, color, zoo, capsys):
        """Of an ensemble, the one that is missing."""
        place(tmp_path, "Pair2030.pt_m0.pt", Tiny().state_dict())

        status = run("robustbench:Pair2030[dataset=cifar10]", color, tmp_path, "--weights", str(tmp_path))

        error = capsys.readouterr().err.splitlines()[-1]
        missing = tmp_path / "robustbench" / "cifar10" / "Linf" / "Pair2030.pt_m1.pt"
        assert status == 2
        assert str(missing) in error
        assert "id=four" in error
        assert "no network here" in error
        assert [path.name for path in missing.parent.iterdir()] == ["Pair2030.pt_m0.pt"]

    @pytest.mark.parametrize(("content", "works"), [("weights", True), ("<html>too many downloads", False)])
    def test_where_there_is_a_network_it_is_fetched_whole_or_not_at_all(
        self, tmp_path, color, zoo, monkeypatch, content, works
    ):
        """A web page instead of the file, Google Drive's way of saying no, leaves nothing behind."""
        buffer = io.BytesIO()
        torch.save(Tiny().state_dict(), buffer)
        answer = buffer.getvalue() if works else content.encode()
        asked = []
        monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: asked.append(url) or io.BytesIO(answer))

        if works:
            ref = reference("robustbench:Tiny2030[dataset=cifar10]", color, tmp_path)
            load_defense(ref, SPEC)
            reference("robustbench:Tiny2030[dataset=cifar10]", color, tmp_path)
        else:
            with pytest.raises(BenchError, match="web page"):
                reference("robustbench:Tiny2030[dataset=cifar10]", color, tmp_path)

        assert len(asked) == 1
        assert len([path for path in tmp_path.rglob("*") if "Tiny2030" in path.name]) == works

    def test_what_no_file_has_filled_does_not_pass_for_trained(self, tmp_path, zoo):
        """RobustBench loads ImageNet checkpoints that lack a layer, and leaves it as it was drawn."""
        state = {"1.bias": torch.zeros(1000)}
        place(tmp_path, "Wide2030.pt", state, "imagenet")
        from bench.defenses.adapters import robustbench

        spec = ImageSpec((3, 64, 64), 1000)
        found = robustbench.find(Wanted("Wide2030", {}, "imagenet", spec, tmp_path))

        with pytest.raises(BenchError, match=r"lack 'model\.1\.weight'"):
            robustbench.load(checkpoints=found.files, spec=spec, **found.config)
        state["1.weight"] = torch.zeros(1000, 3 * 64 * 64)
        place(tmp_path, "Wide2030.pt", state, "imagenet")
        robustbench.load(checkpoints=found.files, spec=spec, **found.config)

    def test_images_of_another_size_are_refused_and_never_resized(self, tmp_path, zoo):
        place(tmp_path, "Wide2030.pt", {}, "imagenet")
        from bench.defenses.adapters import robustbench

        spec = ImageSpec((3, 72, 72), 1000)
        found = robustbench.find(Wanted("Wide2030", {}, "imagenet", spec, tmp_path))

        with pytest.raises(BenchError, match="64 x 64, these are 72 x 72"):
            robustbench.load(checkpoints=found.files, spec=spec, **found.config)
        with pytest.raises(BenchError, match="3 x 32 x 32"):
            robustbench.find(Wanted("Tiny2030", {}, "cifar10", ImageSpec((1, 32, 32), 10), tmp_path))

    def test_the_zoo_and_torch_are_left_as_they_were(self, tmp_path, color, zoo):
        place(tmp_path, "Tiny2030.pt", Tiny().state_dict())
        before = torch.load, torch.random.get_rng_state()

        load_defense(reference("robustbench:Tiny2030[dataset=cifar10]", color, tmp_path), SPEC)

        from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel

        assert torch.load is before[0]
        assert torch.equal(torch.random.get_rng_state(), before[1])
        assert zoo[BenchmarkDataset.cifar_10][ThreatModel.Linf]["Tiny2030"]["model"] is Tiny

    @pytest.mark.parametrize(
        ("name", "status", "says"),
        [
            ("Noisy2030[dataset=cifar10]", 2, "differ from seed to seed: add [stochastic=true]"),
            ("Noisy2030[dataset=cifar10,stochastic=true]", 0, "mean-of-3"),
            ("Tiny2030[dataset=cifar10,stochastic=true]", 2, "do not differ from seed to seed: leave out"),
        ],
    )
    def test_randomness_is_found_out_and_not_believed(self, tmp_path, color, zoo, capsys, name, status, says):
        """A random model judged as a deterministic one would be attacked without EOT, and look robust."""
        for model in ("Noisy2030", "Tiny2030"):
            place(tmp_path, f"{model}.pt", Tiny().state_dict())

        found = run(
            f"robustbench:{name}", color, tmp_path, "--weights", str(tmp_path), "--draws", "3", "--checks", "none"
        )

        told = capsys.readouterr()
        assert found == status
        assert says in told.out + told.err


class TestHub:
    """Repositories of the Hugging Face hub, from its cache."""

    COMMIT = "c" * 40

    @pytest.fixture
    def cached(self, tmp_path, monkeypatch):
        """A repository in the cache, as timm writes them; returns a way to put it there at a commit."""
        repairs.torchvision()
        pytest.importorskip("timm")
        import huggingface_hub
        import timm

        cache = tmp_path / "hub"
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        weights = safetensors.torch.save(timm.create_model("lcnet_035", num_classes=10).state_dict())

        def put(commit=self.COMMIT, **told):
            root = cache / "models--me--net"
            (root / "refs").mkdir(parents=True, exist_ok=True)
            (root / "refs" / "main").write_text(commit)
            folder = root / "snapshots" / commit
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(weights)
            (folder / "config.json").write_text(json.dumps(told))

        return put

    TOLD: ClassVar = {"architecture": "lcnet_035", "pretrained_cfg": {"mean": [0.48145466] * 3, "std": [0.25] * 3}}

    def test_a_repository_says_itself_what_it_is(self, cached, color):
        """Network, normalization to the last digit, and the commit."""
        cached(**self.TOLD)

        ref = reference("hf:me/net", color)
        model = load_defense(ref, SPEC).model

        assert ref.config["arch"] == "timm:lcnet_035"
        assert ref.config["revision"] == self.COMMIT
        assert model.mean.flatten().tolist() == torch.tensor([0.48145466] * 3).tolist()

    def test_another_commit_with_the_same_file_is_the_same_defense(self, cached, color):
        cached(**self.TOLD)
        before = reference("hf:me/net", color)
        cached("d" * 40, **self.TOLD)

        after = reference("hf:me/net", color)

        assert (before.digest, after.config["revision"]) == (after.digest, "d" * 40)

    @pytest.mark.parametrize(
        ("name", "told", "says"),
        [
            ("hf:me/net", {}, "names no architecture"),
            (
                "hf:me/net",
                {"architecture": "no_such_net", "pretrained_cfg": {"mean": [0], "std": [1]}},
                "unknown network",
            ),
            ("hf:me/net", {"architecture": "lcnet_035"}, "say how its images were normalized"),
            ("hf:me/net", {"architecture": "lcnet_035", "pretrained_cfg": [1]}, "cannot be settled"),
            ("hf:me/net[arch=tmim:lcnet_035,norm=none]", {}, "did you mean timm"),
            ("hf:me/net[file=other.safetensors]", {}, "hf download me/net other.safetensors"),
            ("hf:me/net[revision=v2]", {}, "--revision v2"),
            ("hf:me/other", {}, "hf download me/other model.safetensors"),
        ],
    )
    def test_what_is_missing_is_one_line(self, cached, color, name, told, says):
        """Offline, at once."""
        cached(**told)

        with pytest.raises(BenchError) as error:
            load_defense(reference(name, color), SPEC)

        assert says in str(error.value)
        assert "\n" not in str(error.value)


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "defenses.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"^    (bench .+)$", PAGE, re.M))
def test_every_command_of_the_page_on_defenses_names_what_exists(line):
    """Options, names and parameters; the files and repositories are the reader's."""
    import typer

    from bench.cli.app import app

    words = shlex.split(line)
    given = {word: words[index + 1] for index, word in enumerate(words[:-1]) if word.startswith("--")}
    command = typer.main.get_command(app).commands[words[1]]

    assert set(given) <= {option for parameter in command.params for option in parameter.opts}
    for request in parse_list(given.get("--defenses", words[-1]), "defense", {}):
        if request.is_peer:
            libraries.check(request)
