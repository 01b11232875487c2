"""What a plug-in may say of itself, and that nothing but `bench.oracle.attack` and its registries looks for it."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from bench.catalogue import attack_libraries, model_libraries, training, user_file
from bench.catalogue.request import Request
from bench.errors import BenchError
from bench.oracle.attack import Traits, cost_of, misunderstood, proves, traits_of
from bench.threats import LP_FAMILIES
from bench.types import ImageSpec

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ImageSpec((1, 8, 8), 10)


def plain(oracle, x, y, threat, *, stream):
    return x.clone()


class Talkative:
    families: ClassVar = ["L2", "stadv"]
    access = "score"
    forwards, backwards = 7, 0
    eot = 3
    not_for: ClassVar = {"stochastic": "it trusts single answers"}
    measures = True
    precision = "as given"
    exempt = "the control of a study"

    def __call__(self, oracle, x, y, threat, *, stream):
        return x.clone()

    def propose(self, oracle, x, y, threat, *, stream):
        return x.clone(), None

    def violations(self, x, x_adv, proof, threat):
        return []


class Costed(Talkative):
    def cost(self):
        return 30, 20


def test_an_attack_that_says_nothing_is_a_gradient_attack_in_the_lp_balls():
    assert traits_of(plain) == Traits()
    assert (Traits().families, Traits().access, Traits().forwards, Traits().eot) == (LP_FAMILIES, "gradient", 0, 1)
    assert not proves(plain)
    assert cost_of(plain) is None


def test_what_an_attack_says_is_read():
    assert traits_of(Talkative()) == Traits(
        ("L2", "stadv"),
        "score",
        7,
        0,
        3,
        {"stochastic": "it trusts single answers"},
        True,
        "as given",
        "the control of a study",
    )
    assert proves(Talkative())


def test_a_cost_that_is_computed_outranks_the_numbers():
    assert cost_of(Costed()) == (30, 20)
    assert (traits_of(Costed()).forwards, traits_of(Costed()).backwards) == (30, 20)


def test_a_number_that_is_called_cost_is_no_method():
    class Priced(Talkative):
        cost = 0.5

    assert cost_of(Priced()) is None


@pytest.mark.parametrize(
    ("precision", "access", "bears", "follows"),
    [
        (None, "gradient", "any", True),
        (None, "score", "float32", True),
        ("any", "score", "any", True),
        ("float32", "gradient", "float32", False),
        ("as given", "gradient", "as given", False),
    ],
)
def test_what_a_search_bears_depends_on_its_access_where_it_does_not_say(precision, access, bears, follows):
    traits = Traits(precision=precision)

    assert (traits.bears(access), traits.follows) == (bears, follows)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"families": "Linf"}, "families='Linf' must be a tuple"),
        ({"families": ()}, "must be a tuple"),
        ({"families": ("L3",)}, "'L3' is none of Linf, L2"),
        ({"access": "logits"}, "access='logits' must be one of gradient, score, decision"),
        ({"precision": "bf16"}, "precision='bf16' must be one of any, float32, as given"),
        ({"forwards": -1}, "forwards=-1 must be a whole number, 0 or more"),
        ({"backwards": 0.5}, "backwards=0.5 must be a whole number"),
        ({"eot": 0}, "eot=0 must be a whole number, 1 or more"),
        ({"not_for": {"noisy": "no"}}, "must be reasons by kind of defense"),
        ({"not_for": ("stochastic",)}, "must be reasons by kind of defense"),
    ],
)
def test_what_nobody_understands_is_told(said, fault):
    (told,) = misunderstood(Traits(**said))

    assert fault in told


def test_a_users_attack_is_in_its_entry_what_it_says_of_itself(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def attack(steps: int = 3):\n"
        "    def run(oracle, x, y, threat, *, stream):\n        return x.clone()\n"
        "    run.families, run.access, run.eot = ('L2',), 'score', 2\n"
        "    run.not_for = {'stochastic': 'one answer'}\n"
        "    run.cost = lambda: (2 * steps, 0)\n"
        "    return run\n"
    )

    entry, ref = user_file.attack_ref(Request(f"{path}:attack", {"steps": "5"}), DIGITS)

    assert (entry.families, entry.access, entry.forwards, entry.backwards) == (("L2",), "score", 10, 0)
    assert (entry.eot, entry.not_for) == (2, {"stochastic": "one answer"})
    assert (ref.access, ref.forwards, ref.eot) == ("score", 10, 2)


def test_a_users_attack_that_says_nonsense_is_refused_in_one_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def attack():\n    def run(*given, stream): ...\n    run.access = 'all'\n    return run\n")

    with pytest.raises(BenchError, match="access='all' must be one of gradient, score, decision; see docs"):
        user_file.attack_ref(Request(f"{path}:attack", {}), DIGITS)


def test_no_other_place_of_the_harness_asks_a_plug_in_by_name():
    """A hook that is found by a string in the midst of the code is one that no author can find."""
    hooks = {*Traits.__dataclass_fields__, "propose", "violations", "cost"}
    asked = []
    for path in (ROOT / "benchmark").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
                names = {each.value for each in node.args if isinstance(each, ast.Constant)}
                asked += [path.name] if names & hooks else []

    assert set(asked) == {"attack.py"}


def test_what_an_attack_may_say_is_known_without_torch():
    code = "import sys, bench.oracle.attack; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", attack_libraries.LIBRARIES)
def test_every_adapter_of_attacks_says_what_can_be_set(name):
    module = importlib.import_module(attack_libraries.LIBRARIES[name].target.partition(":")[0])

    assert list(inspect.signature(module.parameters).parameters) == ["name"]


@pytest.mark.parametrize("name", model_libraries.LIBRARIES)
def test_every_adapter_of_networks_answers_as_the_catalogue_calls_it(name):
    library = model_libraries.LIBRARIES[name]
    module = importlib.import_module(library.adapter)
    protocol = model_libraries.ModelAdapter

    for method in ("find", "facts"):
        expected = list(inspect.signature(getattr(protocol, method)).parameters)[1:]
        assert list(inspect.signature(getattr(module, method)).parameters) == expected
    from bench.defenses.adapters.wanted import Found, Wanted

    assert Wanted._fields == tuple(inspect.signature(library.find).parameters)
    promised = {name for name in vars(model_libraries.FoundModel) if not name.startswith("_")}
    assert set(Found._fields) == promised


def test_the_training_that_is_called_is_the_one_there_is():
    """No type checker sees through the catalogue's string."""
    from bench.defenses.training.run import train
    from bench.defenses.training.validation import TrainingProgress

    there, called = (inspect.signature(each).parameters for each in (train, training.Training.__call__))

    assert {name: (each.kind, each.default) for name, each in there.items()} == {
        name: (each.kind, each.default) for name, each in called.items() if name != "self"
    }
    promised = {name for name in vars(training.EpochProgress) if not name.startswith("_")}
    assert promised == set(TrainingProgress.__dataclass_fields__)
    assert training.training() is train
    assert training.training_of("at-resnet-18") == ("at", "", "resnet-18")
    assert training.starts_from("atop") == ("standard", "ap")
