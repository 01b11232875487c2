"""Names of models of other libraries: what they resolve to before anything is loaded."""

import importlib.metadata
import json
import re
import subprocess
import sys

import pytest

from bench.catalogue import selection
from bench.cli.show import list_, show
from bench.errors import BenchError
from bench.threats import ThreatModel
from tests.defenses.adapters.models import ARCH, place, reference, saved

pytestmark = pytest.mark.usefixtures("offline")


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
            ("robustbench:Standard", "pip install 'atop-bench[robustbench]'"),
        ],
    )
    def test_a_missing_library_is_one_line_with_the_command(self, name, install, monkeypatch):
        """Before data is read."""

        def version(distribution):
            raise importlib.metadata.PackageNotFoundError(distribution)

        monkeypatch.setattr("importlib.metadata.version", version)

        with pytest.raises(BenchError, match=re.escape(f"is not installed: {install}")):
            selection.Selection.of(name, "fgsm", ())

    def test_planning_imports_neither_the_zoo_nor_torch_where_the_file_is_there(self, tmp_path):
        """A plan takes no seconds for that."""
        place(tmp_path, "Tiny2030.pt", {})
        code = f"""
import sys
from pathlib import Path
from typing import ClassVar
import numpy as np
from bench.catalogue import borrowed as libraries
from bench.datasets.examples import Examples
from bench.catalogue.request import parse_list
from bench.types import ImageSpec
x = np.zeros((10, 3, 32, 32), np.float32)
examples = Examples("cifar10", "test", [str(i) for i in range(10)], x, np.arange(10), ImageSpec((3, 32, 32), 10))
(request,) = parse_list("robustbench:Tiny2030", "defense")
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
