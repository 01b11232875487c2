"""Bad input, B01 to B48: one line that names the value and the remedy, status 2, nothing written, at once.

The ids are those of the table of bad inputs that this project is held to; a case belongs to the first that fits. What
single modules refuse is tested beside them (`tests/catalogue/test_ranges.py`, `tests/datasets/test_foreign.py`, ...);
here is what a user types, or passes from Python, and what became of it.
"""

import io
import os
import shlex
import shutil
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

import bench
from bench import api
from bench.attacks import PGD
from bench.catalogue.weights import shipped
from bench.cli import main
from tests.faults.fuzz import MANY

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "format-3"
AT = shipped() / "digits" / "at.safetensors"
# Of this process, without imports: the machines that tests run on are shared.
SECONDS = 2
NUL, OVERRIDE, LONG = "a\0b", "\u202eevil", "x" * 10_000

STUDIES = {
    "latin": b'title = "caf\xe9"\n',
    "binary": b"\0\1\2\xff",
    "open": b'title = "a"\nn = \n',
    "twice": b"n = 3\nn = 4\n",
    "misspelt": b'attak = "fgsm"\n',
    "true": b"n = true\n",
    "half": b"n = 2.5\n",
    "list": b'defenses = ["at"]\n',
    "large": b'threat = "Linf:8"\n',
    "nested": b"n = " + b"[" * 200_000,
    "rungs": b'[[rungs]]\nname = "Blind"\nattack = "blind"\n[[rungs]]\nname = "blind"\nattack = "bpda"\n',
    "row": b"rungs = [3]\n",
    "seed": b"seed = -1\n",
    "never": b"n = 99999999999999999999999\n",
}
FILES = {
    "syntax": "def build(:\n",
    "none": "def build():\n    return None\n",
    "nothing": "",
    "number": "build = 3\n",
    "text": "def build():\n    return 'a model'\n",
    "raises": "raise ValueError('first\\nsecond')\n",
    "leaves": "import sys\nsys.exit(3)\n",
    "asks": "def build(weights):\n    return None\n",
    "a_class": "import torch\nclass Net(torch.nn.Module):\n    pass\ndef build():\n    return Net\n",
    "label": "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x, y):\n        return x\nbuild = Net\n",
    "pair": "import torch\nclass Net(torch.nn.Module):\n"
    "    def forward(self, x):\n        return x.flatten(1)[:, :10], 1\nbuild = Net\n",
    "whole": "import torch\nclass Net(torch.nn.Module):\n"
    "    def forward(self, x):\n        return x.flatten(1)[:, :10].long()\nbuild = Net\n",
    "fewer": "import torch\nclass Net(torch.nn.Module):\n"
    "    def forward(self, x):\n        return x.flatten(1)[:1, :10]\nbuild = Net\n",
    "net": "import torch\ndef build():\n    torch.manual_seed(0)\n"
    "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n",
}


def weights(folder, change):
    """A folder of weights whose `at` is not as it was shipped."""
    place = Path(folder, "digits")
    place.mkdir(parents=True)
    changed = change(safetensors.torch.load_file(AT))
    if isinstance(changed, bytes):
        (place / "at.safetensors").write_bytes(changed)
    else:
        safetensors.torch.save_file(changed, place / "at.safetensors")
    shutil.copy(AT.with_suffix(".json"), place / "at.json")


def card(folder, text):
    place = Path(folder, "digits")
    place.mkdir(parents=True)
    shutil.copy(AT, place / "at.safetensors")
    (place / "at.json").write_text(text)


def _without_one_layer(state):
    return {**state, "features.0.weight": torch.zeros_like(state["features.0.weight"])}


def _few(state):
    return {name: tensor for name, tensor in state.items() if tensor.ndim < 2}


def _saved(what):
    stream = io.BytesIO()
    torch.save(what, stream)
    return stream.getvalue()


WEIGHTS = {
    "w-zero": lambda state: {name: 0 * tensor for name, tensor in state.items()},  # with -0.0 among them
    "w-layer": _without_one_layer,
    "w-nan": lambda state: {name: tensor * float("nan") for name, tensor in state.items() if tensor.ndim},
    "w-inf": lambda state: {name: tensor / 0 for name, tensor in state.items() if tensor.ndim},
    "w-module": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "w-less": lambda state: dict(list(state.items())[1:]),
    "w-more": lambda state: {**state, "extra": torch.ones(3)},
    "w-shape": lambda state: {
        name: tensor[:-1].clone() if tensor.ndim > 1 else tensor for name, tensor in state.items()
    },
    "w-empty": lambda _: b"",
    "w-html": lambda _: b"<!DOCTYPE html>\n<html>404</html>",
    "w-text": lambda _: b"these are my weights\n",
    "w-png": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "w-pickle": lambda _: b"\x80\x04\x95\x10\x00\x00\x00",
    "w-torch": lambda state: _saved({"state_dict": state}),
    "w-cut": lambda _: AT.read_bytes()[: AT.stat().st_size // 2],
    "w-head": lambda _: (2**62).to_bytes(8, "little") + b"{}",
}


def images(folder, make, classes="ab", count=6):
    for name in classes:
        Path(folder, name).mkdir(parents=True)
        for index in range(count):
            made = make(index)
            path = Path(folder, name, f"{index}.png")
            path.write_bytes(made) if isinstance(made, bytes) else Image.fromarray(made).save(path)


def _noise(*shape, kind=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, dtype=kind)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A working directory with everything that a user could mistake for something else."""
    root = tmp_path_factory.mktemp("world")
    before = Path.cwd()
    os.chdir(root)
    Path("file").write_text("mine")
    Path("empty").mkdir()
    Path("folder.py").mkdir()
    Path("folder.toml").mkdir()
    Path("here").mkdir()
    Path("here/README").write_text("no results")
    shutil.copytree(GOLDEN, "good")
    for name, content in STUDIES.items():
        Path(f"{name}.toml").write_bytes(content)
    for name, text in FILES.items():
        Path(f"{name}.py").write_text(text)
    Path("latin.py").write_bytes(b'x = "\xff"\n')
    Path("nul.py").write_bytes(b"\0\0")
    for name, change in WEIGHTS.items():
        weights(name, change)
    Path("w-folder/digits/at.safetensors").mkdir(parents=True)
    card("c-list", "[]")
    card("c-text", "no JSON")
    card("c-deep", "[" * 200_000)
    card("c-kind", '{"architecture": 3}')
    card("c-seen", '{"architecture": {}, "trained_on": 5}')
    card("c-eps", '{"architecture": {}, "trained_on": ["Linf:8"]}')
    images("i-sizes", lambda index: _noise(8 + index, 8, 3))
    images("i-mixed", lambda index: _noise(8, 8, 3) if index % 2 else _noise(8, 8))
    images("i-alpha", lambda _: _noise(8, 8, 4))
    images("i-deep", lambda _: _noise(8, 8, kind=np.uint16))
    images("i-one", lambda _: _noise(8, 8, 3), classes="a")
    images("i-text", lambda _: b"hello")
    images("i-empty", lambda _: b"")
    images("i-none", lambda _: b"", count=0)
    images("i-good", lambda _: _noise(8, 8, 3))
    pixels = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)
    np.save("x.npy", pixels)
    np.savez("nan.npz", x_adv=pixels * np.nan)
    np.savez("shape.npz", x_adv=pixels[:, :, :4])
    np.savez("words.npz", x_adv=np.array(["a"]))
    np.savez("objects.npz", x_adv=np.array([{}], dtype=object))
    Path("cut.pt").write_bytes(_saved({"x_adv": torch.rand(8, 1, 8, 8)})[:900])
    Path("module.pt").write_bytes(_saved(nn.Linear(2, 2)))
    Path("empty.pt").touch()
    Path("page.pt").write_text("<!doctype html>")
    main(["table", "--results", "good"])  # what is imported by the first command is no time of the others
    yield root
    os.chdir(before)


def state(root):
    """Every file and folder, with what a write would change."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for path in root.rglob("*")
        if "__pycache__" not in path.parts
    }


