"""What a node does with a task, without Ray: it compares, unpacks, computes and says so."""

import os
import shutil
import stat
import tempfile
from dataclasses import replace

import pytest

from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.harness.executors import ray_node, shipping
from bench.harness.executors.ray_node import Order
from bench.harness.task import Task, compute
from tests.harness.toy import DEFENSE, LOCAL, fill


@pytest.fixture
def task(tmp_path):
    (tmp_path / "user").mkdir()
    (tmp_path / "user/toy.py").write_text(DEFENSE)
    _, _, plan, _ = fill(tmp_path / "r", LOCAL, f"{tmp_path}/user/toy.py:noisy", attacks="fgsm", n=16)
    return Task(plan[0].cell, 0, digits("test").first(16))


def order(task, trees, pause=0.0):
    return Order(replace(task, shard=task.shard.part(0, 0)), task.shard.digest, trees, ".", "cpu", 1, pause)


def test_a_node_without_the_users_file_computes_what_this_machine_does(task, tmp_path, monkeypatch):
    expected = compute(task, "cpu", lambda _count: None)
    trees = shipping.trees(task.cell)
    sent = {sha: shipping.content(tree, name) for tree in trees.values() for name, sha in tree.files}
    shutil.rmtree(tmp_path / "user")
    frozen = replace(task.shard, x=task.shard.x.copy())
    frozen.x.flags.writeable = False  # as in memory that is shared
    monkeypatch.chdir(tmp_path)
    *passed, last = ray_node.serve(order(task, trees), frozen, sent.__getitem__, lambda: tmp_path / "node")
    done, error, seconds, kept, _cause = last[1]
    assert (last[0], error) == ("ended", "")
    assert {what for what, _ in passed} == {"passed"}
    assert sum(count for _, count in passed) > 0
    assert seconds > 0
    assert done.verdicts.clean.tobytes() == expected.done.verdicts.clean.tobytes()
    assert done.verdicts.adversarial.tobytes() == expected.done.verdicts.adversarial.tobytes()
    assert kept.x_adv.tobytes() == expected.kept.x_adv.tobytes()


def test_a_task_that_ends_before_its_first_message_tells_its_passes_all_the_same(task):
    each, whole = (
        [
            said[1]
            for said in ray_node.serve(order(task, {}, pause), task.shard, {}.__getitem__, list)
            if said[0] == "passed"
        ]
        for pause in (0.0, 1000.0)
    )

    assert whole == [sum(each)]


def test_other_images_than_the_runs_are_refused(task, tmp_path):
    other = digits("test").first(17).part(1, 17)
    [(what, (done, error, *_))] = ray_node.serve(order(task, {}), other, None, None)
    assert (what, done) == ("ended", None)
    assert "the images did not arrive as they were sent" in error


def test_whatever_ends_the_computation_is_told(task, tmp_path, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(ray_node, "compute", interrupted)
    [(what, (done, error, *_))] = ray_node.serve(order(task, {}), task.shard, None, None)
    assert (what, done, error) == ("ended", None, "KeyboardInterrupt")


def test_a_machine_with_other_code_or_another_torch_is_told_apart(task, monkeypatch):
    wanted = ray_node.fingerprint(task.cell)
    assert {"atop-bench", "code of the harness", "torch", "numpy"} < set(wanted)
    assert not any(name.endswith(".py:noisy") for name in wanted)  # it travels
    assert any(name.startswith("bench.attacks.") for name in wanted)
    assert ray_node.difference(wanted) == ""
    assert ray_node.difference({**wanted, "torch": "9.9"}).endswith("the run has 9.9")
    assert ray_node.difference({**wanted, "other.package:build": "ab"}) == (
        "other.package:build is missing, the run has ab"
    )
    attack = next(name for name in wanted if name.startswith("bench.attacks."))
    assert ray_node.difference({**wanted, attack: "0"}).startswith(f"{attack} is {wanted[attack]}")


def test_the_folder_for_files_is_private(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    folder = ray_node.private_folder("bench-x")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert ray_node.private_folder("bench-x") == folder
    (tmp_path / "bench-y").symlink_to(folder)
    with pytest.raises(BenchError, match="belongs to somebody else"):
        ray_node.private_folder("bench-y")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(BenchError, match="belongs to somebody else"):
        ray_node.private_folder("bench-x")
