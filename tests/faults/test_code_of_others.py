"""Defenses and attacks that misbehave: those beside them keep their numbers, and they get none."""

import pytest

from bench.results.outcome import Done, Failed
from bench.results.store import Store
from tests.faults.kit import MANY, Place, times

# A defense of ten fixed templates that does something first: at import, while it is built, in any forward, or only in
# those of an attack, whose batches are larger than any before.
DEFENSE = """
import ctypes, os, signal, sys, threading, time
import torch
from torch import nn

def fault(x=None):
    {does}

class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 10, dtype=torch.float32, generator=torch.Generator().manual_seed(0)))
    def forward(self, x):
        {in_forward}
        if len(x) > 8:
            {in_attack}
        return x.flatten(1).to(self.weight.dtype) @ self.weight

def build():
    {in_build}
    return Pixels()

{at_import}
"""
# What it does, and whether its cell has to fail; None where that depends on when it does it: a killed process is taken
# for one that was too large, and tried again with smaller batches.
FAULTS = {
    "raises": ("raise RuntimeError('boom')", True),
    "raises an odd error": ("raise type('Odd', (BaseException,), {})('odd')", True),
    "hangs": ("time.sleep(3600)", True),
    "hangs in a loop of C": ("sum(iter(int, 1))", True),
    "_exit": ("os._exit(0)", True),
    "exit": ("sys.exit(0)", True),
    "segfault": ("ctypes.string_at(0)", True),
    "abort": ("os.abort()", True),
    "ignores SIGTERM and hangs": ("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)", True),
    "alarm": ("signal.alarm(1); time.sleep(3600)", True),
    "kills its group": ("os.killpg(0, signal.SIGKILL)", None),
    "prints": (f"[os.write(1, b'x' * (1 << 20)) for _ in range({times(20, 1000)})]", False),
    "forks": ("os.fork() or os._exit(0)", False),
    "forks and goes on in both": ("os.fork()", False),
    "changes the working directory": ("os.chdir('/')", False),
    "closes stdout": ("os.closerange(1, 2)", False),
    "starts threads": ("threading.Thread(target=time.sleep, args=(3600,)).start()", False),
    "changes the default dtype": ("torch.set_default_dtype(torch.float64)", None),
    "switches gradients off": ("torch.set_grad_enabled(False)", None),
    "seeds everything": ("torch.manual_seed(0)", None),
    "uses many threads": ("torch.set_num_threads(64)", None),
}
PLACES = ("at_import", "in_build", "in_forward", "in_attack")
# Before any attack these are refused; a process whose default is float64 cannot look at a network of float32.
MISTAKES = ("raises", "raises an odd error", "changes the default dtype")
FEW = {
    "at_import": ("_exit", "changes the working directory"),
    "in_build": ("exit", "starts threads"),
    "in_forward": ("ignores SIGTERM and hangs",),
    "in_attack": ("raises", "hangs in a loop of C", "segfault", "prints", "changes the default dtype"),
}
ASKED = ("--dataset", "digits", "--threat", "Linf:0.2", "--n", "16", "--batch", "16", "--attacks", "fgsm")
ASKED += ("--checks", "none", "--precision", "float32", "--device", "cpu", "--timeout", str(times(10, 30)))


def written(folder, name, does, place):
    path = folder / f"{name.replace(' ', '-')}.py"
    call = dict.fromkeys(PLACES, "pass") | {place: "fault()"}
    path.write_text(DEFENSE.format(does=does, **call))
    return path


def numbers(results, label="at"):
    """The verdicts of a defense, as it has them."""
    return {
        (each.cell.key, each.cell.attack.label): each.outcome.verdicts.adversarial.tolist()
        for each in Store(results).results()
        if each.cell.defense.label == label
    }


@pytest.fixture(scope="module")
def alone(zygote, tmp_path_factory):
    """What `at` has where nothing misbehaves beside it."""
    place = Place(zygote, tmp_path_factory.mktemp("alone"))
    place.run("--defenses", "at", asked=ASKED)
    return numbers(place.results)