@pytest.fixture
def _untouched(world, monkeypatch):
    """Nothing is written, whatever is asked."""
    monkeypatch.chdir(world)
    monkeypatch.setenv("COLUMNS", "120")
    for name in [name for name in os.environ if name.startswith("BENCH_")]:
        monkeypatch.delenv(name)
    before = state(world)
    yield
    assert state(world) == before


# id | variables and command | what is said
LINES = r"""
B01 | run --study nowhere.toml | study 'nowhere.toml' is not found: pass a TOML file or one of ours
B01 | run --study folder.toml | is no file: pass a TOML file or one of ours
B01 | audit nowhere.toml | claim 'nowhere.toml' is not found: give a TOML file
B01 | table --results good --study nowhere.toml | is not found
B01 | report --results good --html a.html --study nowhere.toml | is not found
B01 | plot ladder --results good --out a.pdf --study nowhere.toml | is not found
B02 | run --study latin.toml | study 'latin.toml' is not UTF-8 text at byte 12: save it as UTF-8
B02 | run --study binary.toml | is not UTF-8 text at byte 3
B02 | audit latin.toml | claim 'latin.toml' is not UTF-8 text at byte 12
B03 | run --study open.toml | is not TOML: Invalid value (at line 2, column 5), 'n ='
B03 | audit open.toml | is not TOML: Invalid value (at line 2, column 5), 'n ='
B03 | run --study nested.toml | is not TOML: nested more than 32 levels deep
B03 | audit nested.toml | is not TOML: nested more than 32 levels deep
B04 | run --study misspelt.toml | unknown key of study 'misspelt.toml' 'attak': did you mean attacks
B04 | audit misspelt.toml | 'attak'
B04 | run --attacks pgd-20[step=5] | unknown parameter of pgd-20 'step': did you mean steps
B04 | train at --set epoch=5 | 'epoch': did you mean epochs
B05 | run --study twice.toml | is not TOML: Cannot overwrite a value (at line 2, column 6), 'n = 4'
B05 | run --study rungs.toml | rungs 1 and 2 are both called 'blind': name them apart
B05 | run --attacks pgd-20[steps=1,steps=2] | parameter 'steps' of 'pgd-20[steps=1,steps=2]' is given twice
B05 | run --defenses at,ap,at | defense 'at' is named twice: name it once
B05 | run --defenses ./net.py,./NET.py | defenses './net.py' and './NET.py' differ in case alone
B05 | run --threat Linf:0.2,linf:1/5 | a threat is named twice
B05 | run --eps 0.1,0.10 | a threat is named twice
B05 | train at --set epochs=1 --set epochs=2 | --set epochs is given twice, as 1 and 2: give it once
B05 | table --results good --defenses at,at | defense 'at' is named twice
B06 | run --study true.toml | n = true must be a whole number
B06 | run --study half.toml | n = 2.5 must be a whole number
B06 | run --study list.toml | defenses = ['at'] must be text
B06 | run --study row.toml | a rung has a name and an attack, this one is 3
B06 | run --attacks pgd-20[steps=true] | 'true' is not a whole number
B06 | run --attacks pgd-20[steps=2.5] | '2.5' is not a whole number
B06 | run --attacks pgd-20[random_start=yes] | write true or false
B06 | train at --set flip=1 | is not a truth value
B06 | run --threat Linf:8/255x | eps '8/255x' is not a number: write a fraction such as 8/255
B07 | run --threat Linf:nan | is not a number: write a fraction
B07 | run --threat Linf:-inf | is not a number: write a fraction
B07 | run --threat Linf:-8/255 | must be at least 1e-6
B07 | run --threat Linf:1e-9 | is below float32 resolution
B07 | run --threat Linf:8/0 | is not a number
B07 | run --eps 8,16 | did you mean 8/255?
B07 | run --study large.toml | did you mean 8/255?
B07 | table --results good --threat Linf:8 | did you mean 8/255?
B07 | gate --floor at/fgsm@Linf:8=0.4 --results good | did you mean 8/255?
B07 | import x.npy --defense at --threat Linf:8 | did you mean 8/255?
B07 | train at --set threat=Linf:8 | did you mean 8/255?
B07 | run --weights c-eps --defenses at --attacks fgsm --n 4 | did you mean 8/255?
B08 | run --threat Linfinity:8/255 | unknown threat family 'Linfinity': did you mean Linf?
B08 | run --attacks stadv --threat L2:1 | attack 'stadv' needs a stadv threat
B08 | run --attacks fgsm --threat stadv:0.4 | attack 'fgsm' needs a Linf or L2 or L1 threat
B08 | train at --set threat=fog:0.3 | cannot be trained on: choose among
B08 | import x.npy --defense at --threat stadv:0.4 --n 8 | V07
B08 | test-plugin ./net.py --threat L3 | unknown threat family 'L3'
B09 | run --attacks pgd-20[steps=0] | steps must be at least 1
B09 | run --attacks pgd-20[steps=-3] | steps must be at least 1
B09 | run --attacks pgd-20[steps=999999999999] | steps must be at most 10,000,000
B09 | run --attacks pgd-20[n_restarts=0] | n_restarts must be at least 1
B09 | run --attacks pgd-20[step_size=0] | step_size must be above 0
B09 | run --attacks pgd-20[step_size=nan] | step_size must be a finite number
B09 | run --attacks pgd-20[step_size=8] | step_size is in units of eps and must be at most 2
B09 | run --attacks pgd-eot-20[eot=0] --defenses atop | eot must be at least 1
B09 | run --attacks square[queries=0] | queries must be at least 1
B09 | run --draws 256 | --draws 256 is out of range: give 1 to 255
B09 | train at --checkpoint-every 0 | --checkpoint-every 0 is out of range
B09 | train at --set epochs=99999999999 | epochs=99999999999 is out of range: it must be at most 1,000,000
B09 | train at --set width=100000 | width=100000 is out of range: it must be at most 4,096
B09 | train at --set learning_rate=nan | learning_rate=nan is out of range
B09 | train at --minutes nan | --minutes nan is out of range
B10 | run --seed 9223372036854775808 | --seed 9223372036854775808 is out of range: give 0 to 2^63 - 1
B10 | run --seed 1.5 | not '1.5'
B10 | run --study seed.toml | --seed -1 is out of range
B10 | train at --seed -1 | --seed -1 is out of range: give 0 to 2^63 - 1
B10 | train at --seed 9223372036854775808 | is out of range
B11 | run --n -1 | n=-1 is out of range: digits test holds 1 to 512 images
B11 | run --n all | not 'all'
B11 | run --study never.toml | digits test holds 1 to 512 images
B11 | check at --n 513 | digits test holds 1 to 512 images
B11 | import x.npy --defense at --threat Linf:0.2 --n 0 | n=0 is out of range
B11 | run --dataset imagefolder:i-good --defenses ./net.py --n 200 | n=200 is out of range
B13 | run --attacks foolbox:FGSM2 | unknown foolbox attack
B13 | run --attacks nolib:PGD | unknown attack library 'nolib'
B13 | run --defenses timm: | names no model
B13 | run --attacks FGSM | unknown attack 'FGSM': did you mean fgsm
B13 | run --dataset DIGITS | did you mean digits?
B13 | run --despite S99 --defenses at --attacks fgsm | unknown check in --despite 'S99': did you mean S09?
B13 | run --despite foo --defenses at --checks none | unknown check in --despite 'FOO': known are S01
B13 | run --checks foo --defenses at | --checks 'foo' is unknown: give auto, all or none
B13 | show at --dataset digitz | unknown dataset 'digitz': did you mean digits?
B13 | show fgsm --dataset nope | unknown dataset 'nope'
B13 | selftest --attacks pgd20 | unknown attack 'pgd20': did you mean pgd-20
B13 | check atpo | did you mean
B13 | download mnist | unknown dataset to download 'mnist'
B13 | test-plugin nope | unknown attack or defense 'nope'
B13 | example nope | unknown example 'nope': known are attack, defense
B13 | baseline nope | No such command 'nope'
B13 | results nope | No such command 'nope'
B14 | run --defenses '' | defense '' is not a name
B14 | run --attacks , | attack '' is not a name
B14 | run --attacks none | --attacks none leaves nothing to do
B14 | table --results good --defenses nope | unknown stored defense 'nope': did you mean atop?
B14 | leaderboard --results good --attacks pgd | unknown stored attack 'pgd'
B14 | curve --results good --threat L2 | unknown stored threat 'L2'
B14 | gate --floor at/fgsm=0 --results good --dataset cifar10 | unknown stored dataset 'cifar10'
B14 | history good --defenses nope | unknown stored defense 'nope'
B14 | table --results good --columns , | names no column
B14 | curve --results good | no curve among these results: run a minimum-norm attack
B15 | run --device CUDA --defenses at --attacks fgsm | --device 'CUDA' is not offered: give auto, cpu, cuda or cuda:N
B15 | run --device cuda:-1 --defenses at --attacks fgsm | is not offered
B15 | check at --device cuda:99 | --device 'cuda:99' is not here
B15 | train at --device cuda:99 | --device 'cuda:99' is not here
B15 | selftest --device xpu | --device 'xpu' is not offered
B15 | test-plugin ./net.py --device tpu | --device 'tpu' is not offered
B16 | run --precision bf16 --defenses at | --precision 'bf16' is unknown: give float32 or auto
B16 | run --precision fp16 --defenses at | is unknown: give float32 or auto
B17 | run --batch 65537 | --batch 65537 is out of range: give 1 to 65536
B17 | run --batch 1.5 | not '1.5'
B18 | run --weights w-folder --defenses at --attacks fgsm --n 4 | is no file: put the weights there
B18 | run --weights file --defenses at --attacks fgsm --n 4 | --weights 'file' is no folder
B18 | run --weights empty --defenses at-l2[x=1] --attacks fgsm | unknown parameter of at-l2
B18 | check at --weights nowhere | --weights 'nowhere' is no folder: name one that holds digits/at.safetensors
B19 | run --weights w-empty --defenses at --attacks fgsm --n 4 | are empty (0 bytes)
B19 | run --weights w-html --defenses at --attacks fgsm --n 4 | is a web page (HTML), not weights
B19 | run --weights w-text --defenses at --attacks fgsm --n 4 | not a safetensors file, it begins with
B19 | run --weights w-png --defenses at --attacks fgsm --n 4 | not a safetensors file, it begins with b'\x89PNG
B19 | check at --weights w-html | is a web page (HTML)
B21 | run --weights w-cut --defenses at --attacks fgsm --n 4 | are truncated or damaged
B21 | run --weights w-head --defenses at --attacks fgsm --n 4 | are truncated: the header alone takes
B21 | import cut.pt --defense at --threat Linf:0.2 --n 8 | 'cut.pt' cannot be read
B22 | run --weights w-pickle --defenses at --attacks fgsm --n 4 | looks like a torch checkpoint or another pickle
B22 | import module.pt --defense at --threat Linf:0.2 --n 8 | it was not loaded, because that could run code
B22 | import objects.npz --defense at --threat Linf:0.2 --n 8 | it was not loaded, because that could run code
B23 | run --weights w-module --defenses at --attacks fgsm --n 4 | lacks features.0.weight
B23 | run --weights w-less --defenses at --attacks fgsm --n 4 | do not fit SmallCNN: the file lacks
B23 | run --weights w-more --defenses at --attacks fgsm --n 4 | the file has unexpected extra
B24 | run --weights w-shape --defenses at --attacks fgsm --n 4 | these weights are for other images, classes or width
B25 | run --weights w-zero --defenses at --attacks fgsm --n 4 | of 'features.0.weight' and 4 more of 5 layers are 0
B25 | run --weights w-layer --defenses at --attacks fgsm --n 4 | all 144 values of 'features.0.weight' of 5 layers are 0
B25 | run --weights w-layer --defenses at --attacks fgsm --n 4 --dry-run | all 144 values of 'features.0.weight'
B25 | check at --weights w-zero | are 0: fetch or train them again
B25 | import x.npy --weights w-zero --defense at --threat Linf:1 --n 8 | are 0: fetch or train them again
B25 | run --weights w-nan --defenses at --attacks fgsm --n 4 | NaN or infinite values in
B25 | check at --weights w-inf | NaN or infinite values in
B26 | run --weights w-torch --defenses at --attacks fgsm --n 4 | looks like a torch checkpoint: convert it
B26 | run --weights c-list --defenses at --attacks fgsm --n 4 | holds no object: restore it or train again
B26 | run --weights c-text --defenses at --attacks fgsm --n 4 | cannot be read
B26 | run --weights c-deep --defenses at --attacks fgsm --n 4 | cannot be read
B26 | run --weights c-kind --defenses at --attacks fgsm --n 4 | names no architecture
B26 | run --weights c-seen --defenses at --attacks fgsm --n 4 | trained_on is 5, not a list of threat models
B27 | run --dataset cifar10 --data empty | no cifar10 test images in empty
B27 | BENCH_DATA=nowhere run --dataset cifar10 | no cifar10 test images in nowhere
B27 | train at --dataset cifar10 --data file | no cifar10 train images in file
B27 | run --dataset imagefolder:empty | empty holds no images in class folders
B27 | run --dataset imagefolder:i-none --defenses ./net.py | holds no images in class folders
B27 | run --dataset imagefolder:file | file is not a folder
B27 | run --dataset imagefolder: | names no folder: write imagefolder:PATH
B27 | run --corruptions empty --defenses at --n 4 | holds no NAME.npy
B28 | run --dataset imagefolder:i-sizes --defenses ./net.py --n 2 | make them one size
B28 | run --dataset imagefolder:i-mixed --defenses ./net.py --n 2 | is in color where
B28 | run --dataset imagefolder:i-alpha --defenses ./net.py --n 2 | is partly transparent
B28 | run --dataset imagefolder:i-deep --defenses ./net.py --n 2 | not 8 bits per channel
B28 | run --dataset imagefolder:i-text --defenses ./net.py --n 2 | cannot be read (not an image)
B28 | run --dataset imagefolder:i-empty --defenses ./net.py --n 2 | cannot be read (0 bytes)
B28 | run --dataset imagefolder:i-good[crop=99999] --defenses ./net.py --n 2 | crop=99999 is out of range
B28 | train at --dataset imagefolder:i-sizes | make them one size
B28 | import nan.npz --defense at --threat Linf:0.2 --n 8 | V02: x_adv holds NaN or Inf
B28 | import shape.npz --defense at --threat Linf:0.2 --n 8 | V02: archive 'shape.npz' has shape (8, 1, 4, 8)
B28 | import words.npz --defense at --threat Linf:0.2 --n 8 | no numbers
B29 | run --dataset imagefolder:i-one --defenses ./net.py --n 2 | holds one class only, 'a'
B29 | train at --dataset imagefolder:i-one | holds one class only, 'a'
B32 | run --defenses ./folder.py --attacks fgsm --n 4 | no file './folder.py'
B32 | run --defenses ./net.py:model --attacks fgsm --n 4 | has no function 'model'
B32 | check ./nothing.py | has no function 'build': define one
B32 | check ./number.py | has no function 'build': define one
B32 | check ./syntax.py | SyntaxError: invalid syntax (syntax.py, line 1)
B32 | check ./latin.py | SyntaxError
B32 | check ./nul.py | null bytes
B32 | check ./asks.py | needs weights: write ./asks.py[weights=VALUE], or give it a default
B32 | check ./net.py[width=3] | unknown parameter of ./net.py 'width'
B33 | check ./raises.py | ValueError: first second
B33 | check ./leaves.py | sys.exit(3)
B34 | check ./none.py | returned NoneType: return an nn.Module
B34 | check ./text.py | returned str: return an nn.Module
B34 | check ./a_class.py | returned type: return an nn.Module
B34 | test-plugin ./a_class.py | is the class Net: give a callable
B34 | run --attacks ./net.py --defenses at --n 4 | is a defense (Sequential): name it with --defenses
B35 | run --defenses ./pair.py --attacks fgsm --n 4 | S02: the defense returned tuple
B35 | run --defenses ./whole.py --attacks fgsm --n 4 | S02: expected (8, classes) float logits
B35 | run --defenses ./fewer.py --attacks fgsm --n 4 | S02: expected (8, classes) float logits
B36 | run --defenses ./label.py --attacks fgsm --n 4 | missing 1 required positional argument: 'y'
B39 | run --results file/inside --defenses at | 'file' is a file; pass a folder
B39 | run --results '' --defenses at | --results '' is no path: name a file or folder
B39 | run --results= --defenses at | --results '' is no path
B39 | BENCH_RESULTS=file run --defenses at --attacks fgsm --n 4 | 'file' is a file; pass a folder
B39 | results verify --results file | 'file' is a file
B39 | results list --results file | 'file' is a file
B39 | results prune --results file | 'file' is a file
B39 | history file | 'file' is a file
B40 | table --results here | no results in 'here'
B40 | results verify --results empty | no document in 'empty': name a results folder
B40 | results prune --results here | no run in 'here'
B40 | baseline update --baseline here --results good | 'here' is no results folder
B40 | baseline show --baseline here | no results in 'here'
B40 | show file.json | no file 'file.json'
B40 | show good/digits/examples.60a782816e4cffee.json | is no finished cell
B42 | gate --floor at/fgsm=0.4 --alpha nan --results good | --alpha nan is out of range
B42 | gate --floor at/fgsm=0.4 --alpha 0.5 --results good | --alpha 0.5 is out of range
B42 | gate --floor at/fgsm=0.4 --min-effect nan --results good | --min-effect nan is out of range
B42 | gate --floor at/fgsm=0.4 --must-detect -1 --results good | --must-detect -1.0 is out of range
B42 | gate --floor at/fgsm=nan --results good | is out of range: give a share from 0 to 1
B42 | gate --floor at/fgsm=40 --results good | is out of range: give a share from 0 to 1
B42 | gate --floor at=0.4 --results good | is no floor
B42 | gate --baseline file --results good | 'file' is a file
B42 | gate --baseline good --results empty | no results in 'empty'
B43 | selftest --record empty | --record 'empty' is a folder
B43 | selftest --record file/x | 'file' is a file: name another folder
B43 | selftest --golden empty | no golden verdicts in 'empty'
B43 | train at --out file | --out 'file': 'file' is a file: name another folder
B43 | train at --out '' | --out '' is no path
B43 | leaderboard --results good --csv /proc/a.csv | cannot be written
B43 | run --csv empty --defenses at --attacks fgsm --n 4 | --csv 'empty' is a folder
B43 | plot matrix --results good --out a | is no file for a figure: end its name in
B43 | plot matrix --results good --out a.pdf --width nan | --width 'nan' is unknown
B43 | table --results good --format latex --fit nan | --fit 'nan' is no width
B43 | curve --results good --points 100000000 | --points 100000000 is out of range: give 1 to 100
B43 | history good --last 99999999999999999999 | is out of range: give 1 to 1000
B43 | images at fgsm --results good --out file/a | 'file' is a file
B43 | download cifar10 --data file | name another folder with --data
B44 | leaderboard --results good --robustbench new | nothing to export to RobustBench
B44 | leaderboard --results empty --csv a.csv | no results in 'empty'
B44 | report --results empty --html a.html | no results in 'empty'
B44 | plot matrix --results empty --out a.pdf | no results in 'empty'
B44 | images at fgsm --results empty | no results in 'empty'
B44 | compare at atop --results empty | no results in 'empty'
B45 | run --defenses ../../x | unknown defense '../../x'
B45 | run --defenses '<script>' | unknown defense '<script>'
B45 | run --defenses =cmd | unknown defense '=cmd'
B45 | run --label ../../x --defenses at | --label '../../x': give letters
B45 | run --label '<b>' --defenses at | --label '<b>': give letters
B45 | run --label =1+1 --defenses at | --label '=1+1': give letters
B45 | import x.npy --defense at --threat Linf:0.2 --name ../x | --name '../x': give letters
B45 | compare at '<script>' --results good | unknown defense of these results '<script>'
B46 | run --nonsense 3 | No such option
B46 | run --n | requires an argument
B46 | run at | Got unexpected extra argument
B46 | list attacks more | Got unexpected extra argument
B46 | table --results good --json --checks | --checks prints no JSON
B46 | run --jobs -1 | --jobs -1 is out of range: give 0 (one per core) to 4096
B46 | run --jobs 10000 --defenses at | --jobs 10000 is out of range: give 0 (one per core) to 4096
B46 | selftest --jobs -1 | --jobs -1 is out of range: give 0 (one per core) to 4096
B46 | selftest --jobs 10000 | --jobs 10000 is out of range
B46 | gate --results good | nothing to hold the results to
B46 | history --git good good | give either results folders, or --git
B47 | BENCH_N=abc run | '--n' (env var: 'BENCH_N')
B47 | BENCH_N=true run | '--n' (env var: 'BENCH_N')
B47 | BENCH_SEED=-1 run | --seed -1 is out of range
B47 | BENCH_DEVICE=TPU run --defenses at --attacks fgsm | --device 'TPU' is not offered
B47 | BENCH_DESPITE=foo run --defenses at | unknown check in --despite 'FOO'
B47 | BENCH_CHECKS=maybe run --defenses at | --checks 'maybe' is unknown
B47 | BENCH_STUDY=nope run | unknown study 'nope'
B47 | BENCH_JOBS=junk selftest | '--jobs' (env var: 'BENCH_JOBS')
B48 | run --executor Ray --defenses at | --executor 'Ray' is unknown
B48 | run --executor '' --defenses at | --executor '' is unknown
"""
CASES = [[part.strip() for part in line.split(" | ")] for line in LINES.strip().splitlines()]
# What no table of text can hold.
CASES += [
    ["B45", ["run", "--defenses", OVERRIDE], r"unknown defense '\u202eevil'"],
    ["B45", ["run", "--defenses", NUL], r"unknown defense 'a\x00b'"],
    ["B45", ["run", "--label", NUL, "--defenses", "at"], r"--label 'a\x00b': give letters"],
    ["B45", ["run", "--label", "\U0001f600", "--defenses", "at"], "give letters, digits, dots, dashes and underscores"],
    ["B45", ["run", "--defenses", LONG], "unknown defense 'xxx"],
    ["B45", ["run", "--dataset", f"imagefolder:{NUL}"], r"a\x00b is not a folder"],
    ["B45", ["run", "--study", NUL + ".toml"], "is not found"],
    ["B45", ["table", "--results", NUL], "null byte"],
    ["B45", ["history", NUL], "null byte"],
    ["B45", ["show", NUL + ".json"], r"a\x00b.json"],
    ["B45", ["check", f"./{NUL}.py"], "no file"],
    ["B45", ["leaderboard", "--results", "good", "--csv", NUL], "null byte"],
    ["B45", ["run", "--results", LONG, "--defenses", "at", "--attacks", "fgsm", "--n", "4"], "File name too long"],
]


