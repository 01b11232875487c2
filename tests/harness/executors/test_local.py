"""In this process: the same documents as anywhere else."""

import pytest

from tests.harness.toy import DEFENSE, LOCAL, PROCESSES, documents, fill


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(DEFENSE)
    return path


def test_local_and_processes_write_the_same_documents(tmp_path, source):
    fill(tmp_path / "local", LOCAL, f"{source}:build", f"{source}:noisy")
    _, watcher, *_ = fill(tmp_path / "processes", PROCESSES, f"{source}:build", f"{source}:noisy")

    assert documents(tmp_path / "local") == documents(tmp_path / "processes")
    assert len(watcher.ended) == 4