@pytest.mark.slow
@pytest.mark.fault("F16")
@pytest.mark.parametrize("where", PLACES[::-1])  # the last place first: in the middle of an attack
def test_a_defense_that_misbehaves_has_no_number_and_those_beside_it_have_theirs(where, place, alone, record_property):
    """In one run: all of them, `at` in their midst."""
    names = FEW[where]
    if MANY:  # what raises before any attack is a mistake in the request
        names = [name for name in FAULTS if where == "in_attack" or name not in MISTAKES]
    record_property("injections", len(names))
    place.root.mkdir()
    files = {name: written(place.root, name, FAULTS[name][0], where) for name in names}
    half = len(names) // 2
    defenses = [*list(files.values())[:half], "at", *list(files.values())[half:]]

    bench = place.start("--defenses", ",".join(map(str, defenses)), asked=ASKED, executor="auto")
    status = bench.status(300 + 60 * len(names))

    assert "Traceback" not in bench.told
    assert "boom\n" not in bench.printed
    assert numbers(place.results) == alone
    outcomes = {each.cell.defense.label: each.outcome for each in Store(place.results).results()}
    for name, path in files.items():
        outcome, fatal = outcomes[path.stem], FAULTS[name][1]
        if fatal:
            assert isinstance(outcome, Failed), name
            assert "\n" not in outcome.error
            assert len(outcome.error) < 400
        elif fatal is False:
            assert not isinstance(outcome, Failed), (name, outcome)
    failed = [name for name, path in files.items() if isinstance(outcomes[path.stem], Failed)]
    assert status == (3 if failed else 0)
    assert bench.told.count("FAIL ") == len(failed)
    assert bench.alone()
    assert not place.strays()


@pytest.mark.fault("F16")
@pytest.mark.parametrize("where", PLACES[:-1] if MANY else ["in_build"])
@pytest.mark.parametrize("name", MISTAKES if MANY else MISTAKES[:1])
def test_a_defense_that_raises_before_any_attack_is_a_mistake_in_the_request(where, name, place):
    """One line that names the file and the error; nothing is computed or written."""
    place.root.mkdir()
    path = written(place.root, name, FAULTS[name][0], where)

    bench = place.start("--defenses", f"{path},at", asked=ASKED, executor="auto")

    assert bench.status(120) == 2
    (line,) = [line for line in bench.told.splitlines() if line.startswith("bench: ")]
    assert str(path) in line
    assert any(said in line for said in ("boom", "odd", "dtype"))
    assert "Traceback" not in bench.told
    assert not place.results.exists() or not list(place.results.rglob("*.json"))
    assert bench.alone()


OUT_OF_MEMORY = """
import os
import torch
from torch import nn

class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 10, dtype=torch.float32, generator=torch.Generator().manual_seed(0)))
    def forward(self, x):
        if len(x) > int(os.environ.get("FITS", 1 << 20)):
            {does}
        return x.flatten(1) @ self.weight

def build():
    return Pixels()
"""
MEMORY = {
    "python": "raise MemoryError",
    "cuda": "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')",
    "older torch": "raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0)')",
    "cpu": "raise RuntimeError('[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can\\'t allocate memory')",
}