# Their code and their weights are loaded in a process of its own, which takes seconds.
STARTING = {"B19", "B21", "B22", "B23", "B25", "B26", "B32", "B33", "B34", "B35"}


def chosen(cases):
    """All cases where somebody waits for them, else of those that start a process the first of each id."""
    started = set()
    for id_, what, said in cases:
        starts = id_ in STARTING and isinstance(what, str) and (" --weights w-" in what or " ./" in what)
        if MANY or not starts or id_ not in started:
            yield [id_, what, said]
        if starts:
            started.add(id_)


def marked(cases):
    return [
        pytest.param(
            *rest, id=f"{id_} {rest[0] if isinstance(rest[0], str) else index}", marks=pytest.mark.bad_input(id_)
        )
        for index, (id_, *rest) in enumerate(cases)
    ]


@pytest.mark.usefixtures("_untouched")
@pytest.mark.parametrize(("line", "said"), marked(chosen(CASES)))
def test_a_command_refuses_in_one_line(line, said, monkeypatch, capsys):
    words = shlex.split(line) if isinstance(line, str) else list(line)
    while ("=" in words[0] and words[0].isupper()) or words[0].partition("=")[0].isupper():
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    began = time.process_time()

    status = main(words)

    seconds = time.process_time() - began
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("bench: ")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert said in err
    assert seconds < SECONDS


