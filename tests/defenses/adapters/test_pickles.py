"""A file of somebody's weights is data: nothing in it runs."""

import pickle

import pytest
import safetensors.torch
import torch
from torch import nn

from bench.defenses.adapters import pickles
from bench.defenses.adapters.pretrained import network
from bench.errors import BenchError
from tests.defenses.adapters.models import ARCH, SPEC, Code, Tiny, place, run, saved


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