@pytest.mark.slow
@pytest.mark.fault("F15")
@pytest.mark.parametrize("how", MEMORY if MANY else ["cpu"])
@pytest.mark.parametrize("halvings", [1, 2] if MANY else [2])
def test_a_batch_that_memory_is_too_small_for_is_halved_and_changes_no_verdict(
    how, halvings, place, zygote, tmp_path, survey
):
    place.root.mkdir()
    path = place.root / "mine.py"
    path.write_text(OUT_OF_MEMORY.format(does=MEMORY[how]))
    other = Place(zygote, tmp_path / "other")
    larger = ("--defenses", str(path), "--n", "32", "--batch", "32")

    other.run(*larger, asked=ASKED)
    small = place.start(*larger, asked=ASKED, env={"FITS": str(32 // 2**halvings)})

    assert small.status(120) == 0, small.told
    survey.compared += 1
    assert numbers(place.results, "mine") == numbers(other.results, "mine") != {}
    survey.equal += 1


@pytest.mark.slow
@pytest.mark.fault("F15")
def test_memory_that_is_never_enough_fails_the_cell_and_no_other(place):
    """A hundredth of a batch still does not fit: after some halvings it is said."""
    place.root.mkdir()
    path = place.root / "mine.py"
    path.write_text(OUT_OF_MEMORY.format(does=MEMORY["python"]))

    larger = ("--defenses", f"{path},at", "--n", "128", "--batch", "128")
    bench = place.start(*larger, asked=ASKED, env={"FITS": "8"}, executor="auto")

    assert bench.status(120) == 3, bench.told
    assert bench.told.count("FAIL ") == 1
    assert "Traceback" not in bench.told
    outcomes = {each.cell.defense.label: each.outcome for each in Store(place.results).results()}
    assert isinstance(outcomes["mine"], Failed)
    assert isinstance(outcomes["at"], Done)


KILLED_ONCE = """
if os.environ.get("KILLED") and not os.path.exists(os.environ["KILLED"]):
    open(os.environ["KILLED"], "w").close()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
@pytest.mark.fault("F15")
@pytest.mark.fault("F03")
def test_a_process_that_the_system_kills_is_tried_once_more(place, alone, survey):
    """As it does where memory runs out; here in the forward of an attack, once."""
    place.root.mkdir()
    mark = place.root / "killed"
    path = place.root / "mine.py"
    killer = KILLED_ONCE.strip().replace("\n", "\n            ")
    path.write_text(DEFENSE.format(does="pass", at_import="", in_build="pass", in_forward="pass", in_attack=killer))

    bench = place.start("--defenses", f"{path},at", asked=ASKED, env={"KILLED": str(mark)}, executor="auto")

    assert bench.status(120) == 0, bench.told
    assert mark.exists()
    assert numbers(place.results) == alone
    outcomes = {each.cell.defense.label: each.outcome for each in Store(place.results).results()}
    assert not isinstance(outcomes["mine"], Failed), outcomes["mine"]


# An attack that is right where it is examined, on eight images, and proposes what it must not on more.
ATTACK = """
from dataclasses import dataclass
from typing import ClassVar
import torch

def cross_entropy(logits, y):
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")

@dataclass(frozen=True)
class Mine:
    does: str = "right"
    families: ClassVar[tuple[str, ...]] = ("Linf",)
    access: ClassVar[str] = "gradient"

    def cost(self):
        return 2, 1

    def __call__(self, oracle, x, y, threat, *, stream):
        sign = oracle.gradient(x, y, cross_entropy, torch.arange(len(x))).grad.sign()
        x_adv = (x + float(threat.eps) * sign).clamp(0, 1)
        if len(x) > 8 or self.does == "clean":
            x_adv = PROPOSED[self.does](x, x_adv)
        return x_adv

def one(value):
    def proposed(x, x_adv):
        x_adv[0, 0, 0, 0] = value
        return x_adv
    return proposed

PROPOSED = {
    "right": lambda x, x_adv: x_adv,
    "clean": lambda x, x_adv: x.clone(),
    "nan": one(float("nan")),
    "infinite": one(float("inf")),
    "outside": one(-1e-6),
    "over-eps": lambda x, x_adv: (x + 1.01 * (x_adv - x)).clamp(0, 1),
    "another-shape": lambda x, x_adv: x_adv[:, :, :-1],
    "fewer": lambda x, x_adv: x_adv[:-1],
    "float64": lambda x, x_adv: x_adv.double(),
    "half": lambda x, x_adv: x_adv.half(),
    "another-order": lambda x, x_adv: x_adv.flip(0),
    "nothing": lambda x, x_adv: None,
}

def attack(does="right"):
    return Mine(does)
"""
RULES = {
    "clean": "V13",
    "nan": "V02",
    "infinite": "V0",
    "outside": "V03",
    "over-eps": "V04",
    "another-shape": "V02",
    "fewer": "V02",
    "float64": "V01",
    "half": "V01",
    "another-order": "V04",
    "nothing": "",
}


@pytest.mark.slow
@pytest.mark.fault("F17")
def test_what_an_attack_must_not_propose_is_a_failed_cell_with_the_rule(place, alone, record_property):
    """Never a number; the attacks beside it keep theirs."""
    record_property("injections", len(RULES))
    place.root.mkdir()
    path = place.root / "mine.py"
    path.write_text(ATTACK)
    asked = [word for word in ASKED if word not in ("fgsm", "--attacks")]
    attacks = ",".join(f"{path}:attack[does={name}]" for name in (*RULES, "right"))

    bench = place.start("--defenses", "at", "--attacks", f"fgsm,{attacks}", asked=asked)

    assert bench.status(120) == 3, bench.told
    assert "Traceback" not in bench.told
    outcomes = {each.cell.attack.label: each.outcome for each in Store(place.results).results()}
    for name, rule in RULES.items():
        outcome = outcomes[f"mine:attack[does={name}]"]
        assert isinstance(outcome, Failed), name
        assert outcome.error.startswith(rule)
        assert "\n" not in outcome.error
    (right,) = alone.values()
    assert outcomes["fgsm"].verdicts.adversarial.tolist() == right
    (own,) = [outcome for label, outcome in outcomes.items() if label.startswith("mine") and isinstance(outcome, Done)]
    assert own.verdicts.adversarial.tolist() == right

    # The same command tries the failed ones again, and nothing else.
    before = {path: path.read_bytes() for path in place.results.rglob("*.json") if ".failed." not in path.name}
    again = place.start("--defenses", "at", "--attacks", f"fgsm,{attacks}", asked=asked)
    assert again.status(120) == 3
    assert "2 cells stored already, 11 to run" in again.told
    assert {path: path.read_bytes() for path in before} == before
