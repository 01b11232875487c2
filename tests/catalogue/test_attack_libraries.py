"""Attacks of other libraries by their names there: what is said of one that is not there."""

import importlib.metadata
import sys
import warnings

import pytest
import torch

from bench.attacks.adapters.foolbox import Foolbox
from bench.catalogue import resolve
from bench.catalogue.attack_libraries import LIBRARIES, peer_entry
from bench.catalogue.registry import load
from bench.catalogue.request import parse_list
from bench.errors import BenchError
from bench.threats import ThreatModel


@pytest.fixture(autouse=True)
def _quietly_imported():
    """What the libraries warn of while they are imported is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def built(name, **parameters):
    """An attack of a library, or a skip where that is not installed."""
    entry = peer_entry(name)
    for distribution in entry.requires:
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{distribution} is not installed")
    return load(entry.target)(**entry.config, parameters=parameters), entry.access


class TestNames:
    """What is said of a name, a parameter or a library that is not there."""

    def ask(self, text):
        (request,) = parse_list(text, "attack")
        return resolve.attack(request)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("foolbx:LinfPGD", "unknown attack library 'foolbx': did you mean foolbox"),
            ("foolbox:LinfPDG", "did you mean LinfPGD"),
            ("torchattacks:TIFGSM", "unknown torchattacks attack 'TIFGSM'"),
            ("art:HopSkipJump", "unknown art attack 'HopSkipJump'"),
            ("foolbox:LinfPGD[stpes=5]", "did you mean steps"),
            ("foolbox:LinfPGD[steps=five]", "'five' is not a whole number"),
            ("foolbox:LinfPGD[random_start=maybe]", "write true or false"),
            ("art:ProjectedGradientDescent[norm=2]", "unknown parameter of art:ProjectedGradientDescent 'norm'"),
        ],
    )
    def test_a_mistake_is_one_line_with_its_remedy(self, text, says):
        pytest.importorskip("foolbox")
        pytest.importorskip("art")

        with pytest.raises(BenchError) as error:
            self.ask(text)

        assert says in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_a_missing_library_is_one_line_with_the_command_that_installs_it(self, library, monkeypatch):
        def missing(name):
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr("importlib.metadata.version", missing)
        name = f"{library}:{next(iter(LIBRARIES[library].attacks))}"

        with pytest.raises(BenchError, match="is not installed: pip install") as error:
            self.ask(name)

        assert LIBRARIES[library].install in str(error.value)

    def test_a_library_that_does_not_import_is_one_line(self, monkeypatch):
        """Installed, but broken: what its import said, and the command."""
        monkeypatch.setitem(sys.modules, "foolbox", None)

        with pytest.raises(BenchError, match=r"foolbox does not load \(.*\): pip install 'atop-bench\[foolbox\]'"):
            Foolbox("LinfPGD")(None, torch.zeros(1, 1, 2, 2), None, ThreatModel.parse("Linf:0.1"), stream=None)

    def test_parameters_have_the_types_of_the_library(self):
        pytest.importorskip("foolbox")

        entry, ref = self.ask("foolbox:LinfPGD[steps=80,rel_stepsize=0.1,random_start=false]")

        assert ref.config == {
            "name": "LinfPGD",
            "parameters": {"steps": 80, "rel_stepsize": 0.1, "random_start": False},
        }
        assert (entry.families, ref.access) == (("Linf",), "gradient")
        assert (ref.forwards, ref.backwards) == (82, 80)
        assert ref.label == "foolbox:LinfPGD[random_start=false,rel_stepsize=0.1,steps=80]"

    def test_greek_letters_are_spelled_out(self, halfspace, launch, images):
        pytest.importorskip("adv_lib")
        _, ref = self.ask("advlib:fmn[alpha_init=0.5,steps=60]")
        model, x = halfspace(), images(1)
        y = model(x).argmax(1)

        x_adv, oracle = launch(load(ref.source)(**ref.config), model, x, y, "L2:5")

        assert (model(x_adv).argmax(1) != y).all()
        assert oracle.forwards.tolist() == [60]

    def test_another_version_or_parameter_is_another_digest(self, monkeypatch):
        pytest.importorskip("foolbox")
        plain, other = (self.ask(text)[1].digest for text in ("foolbox:LinfPGD", "foolbox:LinfPGD[steps=41]"))
        monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
        newer = self.ask("foolbox:LinfPGD")[1].digest

        assert len({plain, other, newer}) == 3

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_everything_named_exists_and_names_its_parameters(self, library):
        """The table against the library: no attack is misspelled, and what the harness sets is not offered."""
        for name in LIBRARIES[library].attacks:
            built(f"{library}:{name}")
            parameters = load(f"{LIBRARIES[library].target.partition(':')[0]}:parameters")(name)

            assert all(name.isascii() for name in parameters)
            assert not {"model", "norm", "targeted", "verbose"} & set(parameters)