@pytest.mark.usefixtures("_untouched")
@pytest.mark.bad_input("B47")
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "COLUMNS", "PYTHONHASHSEED", "BENCH_N", "BENCH_DEVICE"])
def test_junk_in_the_environment_that_no_command_needs_is_ignored(name, monkeypatch, capsys):
    monkeypatch.setenv(name, "abc")

    assert main(["table", "--results", "good"]) == 0
    assert "fgsm" in capsys.readouterr().out


NET = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
X, Y = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8)


def run(**options):
    return bench.run(**{"defenses": "at", "attacks": "fgsm", "threat": "Linf:0.2", "n": 2, "checks": "none"} | options)


def evaluate(model=NET, attacks="fgsm", threats="Linf:0.1", **options):
    return bench.evaluate(model, attacks, threats, **{"dataset": (X, Y), "checks": "none"} | options)


def train(**options):
    return api.train("at", **options)


def stored():
    return bench.load("good")


CALLS = [
    ["B04", lambda: run(sede=3), "unknown option 'sede': did you mean seed?"],
    ["B04", lambda: evaluate(sede=3), "unknown option 'sede': did you mean seed?"],
    ["B04", lambda: bench.gate("good", "good", apha=0.1), "unknown argument of gate 'apha': did you mean alpha?"],
    ["B04", lambda: stored().only(defense="at"), "unknown argument of only 'defense': did you mean defenses?"],
    ["B04", lambda: stored().table(fitt="page"), "unknown argument of table 'fitt': did you mean fit?"],
    ["B04", lambda: api.history("good", attack="fgsm"), "unknown argument of history 'attack': did you mean attacks?"],
    ["B04", lambda: train(epochs=3), "unknown argument of train 'epochs'"],
    ["B05", lambda: evaluate({"net": NET, "Net": NET}), "defenses 'net' and 'Net' differ in case alone"],
    ["B05", lambda: run(defenses=["at", "at"]), "defense 'at' is named twice"],
    ["B06", lambda: run(n="abc"), "n 'abc' is not a whole number"],
    ["B06", lambda: run(n=True), "n True is bool: give a whole number"],
    ["B06", lambda: run(n=2.5), "n 2.5 is float: give a whole number"],
    ["B06", lambda: run(n=[1]), "n [1] is list: give a whole number"],
    ["B06", lambda: run(seed=float("nan")), "seed nan is float: give a whole number"],
    ["B06", lambda: run(defenses=3), "defenses 3 is int: give text"],
    ["B06", lambda: run(defenses=NET), "is Sequential: give text"],
    ["B06", lambda: run(attacks=b"fgsm"), "attacks b'fgsm' is bytes: give text"],
    ["B06", lambda: run(results=5), "results 5 is int: give a path"],
    ["B06", lambda: run(results=b"good"), "results b'good' is bytes: give a path"],
    ["B06", lambda: run(data=3), "data 3 is int: give a path"],
    ["B06", lambda: run(weights=[]), "weights [] is list: give a path"],
    ["B06", lambda: run(study=3), "study 3 is int: give text"],
    ["B06", lambda: run(watcher=3), "watcher=3 is int: give a watcher"],
    ["B06", lambda: run(despite=3), "despite 3 is int: give text"],
    ["B06", lambda: run(checks=False), "checks False is bool: give text"],
    ["B06", lambda: run(device=True), "device True is bool: give text"],
    ["B06", lambda: bench.plan(n="abc"), "n 'abc' is not a whole number"],
    ["B06", lambda: evaluate(n=True), "n=True is bool: give a whole number or None"],
    ["B06", lambda: evaluate(n="3"), "n='3' is str: give a whole number or None"],
    ["B06", lambda: evaluate(watcher=3), "watcher=3 is int"],
    ["B06", lambda: evaluate(results=5), "results=5 is int: give text or a path or None"],
    ["B06", lambda: evaluate(data=3), "data 3 is int: give a path"],
    ["B06", lambda: bench.load(3), "results=3 is int: give a path"],
    ["B06", lambda: bench.load(None), "results=None is NoneType"],
    ["B06", lambda: bench.load(), "load: missing a required argument: 'results'"],
    ["B06", lambda: bench.gate("good", "good", alpha="x"), "alpha='x' is str: give a number"],
    ["B06", lambda: bench.gate("good", "good", alpha=None), "alpha=None is NoneType: give a number"],
    ["B06", lambda: bench.gate("good", "good", alpha=True), "alpha=True is bool: give a number"],
    ["B06", lambda: bench.gate(3, "good"), "baseline=3 is int: give results or a path or None"],
    ["B06", lambda: bench.gate(None, "good", floors="at/fgsm=0.4"), "is str: give a list of text"],
    ["B06", lambda: bench.gate(None, "good", floors=[3]), "floors=[3] is list: give a list of text"],
    ["B06", lambda: stored().only(3), "defenses=3 is int: give text or a list of names"],
    ["B06", lambda: stored().only([3]), "defenses=[3] is list: give text or a list of names"],
    ["B06", lambda: stored().accuracy(3), "defense=3 is int: give text"],
    ["B06", lambda: stored().accuracy("at", "fgsm", judge=3), "judge=3 is int: give text"],
    ["B06", lambda: stored().worst("at", 3), "which=3 is int: give text"],
    ["B06", lambda: stored().table(3), "style=3 is int: give text"],
    ["B06", lambda: stored().table(width="x"), "width='x' is str: give a whole number or None"],
    ["B06", lambda: stored().curves(True), "points=True is bool: give a whole number"],
    ["B06", lambda: stored().to_csv(3), "path=3 is int: give text or a path"],
    ["B06", lambda: stored().report(3), "path=3 is int"],
    ["B06", lambda: stored().ladders(3), "study=3 is int: give text"],
    ["B06", lambda: stored().images(3), "defense=3 is int: give text"],
    ["B06", lambda: stored().gate(3), "baseline=3 is int"],
    ["B34", lambda: api.check(3), "returned int: return an nn.Module"],
    ["B06", lambda: api.check("at", n=2.5), "n=2.5 is float: give a whole number"],
    ["B06", lambda: api.audit(3), "claim=3 is int"],
    ["B06", lambda: api.history(3), "folders=3 is int: give a path"],
    ["B06", lambda: api.history("good", last=True), "last=True is bool"],
    ["B06", lambda: train(seed="x"), "seed='x' is str: give a whole number"],
    ["B06", lambda: train(recipe=3), "recipe=3 is int: give values by name or None"],
    ["B06", lambda: train(recipe={"epochs": 2.5}), "epochs='2.5' is not a whole number"],
    ["B06", lambda: train(minutes="x"), "minutes='x' is str: give a number or None"],
    ["B06", lambda: train(watcher=3), "watcher=3 is int: give a function or None"],
    ["B06", lambda: api.import_archive(3, "at", "Linf:0.2"), "file=3 is int"],
    ["B06", lambda: api.update_baseline(3, "good"), "baseline=3 is int"],
    ["B07", lambda: run(threat="Linf:nan"), "is not a number"],
    ["B07", lambda: run(threat=0.5), "unknown threat family '0.5'"],
    ["B07", lambda: run(eps=float("inf")), "eps 'inf' is not a number"],
    ["B07", lambda: evaluate(threats=8), "unknown threat family '8'"],
    [
        "B07",
        lambda: evaluate(threats=bench.ThreatModel("Linf", 0.1)),
        "eps 0.1 of a threat is float, which is not exact",
    ],
    ["B07", lambda: evaluate(threats=bench.ThreatModel("Linf", Fraction(8))), "did you mean 8/255?"],
    ["B08", lambda: evaluate(threats="Linv:0.1"), "did you mean Linf?"],
    ["B08", lambda: evaluate(attacks="stadv", threats="L2:1"), "needs a stadv threat"],
    ["B09", lambda: evaluate(attacks=PGD(steps=2.5)), "pgd: steps=2.5 is float: give a whole number"],
    ["B09", lambda: evaluate(attacks=PGD(step_size=float("nan"))), "step_size must be a finite number"],
    ["B09", lambda: evaluate(attacks=PGD(step_size=8.0)), "step_size is in units of eps and must be at most 2"],
    ["B09", lambda: evaluate(draws=0), "--draws 0 is out of range"],
    ["B10", lambda: run(seed=-1), "--seed -1 is out of range"],
    ["B10", lambda: evaluate(seed=2**63), "is out of range"],
    ["B10", lambda: train(seed=-1), "--seed -1 is out of range"],
    ["B11", lambda: run(n=0), "n=0 is out of range"],
    ["B11", lambda: evaluate(n=9), "n=9 is out of range"],
    ["B13", lambda: run(despite="S99"), "unknown check in --despite 'S99'"],
    ["B13", lambda: evaluate(despite=["S99"]), "unknown check in --despite 'S99'"],
    ["B13", lambda: evaluate("atpo", dataset="digits", n=2), "did you mean"],
    ["B13", lambda: stored().worst("at", "both"), "unknown worst case 'both'"],
    ["B14", lambda: evaluate([]), "no model is given"],
    ["B14", lambda: evaluate({}), "no model is given"],
    ["B14", lambda: evaluate(attacks=[]), "no attack is given"],
    ["B14", lambda: evaluate(threats=[]), "threats is an empty list"],
    ["B14", lambda: run(threat=[]), "threat is an empty list"],
    ["B14", lambda: run(defenses=[]), "defense '' is not a name"],
    ["B14", lambda: stored().only([]), "an empty list names nothing: leave it out for everything"],
    ["B14", lambda: stored().accuracy("nope"), "unknown defense of these results 'nope'"],
    ["B15", lambda: run(device="cuda:99"), "'cuda:99' is not here"],
    ["B15", lambda: evaluate(device="mps"), "'mps' is not offered"],
    ["B16", lambda: evaluate(precision="bf16"), "'bf16' is unknown"],
    ["B17", lambda: evaluate(batch=0), "--batch 0 is out of range"],
    ["B28", lambda: evaluate(dataset=3), "dataset 3 is no dataset: give a name, or images and labels: (x, y)"],
    ["B28", lambda: evaluate(dataset=X), "is no dataset"],
    ["B28", lambda: evaluate(dataset=(X,)), "is no dataset"],
    ["B28", lambda: evaluate(dataset=(X * 255, Y)), "the first of them image 0: give floats in [0, 1]"],
    [
        "B28",
        lambda: evaluate(dataset=((X * 255).byte(), Y)),
        "images are bytes: give floats in [0, 1], such as x / 255",
    ],
    ["B28", lambda: evaluate(dataset=(_with(X, 3, float("nan")), Y)), "image 3 holds NaN or infinite values"],
    ["B28", lambda: evaluate(dataset=(_with(X, 5, -0.1), Y)), "the first of them image 5"],
    ["B28", lambda: evaluate(dataset=(X.permute(0, 2, 3, 1), Y)), "channels last: give [n, C, H, W]"],
    ["B28", lambda: evaluate(dataset=(X[:, 0], Y)), "images have shape (8, 8, 8): give [n, C, H, W]"],
    ["B28", lambda: evaluate(dataset=(X[:0], Y[:0])), "images have shape (0, 1, 8, 8)"],
    ["B28", lambda: evaluate(dataset=(X[..., :0], Y)), "images have shape (8, 1, 8, 0)"],
    ["B28", lambda: evaluate(dataset=(X.expand(8, 4, 8, 8), Y)), "'model' fails on images of shape (1, 4, 8, 8)"],
    ["B28", lambda: evaluate(dataset=(X.to(torch.complex64), Y)), "images are complex64: give floats"],
    ["B28", lambda: evaluate(dataset=(X.bfloat16(), Y)), "images are no array (TypeError"],
    ["B28", lambda: evaluate(dataset=(X.to_sparse(), Y)), "images are no array"],
    ["B28", lambda: evaluate(dataset=(X.to("meta"), Y)), "images are no array"],
    ["B28", lambda: evaluate(dataset=([[1], [1, 2]], Y)), "images are no array"],
    ["B28", lambda: evaluate(dataset=(None, Y)), "images have shape ()"],
    ["B29", lambda: evaluate(dataset=(X, Y.float())), "labels have shape (8,) and type float32"],
    ["B29", lambda: evaluate(dataset=(X, Y[:3])), "give 8 integers from 0"],
    ["B29", lambda: evaluate(dataset=(X, Y - 2)), "and -2 at 0: give 8 integers from 0"],
    ["B29", lambda: evaluate(dataset=(X, Y + 5)), "label 12 has no logit: the model gives 10"],
    ["B29", lambda: evaluate(dataset=(X, Y[:, None])), "labels have shape (8, 1)"],
    ["B29", lambda: evaluate(dataset=(X, ["a"] * 8)), "labels have shape (8,)"],
    ["B34", lambda: evaluate(3), "3 is no defense: give an nn.Module"],
    ["B34", lambda: evaluate(None), "None is no defense"],
    ["B34", lambda: evaluate([NET]), "is no defense: give an nn.Module"],
    ["B34", lambda: evaluate({"a": 3}), "defense 'a' is int: give an nn.Module or a bench.Defense"],
    ["B34", lambda: evaluate({"a": nn.Linear}), "defense 'a' is the class Linear: give Linear(...)"],
    ["B34", lambda: evaluate({3: NET}), "name 3 of defense"],
    ["B34", lambda: evaluate(bench.Defense(3)), "model of the Defense is 3: give an nn.Module"],
    ["B34", lambda: evaluate(bench.Defense(NET, surrogate=3)), "surrogate of the Defense is 3"],
    [
        "B34",
        lambda: evaluate(bench.Defense(NET, stochastic="no")),
        "stochastic of the Defense is 'no': give True or False",
    ],
    ["B34", lambda: evaluate(bench.Defense(NET, trained_on=("Linf:0.1",))), "give a tuple such as (ThreatModel.parse("],
    ["B34", lambda: evaluate(attacks=PGD), "is the class PGD: give a callable"],
    ["B34", lambda: evaluate(attacks=NET), "is a defense (Sequential)"],
    ["B34", lambda: evaluate(attacks=3), "return a callable"],
    ["B39", lambda: bench.load("nowhere"), "does not exist"],
    ["B39", lambda: bench.load("file"), "'file' is a file"],
    ["B39", lambda: bench.load(""), "results='' is no path"],
    ["B39", lambda: run(results=""), "results '' is no path: name a file or folder"],
    ["B39", lambda: evaluate(results="file"), "'file' is a file"],
    ["B40", lambda: api.verify("empty"), "no document in 'empty'"],
    ["B40", lambda: api.prune("here"), "no run in 'here'"],
    ["B40", lambda: bench.load("here"), "no results in 'here'"],
    ["B42", lambda: bench.gate(None, "good"), "nothing to hold the results to"],
    ["B42", lambda: bench.gate("good", "good", alpha=float("nan")), "is out of range"],
    ["B43", lambda: stored().to_csv("empty"), "'empty' is a folder: name a file, such as 'empty/NAME.csv'"],
    ["B43", lambda: stored().to_csv("file/a.csv"), "'file/a.csv' cannot be written"],
    ["B43", lambda: stored().report("empty"), "empty"],
    ["B43", lambda: stored().table("pdf"), "unknown table style 'pdf'"],
    ["B43", lambda: stored().table(width=-1), "width=-1 is out of range"],
    ["B43", lambda: stored().plot_matrix(width=float("nan")), "is unknown: give column, page"],
    ["B43", lambda: stored().curves(0), "out of range"],
    ["B43", lambda: stored().save_images("file", "at", "fgsm"), "file"],
    ["B43", lambda: train(out="file"), "'file' is a file: name another folder"],
    ["B45", lambda: evaluate({"../x": NET}), "name '../x': give letters"],
    ["B45", lambda: evaluate({"<script>": NET}), "name '<script>': give letters"],
    ["B45", lambda: evaluate({"": NET}), "name '': give letters"],
    ["B45", lambda: bench.load(NUL), r"results='a\x00b' is no path"],
    ["B45", lambda: stored().to_csv(NUL), "is no path"],
    ["B45", lambda: stored().report(NUL + ".html"), "is no path"],
    ["B45", lambda: run(results=NUL), "is no path"],
    ["B45", lambda: run(label=OVERRIDE), r"--label '\u202eevil'"],
    ["B46", lambda: run(jobs=10_000), "--jobs 10000 is out of range"],
    ["B46", lambda: evaluate(executor="processes"), "is computed here, leave it out"],
    ["B46", lambda: evaluate(study="quick"), "evaluate takes no study: give bench.run"],
    ["B48", lambda: run(executor="Ray"), "--executor 'Ray' is unknown"],
]


def _with(images, at, value):
    changed = images.clone()
    changed[at] = value
    return changed


@pytest.mark.usefixtures("_untouched")
@pytest.mark.parametrize(("call", "said"), marked(CALLS))
def test_from_python_the_same_is_a_bench_error_in_one_line(call, said):
    began = time.process_time()

    with pytest.raises(bench.BenchError) as caught:
        call()

    seconds = time.process_time() - began
    assert str(caught.value).isprintable()
    assert said in str(caught.value)
    assert seconds < SECONDS
