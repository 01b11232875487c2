"""Several processes train the network that one would, each on its share of a batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

from bench.defenses.training.distributed import Workers, device_of
from bench.defenses.training.loop import fit
from bench.defenses.training.recipe import read_recipe
from bench.defenses.weights_file import read_state
from bench.errors import BenchError

TRAIN = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from torch import nn
from bench.datasets.digits import digits
from bench.defenses.training.resume import Journal
from bench.defenses.training.loop import fit
from bench.defenses.training.recipe import read_recipe
from bench.defenses.training.distributed import Workers, gathered

with gathered("cpu") as workers:
    torch.manual_seed(workers.rank)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Linear(16, 10)).eval()
    part = digits("train").first(128)
    recipe = read_recipe("standard", "digits", {"epochs": "2", "batch_size": "32"})

    def step(x, y):
        loss = nn.functional.cross_entropy(network(x), y)
        return loss, {"loss": loss}

    journal = Journal(Path(sys.argv[1]) / "notes.unfinished", 3)
    fit(network, step, torch.tensor(part.x), torch.tensor(part.y), recipe, lambda *told: None, journal=journal)
    save_file(network.state_dict(), Path(sys.argv[1]) / f"{workers.rank}-of-{workers.count}.safetensors")
"""


def together(count, arguments, **environment):
    """Start processes as torchrun does; their exit statuses and what they said."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | shared | environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]
    said = [process.communicate(timeout=200)[0] for process in running]
    return [process.returncode for process in running], said


def test_two_processes_end_with_the_weights_of_one(tmp_path):
    """A network without batch statistics: the mean of two halves is the mean of the whole."""
    for count in (1, 2):
        statuses, said = together(count, ["-c", TRAIN, str(tmp_path)])
        assert statuses == [0] * count, said

    alone, first, second = (read_state(tmp_path / f"{name}.safetensors") for name in ("0-of-1", "0-of-2", "1-of-2"))

    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.allclose(first[key], alone[key], atol=1e-5) for key in alone)
    assert not torch.allclose(nn.Linear(64, 16).weight, alone["1.weight"], atol=1e-2)


def test_the_command_writes_once_and_speaks_once(tmp_path):
    """What torchrun starts: one file, one card that counts the processes, one of them speaks."""
    run = "import sys; from bench.cli import main; sys.exit(main())"
    words = ["train", "ap", "--dataset", "digits", "--set", "epochs=1", "--out", str(tmp_path), "--device", "cpu"]

    statuses, said = together(2, ["-c", run, *words])

    assert statuses == [0, 0], said
    assert [("weights  " in text) for text in said] == [True, False]
    assert sorted(path.name for path in (tmp_path / "digits").iterdir()) == ["ap.json", "ap.safetensors"]
    assert '"processes": 2' in (tmp_path / "digits" / "ap.json").read_text()


def test_shares_are_a_partition_of_a_batch():
    rows = torch.arange(12)

    shares = [Workers(rank, 3).share(rows) for rank in range(3)]

    assert sorted(torch.cat(shares).tolist()) == rows.tolist()
    assert {len(share) for share in shares} == {4}


def test_a_batch_that_cannot_be_shared_evenly_is_named():
    """Unequal shares would weigh examples unequally."""
    with pytest.raises(BenchError, match="batch_size=128 is no multiple of 3 processes: write batch_size=126"):
        Workers(0, 3).require_even(128)


def test_each_process_gets_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")

    assert [device_of(name) for name in ("cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:0", "cpu"]


def test_alone_nothing_is_exchanged():
    """Without torchrun there is no group of processes to ask."""
    network = nn.Linear(4, 2)
    recipe = read_recipe("standard", "digits", {"epochs": "1", "batch_size": "4"})

    def step(x, y):
        loss = network(x.flatten(1)).square().mean()
        return loss, {"loss": loss}

    fit(network, step, torch.rand(8, 1, 2, 2), torch.zeros(8), recipe, lambda *told: None)

    assert Workers.here() == Workers(0, 1)
