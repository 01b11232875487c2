"""RobustBench's models, from files in its layout."""

import io
import urllib.request

import pytest
import torch

from bench.catalogue.loading import load_defense
from bench.defenses.adapters.wanted import Wanted
from bench.errors import BenchError
from bench.types import ImageSpec
from tests.defenses.adapters.models import SPEC, Tiny, place, reference, run


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

        class Answer(io.BytesIO):
            def geturl(self):
                return asked[-1]

        monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: asked.append(url) or Answer(answer))

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
